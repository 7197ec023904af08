"""What an augmentation run shows: its figures, and one page with everything on it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density import plots
from gormpo_density.augmentation.augmenter import Augmented
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.data import AugmentData
from gormpo_density.augmenting.evaluation import accuracy
from gormpo_density.augmenting.results import AugmentResults
from gormpo_density.augmenting.tables import arm_table, synthetic_table
from gormpo_density.augmenting.training import model_rows
from gormpo_density.config import dump_config
from gormpo_density.report import write_report
from gormpo_density.runs import RunFolder
from gormpo_density.timeseries.labelled import ClassIndices
from gormpo_density.timeseries.series import Values

Captioned = dict[str, tuple[str, Figure]]

_SHOWN = 4  # series of a class
_FLOOR_NAMES = {"nearest": "1-NN", "majority": "largest class"}
_SCALES = {
    "series": "every series has mean 0 and standard deviation 1",
    "train": "scaled by mean and standard deviation of the training rows",
    "none": "values as they are",
}


def write_augment_report(
    run: RunFolder,
    config: AugmentConfig,
    metrics: Mapping[str, Any],
    data: AugmentData,
    results: AugmentResults,
) -> None:
    """Write plots/*.png and report.html of a run."""
    captioned = _accuracy_figures(data, results) | _synthetic_figures(data, results)
    captioned |= _training_figures(results)
    for name, (_, figure) in captioned.items():
        plots.save_figure(figure, run.path / "plots" / f"{name}.png")
    tables = [arm_table(metrics, results)] if results.arms else []
    write_report(
        run.path / "report.html",
        title=f"{data.source.name}: augmentation by {config.model.name}",
        summary=_summary(metrics, results),
        notes=_notes(config, data),
        tables=[*tables, *([synthetic_table(metrics, results)] if results.drawn else [])],
        figures=list(captioned.values()),
        config_text=dump_config(config),
        metrics=metrics,
    )


def _summary(metrics: Mapping[str, Any], results: AugmentResults) -> list[tuple[str, object]]:
    """Return the few numbers that matter, with their labels."""
    arms = [(f"accuracy, {name}", metrics[f"{name}.accuracy_mean"]) for name in results.arms]
    error = ("reconstruction error, test rows", metrics["reconstruction_error_test"])
    rejected = sum(drawn.rejected for drawn in results.drawn.values())
    return [*arms, error, *([("candidates rejected", rejected)] if results.drawn else [])]


def _notes(config: AugmentConfig, data: AugmentData) -> list[str]:
    notes = [
        f"Data: {data.description}; {_SCALES[config.data.scale]}.",
        "Reconstruction error: mean squared difference between a series and what the latent "
        "model makes of it, in these units. It is augmentation of strength 0.",
    ]
    if config.arms:
        notes.append(
            "One seed. Every arm takes the same number of optimiser steps, and nothing is chosen "
            "by the test rows; --seeds makes a run for each seed."
        )
    if data.requested is not None:
        used = data.source.name
        notes.insert(0, f"{data.requested} is not on this machine: {used} was used in its place.")
    return notes


def _accuracy_figures(data: AugmentData, results: AugmentResults) -> Captioned:
    if not results.arms:
        return {}
    truth = data.source.test_y
    arms = {name: accuracy(arm.predicted, truth) for name, arm in results.arms.items()}
    floors = {
        _FLOOR_NAMES[name]: accuracy(floor.predicted, truth).estimate
        for name, floor in results.floors.items()
    }
    figure = plots.plot_accuracies(arms, floors)
    return {"accuracy": ("Accuracy of every arm, simple classifiers dashed", figure)}


def _synthetic_figures(data: AugmentData, results: AugmentResults) -> Captioned:
    """Return what there is to see of synthetic rows, of each arm by itself and side by side."""
    source = data.source
    figures: Captioned = {}
    latents = _latents(results, source.train_x)
    for name, drawn in results.drawn.items():
        figure = plots.plot_synthetic(_pairs(data, drawn), data.channels)
        figures[f"synthetic_{name}"] = (f"Series and what was made of them, {name}", figure)
        if latents.shape[1] > 1:
            figure = plots.plot_latent_classes(
                _by_class(latents, source.train_y, source.classes),
                _by_class(_latents(results, drawn.x), drawn.y, source.classes),
            )
            caption = f"Latent space, {name}: training rows and synthetic rows"
            figures[f"latent_{name}"] = (caption, figure)
    if results.drawn:
        figures["density"] = (
            "Score of synthetic rows under the latent model, beside held-out real ones",
            _densities(data, results.drawn, results),
        )
    return figures


def _densities(
    data: AugmentData, drawn: Mapping[str, Augmented], results: AugmentResults
) -> Figure:
    scores = {"test rows": results.scores(data.source.test_x)}
    scores |= {name: results.scores(made.x) for name, made in drawn.items()}
    unit = "" if results.model.score_kind == "surrogate" else " [nats]"
    label = f"{results.model.default_score}{unit}"
    return plots.plot_score_histograms(scores, xlabel=label, label="synthetic")


def _training_figures(results: AugmentResults) -> Captioned:
    if not any(len(curve) > 1 for curve in results.history.values()):
        return {}
    curves = plots.plot_training_curves(results.history)
    return {"training": ("Losses of the latent model; the best epoch is kept", curves)}


def _latents(results: AugmentResults, x: Values) -> Values:
    model = results.model
    with torch.no_grad():
        rows = torch.from_numpy(model_rows(model, x)).to(model.device)
        return np.asarray(model.encode(rows).flatten(1).double().cpu().numpy())


def _pairs(data: AugmentData, drawn: Augmented) -> dict[str, tuple[Values, Values]]:
    """Return a few series of each class, and of each one that was made from it where one was."""
    x, y, classes = data.source.train_x, data.source.train_y, data.source.classes
    pairs = {}
    for name, rows in _by_class(np.arange(len(y)), y, classes).items():
        picks = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)]
        made = np.flatnonzero(drawn.y == y[rows[0]])
        own = [next(iter(made[drawn.source[made] == pick]), None) for pick in picks]
        others = iter(np.setdiff1d(made, [place for place in own if place is not None]))
        found = [next(others, None) if place is None else place for place in own]
        kept = [place for place in found if place is not None]
        pairs[name] = (x[picks], np.asarray(drawn.x)[kept])
    return pairs


def _by_class(
    x: NDArray[Any], y: ClassIndices, classes: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """Return the rows of each class that has some, by a name for people."""
    names = [f"class {label}" if label.lstrip("-").isdigit() else label for label in classes]
    return {names[i]: x[y == i] for i in np.unique(y)}

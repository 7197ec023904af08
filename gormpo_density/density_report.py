"""What a density run shows: its figures, and one page with everything on it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gormpo_density import plots
from gormpo_density.base import DensityModel, LatentModel
from gormpo_density.config import DensityConfig, dump_config
from gormpo_density.density_data import DensityData, Rows
from gormpo_density.evaluation import MEAN_SCORES, Evaluation
from gormpo_density.fitting import History
from gormpo_density.report import ood_levels, ood_table, write_report
from gormpo_density.runs import RunFolder

_SHOWN_ROWS = 2000  # points in a scatter plot
_SHOWN_SETS = 3  # out-of-distribution sets in a scatter plot


def write_density_report(
    run: RunFolder,
    config: DensityConfig,
    metrics: Mapping[str, Any],
    history: History,
    model: DensityModel,
    data: DensityData,
    evaluation: Evaluation,
    ood: Mapping[str, Rows],
) -> None:
    """Write plots/*.png and report.html of a run."""
    captioned = _score_figures(config, model, evaluation) | _latent_figures(model, data, ood)
    if history:
        caption = "Losses by epoch, training rows with their noise; the best epoch is kept"
        captioned = {"training": (caption, plots.plot_training_curves(history))} | captioned
    for name, (_, figure) in captioned.items():
        plots.save_figure(figure, run.path / "plots" / f"{name}.png")
    write_report(
        run.path / "report.html",
        title=f"{config.task or config.data.dataset or 'custom'}: {config.model.name}",
        summary=summarise(metrics),
        notes=_notes(config, metrics),
        tables=[ood_table(ood_levels(metrics), _share(evaluation))] if evaluation.ood else [],
        figures=list(captioned.values()),
        config_text=dump_config(config),
        metrics=metrics,
    )


def summarise(metrics: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the few numbers that matter, with their labels."""
    score = next(f"test_{name}" for name in MEAN_SCORES.values() if f"test_{name}" in metrics)
    low, high = metrics["false_alarm_ci_low"], metrics["false_alarm_ci_high"]
    numbers: list[tuple[str, object]] = [
        (score.replace("_", " "), metrics[score]),
        (
            "false alarms on test rows",
            f"{metrics['false_alarm_rate']:.1%} (95 % interval {low:.1%} to {high:.1%})",
        ),
    ]
    if aurocs := [level["roc_auc"] for level in ood_levels(metrics).values()]:
        numbers.append((f"mean AUROC of {len(aurocs)} OOD sets", float(np.mean(aurocs))))
    return numbers


def _share(evaluation: Evaluation) -> float:
    """Share of out-of-distribution rows among those scored, nan where sets differ in it."""
    sizes = {len(scores) for scores in evaluation.ood.values()}
    size, test = sizes.pop(), len(evaluation.splits["test"])
    return math.nan if sizes else size / (size + test)


def _notes(config: DensityConfig, metrics: Mapping[str, Any]) -> list[str]:
    alpha = config.calibration.alpha
    notes = [
        f"The threshold aims at {alpha:.1%} false alarms. It was set on {metrics['cal_rows']:,} "
        f"rows of {metrics['cal_episodes']} episodes that neither trained the model nor stopped "
        "its training. Rows of one episode resemble each other, so the guarantee is as good as "
        "the number of episodes, not of rows.",
    ]
    if metrics["dataset"] != metrics["dataset_requested"]:
        wanted, used = metrics["dataset_requested"], metrics["dataset"]
        notes.insert(0, f"{wanted} is not on this machine: {used} was used in its place.")
    return notes


Captioned = dict[str, tuple[str, Figure]]


def _score_figures(
    config: DensityConfig, model: DensityModel, evaluation: Evaluation
) -> Captioned:
    test, shown = evaluation.splits["test"], evaluation.ood
    label = "log p(x) [nats]" if model.score_kind == "exact" else f"{model.default_score} score"
    histograms = plots.plot_score_histograms({"test": test} | shown, model.threshold, label)
    figures: Captioned = {"scores": ("Scores of test rows and of OOD sets", histograms)}
    if model.calibration is not None:
        curve = plots.plot_calibration(model.calibration, test)
        figures["calibration"] = ("False alarms on test rows at every nominal rate", curve)
    if shown:
        pairs = {name: (test, scores) for name, scores in shown.items()}
        levels = {config.model.name: ood_levels(evaluation.metrics)}
        figures |= {
            "roc": ("ROC curves", plots.plot_roc(pairs)),
            "pr": ("Precision and recall; OOD rows are the positives", plots.plot_pr(pairs)),
            "ood_levels": ("Detection by size of the shift", plots.plot_ood_levels(levels)),
        }
    return figures


@torch.no_grad()
def _latent_figures(model: DensityModel, data: DensityData, ood: Mapping[str, Rows]) -> Captioned:
    if not isinstance(model, LatentModel):
        return {}
    x = _tensor(data.rows["test"], model)
    latents = {"test": model.encode(x)}
    latents |= {name: model.encode(_tensor(rows, model)) for name, rows in _spread(ood).items()}
    finite = {name: z[z.isfinite().all(1)].cpu().numpy() for name, z in latents.items()}
    recon = model.decode(model.encode(x)).cpu().numpy()
    names = _column_names(data)
    return {
        "latent": ("Latent space", plots.plot_latent(finite)),
        "reconstructions": (
            "Test rows against their way through the latent space and back",
            plots.plot_reconstructions(x.cpu().numpy(), recon, names),
        ),
    }


def _tensor(rows: Rows, model: DensityModel) -> Tensor:
    return torch.from_numpy(rows[:_SHOWN_ROWS]).to(model.device)


def _spread(sets: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return a few of the sets, evenly chosen."""
    names = list(sets)
    places = np.linspace(0, len(names) - 1, min(_SHOWN_SETS, len(names)))
    return {names[i]: sets[names[i]] for i in places.round().astype(int)}


def _column_names(data: DensityData) -> list[str]:
    names = [f"obs {i}" for i in range(data.obs_dim)]
    names += [f"action {i}" for i in range(data.action_dim)]
    return names + [f"column {i}" for i in range(len(names), data.input_dim)]

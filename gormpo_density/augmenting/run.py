"""An augmentation run from start to end: data, latent model, arms, results, copies."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from gormpo_density.augmentation.augmenter import Augmented, Augmenter
from gormpo_density.augmenting.arms import make_arm, make_latent
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.data import AugmentData, load_augment_data
from gormpo_density.augmenting.evaluation import (
    ArmResult,
    accuracy,
    check_folds,
    measure_arm,
    measure_floors,
    measure_folds,
)
from gormpo_density.augmenting.files import copy_model, copy_results, write_predictions
from gormpo_density.augmenting.folds import fold_augmenter
from gormpo_density.augmenting.journal import Journal, Tell
from gormpo_density.augmenting.report import write_augment_report
from gormpo_density.augmenting.results import AugmentResults, metrics_of
from gormpo_density.augmenting.tables import verdict_text
from gormpo_density.augmenting.training import fit_latent_model, has_model, trained_model
from gormpo_density.base import LatentModel
from gormpo_density.config import dump_config
from gormpo_density.loggers import open_loggers
from gormpo_density.runs import RunFolder

logger = logging.getLogger(__name__)


class AugmentFolder(RunFolder):
    """The folder of an augmentation run: predictions.csv and tensorboard/ besides the usual."""

    contents: ClassVar[tuple[str, ...]] = (
        *RunFolder.contents,
        *("predictions.csv", "tensorboard", "wandb"),
    )


@dataclass(frozen=True)
class _Context:
    """What the parts of a run have in common."""

    config: AugmentConfig
    data: AugmentData
    run: RunFolder
    device: torch.device
    journal: Journal


def run_augmentation(
    config: AugmentConfig,
    path: Path,
    *,
    device: torch.device,
    resume: bool = False,
    overwrite: bool = False,
    wandb: bool = False,
    progress: bool = False,
    tell: Tell = logger.info,
) -> str:
    """Make the run a configuration describes, or go on with it; a finished one is left alone.

    Args:
        config: What to do.
        path: The run folder.
        device: Where to compute.
        resume: Go on with an unfinished run; an arm that was measured is not measured again.
        overwrite: Replace the run that is in the folder; a model in it that is asked for by
            `augment.use_trained` is read before.
        wandb: Log to Weights & Biases too.
        progress: Show progress bars.
        tell: Called with a line for people on the way: device, data, each arm.

    Returns:
        Lines for people: the accuracy of every arm, and where everything is.
    """
    trained = _trained(config, path, device)
    with AugmentFolder.open(path, dump_config(config), resume=resume, overwrite=overwrite) as run:
        if run.is_finished:
            return f"finished already: {path} (--overwrite makes it again)\n{_places(path)}"
        started = time.perf_counter()
        tell(f"device: {device}")
        data = load_augment_data(config.data, config.seed)
        check_folds(config.evaluation.folds, data.source)
        if data.substitution is not None:
            tell(data.substitution)
        tell(f"data: {data.description}")
        plain, done = config.model_dump(mode="json"), _logged(config, run)
        with open_loggers(path, plain, done=done, use_wandb=wandb) as log:
            journal = Journal(tell, log, progress, done if has_model(path) else 0)
            results = _results(_Context(config, data, run, device, journal), trained)
        metrics = metrics_of(config, data, results)
        metrics["seconds"] = time.perf_counter() - started
        if results.arms:
            write_predictions(path / "predictions.csv", data.source, results.arms)
        write_augment_report(run, config, metrics, data, results)
        run.finish(metrics)
        copy_results(config, path)
    return f"{verdict_text(metrics, results)}\n{_places(path)}"


def _trained(config: AugmentConfig, path: Path, device: torch.device) -> LatentModel | None:
    if not config.augment.use_trained:
        return None
    shape = load_augment_data(config.data, config.seed).shape
    return trained_model(config, path, shape, device)


def _results(context: _Context, trained: LatentModel | None) -> AugmentResults:
    config, data, run = context.config, context.data, context.run
    started = time.perf_counter()
    model, history = fit_latent_model(config, data, run, trained, context.device, context.journal)
    copy_model(config, run.path)
    results = AugmentResults(model, history, time.perf_counter() - started)
    augmenters = {name: make_arm(config, name, model) for name in config.arms}
    makers = {name: augmenter for name, augmenter in augmenters.items() if augmenter is not None}
    if config.report.augment_plot and not makers:
        makers[config.augment.method] = make_latent(config, config.augment.method, model)
    for name, maker in makers.items():
        results.drawn[name] = draw(maker, data, config.seed)
    for name, augmenter in augmenters.items():
        results.arms[name] = _measured(run, name) or _measure(context, name, augmenter, model)
        right = accuracy(results.arms[name].predicted, data.source.test_y)
        context.journal.tell(f"{name}: accuracy {right.estimate:.4f}")
    if results.arms:
        results.floors.update(measure_floors(data.source))
    return results


def draw(augmenter: Augmenter, data: AugmentData, seed: int) -> Augmented:
    """Fit an augmenter to the training rows, and return one draw of synthetic rows."""
    x, y = data.source.train_x.astype(np.float32), data.source.train_y
    return augmenter.fit(x, y, seed=seed).augment(x, y, seed=seed)


def _measure(
    context: _Context, name: str, augmenter: Augmenter | None, model: LatentModel
) -> ArmResult:
    """Measure an arm and keep what came out, for a run that is killed later."""
    config, source, device = context.config, context.data.source, context.device
    record = context.journal.of(name)
    result = measure_arm(
        config, source, augmenter, device, lambda step, loss: record(step, {"loss": loss})
    )
    if (folds := config.evaluation.folds) is not None:
        held_out = fold_augmenter(config, name, model, device)
        accuracies = measure_folds(config, source, held_out, device, folds)
        result = replace(result, val_accuracies=accuracies)
    context.run.write_text(_kept_as(name), result.to_json())
    return result


def _measured(run: RunFolder, name: str) -> ArmResult | None:
    """Return what an interrupted run measured of an arm."""
    path = run.path / _kept_as(name)
    return ArmResult.from_json(path.read_text()) if path.is_file() else None


def _kept_as(name: str) -> str:
    return f"checkpoints/arm-{name}.json"


def _logged(config: AugmentConfig, run: RunFolder) -> int:
    """Return the epochs and steps that an interrupted run has behind it."""
    arms = [_measured(run, name) for name in config.arms]
    return len(run.history.read().get("epoch", ())) + sum(arm.steps for arm in arms if arm)


def _places(path: Path) -> str:
    places = {"model": "model", "predictions": "predictions.csv", "report": "report.html"}
    there = {what: path / name for what, name in places.items() if (path / name).exists()}
    return "\n".join(f"{what + ':':12} {place}" for what, place in there.items())

"""A density run from start to end: data, fit, calibration, evaluation, results."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gormpo_density.base import DensityModel
from gormpo_density.config import DensityConfig, ExportConfig, dump_config
from gormpo_density.data.ood import ood_rows
from gormpo_density.density_data import DensityData, Rows, load_density_data, load_other_rows
from gormpo_density.density_report import summarise, write_density_report
from gormpo_density.evaluation import evaluate_density
from gormpo_density.fitting import History
from gormpo_density.registry import make_model
from gormpo_density.report import format_value
from gormpo_density.runs import RunFolder

_OOD_ROWS = 5000


def run_density(
    config: DensityConfig,
    path: Path,
    *,
    device: torch.device,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> str:
    """Make the run a configuration describes, or go on with it; a finished one is left alone.

    Args:
        config: What to do.
        path: The run folder.
        device: Where to compute.
        resume: Go on with an unfinished run.
        overwrite: Replace the run that is in the folder.
        progress: Show progress bars.

    Returns:
        Lines for people: the main numbers and where everything is.
    """
    with RunFolder.open(path, dump_config(config), resume=resume, overwrite=overwrite) as run:
        if run.is_finished:
            return f"finished already: {path} (--overwrite makes it again)\n{_places(path)}"
        started = time.perf_counter()
        data = load_density_data(config.data, config.seed, progress=progress)
        ood = load_ood_sets(config.ood, config, data, progress=progress)
        model, history = fit_density(config, data, run, device=device, progress=progress)
        model.save(path / "model")
        evaluation = evaluate_density(model, data, ood)
        metrics = _facts(config, data, model) | evaluation.metrics
        metrics["seconds"] = time.perf_counter() - started
        write_density_report(run, config, metrics, history, model, data, evaluation, ood)
        _export(config, run, model, data)
        run.finish(metrics)
    lines = [f"{label}: {format_value(value)}" for label, value in summarise(metrics)]
    return "\n".join([*lines, _places(path)])


def fit_density(
    config: DensityConfig,
    data: DensityData,
    run: RunFolder,
    *,
    device: torch.device,
    progress: bool,
) -> tuple[DensityModel, History]:
    """Fit and calibrate the configured model, going on from the run's checkpoint if it has one."""
    params = config.model.params
    model = make_model(config.model.name, input_dim=data.input_dim, **params).to(device)
    history = model.fit(
        data.rows["train"],
        data.rows["val"],
        data.rows["test"],
        **dict(config.fit),
        seed=config.seed,
        checkpoint=run.path / "checkpoints" / "fit.safetensors",
        on_epoch=run.history.append,
        progress=progress,
    )
    alpha, episodes = config.calibration.alpha, data.n_episodes("cal")
    model.calibrate(data.rows["cal"], alpha, n_episodes=episodes)
    return model, history


def load_ood_sets(
    names: Sequence[str] | None,
    config: DensityConfig,
    data: DensityData,
    *,
    progress: bool = True,
) -> dict[str, Rows]:
    """Make the named out-of-distribution sets of (at most 5,000) test rows.

    A name is a corruption of `data.ood`, or another dataset's id or file; None means every
    corruption that the rows allow.
    """
    low, high = data.action_bounds
    return ood_rows(
        data.rows["test"][ood_base(config, data)],
        data.rows["train"].std(0),
        names,
        obs_dim=data.obs_dim,
        action_dim=data.action_dim,
        action_low=low,
        action_high=high,
        other_rows=lambda name: load_other_rows(name, config.data, data, progress=progress),
    )


def ood_base(config: DensityConfig, data: DensityData) -> NDArray[np.int64]:
    """Return which test rows are corrupted: a random 5,000, in order, or all there are."""
    order = np.random.default_rng(config.seed).permutation(len(data.rows["test"]))
    return np.sort(order[:_OOD_ROWS])


def _facts(config: DensityConfig, data: DensityData, model: DensityModel) -> dict[str, Any]:
    """What was run on what, for metrics.json."""
    facts: dict[str, Any] = {
        "dataset": data.info.name,
        "dataset_requested": data.info.requested or data.info.name,
        "model": config.model.name,
        "score_kind": model.score_kind,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    for split, rows in data.rows.items():
        facts |= {f"{split}_rows": len(rows), f"{split}_episodes": data.n_episodes(split)}
    return facts


def unwritable_exports(config: ExportConfig) -> list[str]:
    """Return a line for each place of the `export` section that nothing can be written to."""
    places = {
        "model_prefix": (config.model_prefix and config.model_prefix.parent, "--model-save-path"),
        "plots": (config.plots, "--fig-save-path"),
    }
    problems = []
    for key, (folder, flag) in places.items():
        if folder is None:
            continue
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            what = f"export.{key}: nothing can be written to {folder}"
            problems.append(f"{what} ({flag} PATH names another)")
    return problems


def _export(config: DensityConfig, run: RunFolder, model: DensityModel, data: DensityData) -> None:
    """Put copies where GORMPO's keys ask for them."""
    if config.export.model_prefix is not None:
        config.export.model_prefix.parent.mkdir(parents=True, exist_ok=True)
        model.save_model(config.export.model_prefix, data.rows["train"])
    if config.export.plots is not None:
        shutil.copytree(run.path / "plots", config.export.plots, dirs_exist_ok=True)


def _places(path: Path) -> str:
    return f"model:  {path / 'model'}\nreport: {path / 'report.html'}"

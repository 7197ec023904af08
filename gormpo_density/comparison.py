"""Saved runs measured again, on chosen out-of-distribution sets, and against each other."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.base import DensityModel
from gormpo_density.config import DensityConfig, dump_config, load_config
from gormpo_density.data.ood import parse_level
from gormpo_density.density_data import DensityData, Rows, load_density_data
from gormpo_density.density_run import load_ood_sets, ood_base
from gormpo_density.errors import ConfigError, RunFolderError
from gormpo_density.evaluation import Evaluation, evaluate_density
from gormpo_density.metrics import Interval, PairedScores, episode_bootstrap_interval
from gormpo_density.persistence import load_model
from gormpo_density.registry import model_class
from gormpo_density.threshold_sweep import OperatingPoint, sweep_thresholds

_MOST_GROUPS = 200  # of episodes, to resample


@dataclass(frozen=True)
class SavedRun:
    """A finished run: its configuration and its model.

    Attributes:
        path: The run folder.
        config: As resolved when the run was made.
        model: Calibrated.
    """

    path: Path
    config: DensityConfig
    model: DensityModel

    @classmethod
    def open(cls, path: Path, device: str = "cpu") -> "SavedRun":
        """Load a run folder.

        Raises:
            RunFolderError: There is no run in it.
            ModelFileError: Its model is missing or corrupt.
        """
        if not (path / "config.yaml").is_file():
            raise RunFolderError(f"{path} is not a run folder: it has no config.yaml")
        config = load_config(path / "config.yaml")
        _import_models({"name": config.model.name, **config.model.params})
        return cls(path, config, load_model(path, device))

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.resolve().name


@dataclass(frozen=True)
class Comparison:
    """Runs measured on the same rows.

    Attributes:
        config_text: Configuration of the first run.
        data: The rows.
        ood: Out-of-distribution sets by name.
        evaluations: By name of the run, the first run first.
        differences: Mean AUROC over the sets, each run's minus the first run's, with a 95 %
            interval from a paired bootstrap over episodes.
    """

    config_text: str
    data: DensityData
    ood: dict[str, Rows]
    evaluations: dict[str, Evaluation]
    differences: dict[str, Interval]

    @functools.cached_property
    def thresholds(self) -> dict[str, list[OperatingPoint]]:
        """What thresholds at several rates flag, by name of the run."""
        return {name: sweep_thresholds(found) for name, found in self.evaluations.items()}


def compare_runs(
    runs: Sequence[SavedRun], ood: Sequence[str] | None = None, *, progress: bool = True
) -> Comparison:
    """Evaluate runs on the first one's test rows and out-of-distribution sets.

    Args:
        runs: At least one. All must have the first one's data and seed, so that no run is
            measured on rows that trained it.
        ood: Names of sets; the first run's own when None.
        progress: Show a progress bar where data must be made.

    Raises:
        ConfigError: Two runs have one name, or other data or seeds; a set is unknown.
    """
    first = runs[0]
    _check_comparable(runs)
    data = load_density_data(first.config.data, first.config.seed, progress=progress)
    names = first.config.ood if ood is None else ood
    sets = load_ood_sets(names, first.config, data, progress=progress)
    evaluations = {run.name: evaluate_density(run.model, data, sets) for run in runs}
    episodes = _episodes(first.config, data, sets)
    differences = {
        run.name: _difference(evaluations[run.name], evaluations[first.name], episodes)
        for run in runs[1:]
        if sets
    }
    return Comparison(dump_config(first.config), data, sets, evaluations, differences)


def _import_models(section: Mapping[str, Any]) -> None:
    """Import what "package.module:Class" names, members' classes too; a model file may not."""
    model_class(section["name"])
    inner = section.get("model")
    if isinstance(inner, str):
        model_class(inner)
    elif isinstance(inner, Mapping):
        _import_models(inner)


def _check_comparable(runs: Sequence[SavedRun]) -> None:
    first, *others = runs
    problems = [f"two runs are called {r.name}" for r in others if r.name == first.name]
    for run in others:
        if _rows_of(run.config) != _rows_of(first.config):
            problems.append(
                f"{run.path} has other data, splits or seed than {first.path}, so its training "
                "rows may be among the test rows"
            )
    if problems:
        raise ConfigError(problems)


def _rows_of(config: DensityConfig) -> tuple[object, ...]:
    """Return what decides which rows train, and which are test rows."""
    stated_widths = dict.fromkeys(("obs_dim", "action_dim", "input_dim"))  # these only check
    return config.data.model_copy(update=stated_widths), config.seed


def _episodes(
    config: DensityConfig, data: DensityData, sets: dict[str, Rows]
) -> dict[str, NDArray[np.str_]]:
    """Label every scored row by where it comes from: test episodes, or another dataset's rows."""
    test = np.char.add("test ", _grouped(data.episodes["test"]).astype(str))
    base = test[ood_base(config, data)]
    labels = {"test": test}
    for name, rows in sets.items():
        others = np.char.add(f"{name} ", _grouped(np.arange(len(rows))).astype(str))
        labels[name] = others if parse_level(name).kind == "dataset" else base
    return labels


def _grouped(episodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number groups of whole episodes: resampling costs the square of how many there are."""
    _, number = np.unique(episodes, return_inverse=True)
    return np.asarray(number // math.ceil((number.max() + 1) / _MOST_GROUPS))


def _difference(
    run: Evaluation, reference: Evaluation, episodes: dict[str, NDArray[np.str_]]
) -> Interval:
    if any(len(np.unique(labels)) < 2 for labels in episodes.values()):
        # One episode tells nothing about others.
        return Interval(_mean_auroc(run) - _mean_auroc(reference), -1.0, 1.0)
    test = PairedScores(run.splits["test"], reference.splits["test"], episodes["test"])
    levels = [PairedScores(run.ood[name], reference.ood[name], episodes[name]) for name in run.ood]
    return episode_bootstrap_interval(test, levels, np.random.default_rng(0))


def _mean_auroc(evaluation: Evaluation) -> float:
    return float(np.mean([evaluation.metrics[f"ood.{name}.roc_auc"] for name in evaluation.ood]))

"""The arms: how the training set is made; and measuring one of them once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch

from benchmarks.augment import sets
from benchmarks.cells import Bench, Cell, Result
from gormpo_density.augmentation.acceptance import Acceptance
from gormpo_density.augmentation.augmenter import Augmenter
from gormpo_density.augmentation.classifiers import make_classifier
from gormpo_density.augmentation.registry import make_augmenter

Spec = Mapping[str, Any]

TUNING_SEEDS = (100,)
SEEDS = (1, 2, 3, 4, 5)

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """A way to make the training set.

    Attributes:
        name: What tables call it.
        augmenter: Its name and parameters, accept as the level of `Acceptance`; None trains on
            the real rows alone.
    """

    name: str
    augmenter: Spec | None = None

    def make(self, *, quick: bool = False) -> Augmenter | None:
        """Return the augmenter, unfitted; a quick one fits its model for a while only."""
        if self.augmenter is None:
            return None
        params = dict(self.augmenter)
        if quick and "model" in params:
            params["fit_options"] = {**params.get("fit_options", {}), "epochs": 200}
        if "accept" in params:
            params["accept"] = Acceptance(params["accept"])
        return make_augmenter(params)


@dataclass(frozen=True)
class Judge:
    """The classifier that arms are judged by.

    Attributes:
        name: Of the classifier.
        params: What it is built with.
        quick: What replaces them in a smoke run.
    """

    name: str
    params: Spec = field(default_factory=dict)
    quick: Spec = field(default_factory=dict)

    def settings(self, bench: Bench) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, **self.params, **(self.quick if bench.quick else {})}


class Trial(NamedTuple):
    """What one cell measures: an arm on a set, under a seed, with all or a tenth of the rows."""

    arm: Arm
    dataset: str
    seed: int
    is_low: bool = False


def measure(bench: Bench, part: str, judge: Judge, trials: Sequence[Trial]) -> list[Result]:
    """Measure what is not there yet, one trial a core at a time, and return what came out."""
    parallel = joblib.Parallel(n_jobs=-1)
    results: list[Result] = parallel(
        joblib.delayed(_measure)(bench, part, judge, trial) for trial in trials
    )
    return results


def _measure(bench: Bench, part: str, judge: Judge, trial: Trial) -> Result:
    torch.set_num_threads(1)
    classifier = judge.settings(bench)
    settings = {"classifier": classifier, "augmenter": trial.arm.augmenter, "low": trial.is_low}
    cell = Cell(part, trial.dataset, trial.arm.name, trial.seed)
    return bench.result(cell, settings, lambda: _accuracy(bench, classifier, trial))


def _accuracy(bench: Bench, classifier: Mapping[str, Any], trial: Trial) -> Result:
    """Train on the arm's rows; accuracy on the archive's test rows, which choose nothing."""
    data = sets.load(trial.dataset, bench.data_dir)
    if trial.is_low:
        data = sets.tenth(data, trial.seed)
    x, y = data.train_x.astype(np.float32), data.train_y
    started = time.process_time()
    augmenter = trial.arm.make(quick=bench.quick)
    if augmenter is not None:
        augmenter.fit(x, y, seed=trial.seed)
    fitted = time.process_time()
    model = make_classifier(**classifier).fit(x, y, augmenter=augmenter, seed=trial.seed)
    trained = time.process_time()
    predicted = model.predict(data.test_x.astype(np.float32))
    return {
        "accuracy": float(np.mean(predicted == data.test_y)),
        "train_rows": len(x),
        "augmenter_seconds": fitted - started,
        "classifier_seconds": trained - fitted,
    }

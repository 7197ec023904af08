"""What an arm is worth: accuracy on the test rows, on folds of the training rows, and floors."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats

from gormpo_density.augmentation.augmenter import Augmenter
from gormpo_density.augmentation.classifiers import cross_validate, make_classifier
from gormpo_density.augmenting.arms import make_arm_classifier
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.errors import ConfigError
from gormpo_density.metrics import Interval
from gormpo_density.timeseries.labelled import ClassIndices, LabelledSet


@dataclass(frozen=True, eq=False)
class ArmResult:
    """What was measured of an arm.

    Attributes:
        predicted: (m,) class position of each test row.
        val_accuracies: Of each fold of the training rows; empty where there are none.
        steps: That the optimiser took on all training rows; 0 without an optimiser.
        seconds: That training and measuring took.
    """

    predicted: ClassIndices
    val_accuracies: tuple[float, ...] = ()
    steps: int = 0
    seconds: float = float("nan")

    def to_json(self) -> str:
        """Return the result as text that `from_json` reads."""
        return json.dumps({**asdict(self), "predicted": self.predicted.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "ArmResult":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        values["predicted"] = np.array(values["predicted"], dtype=np.int64)
        return cls(**{**values, "val_accuracies": tuple(values["val_accuracies"])})


def measure_arm(
    config: AugmentConfig,
    data: LabelledSet,
    augmenter: Augmenter | None,
    device: torch.device,
    on_step: Callable[[int, float], None],
) -> ArmResult:
    """Train the configured classifier on real and synthetic rows, and judge it on the test rows.

    Args:
        config: The classifier and the seed.
        data: Scaled.
        augmenter: Fitted; None for the real rows alone.
        device: Where to train.
        on_step: Called with the number of a step and its loss.
    """
    started, steps = time.perf_counter(), 0

    def count(step: int, loss: float) -> None:
        nonlocal steps
        steps = step
        on_step(step, loss)

    x = data.train_x.astype(np.float32)
    classifier = make_arm_classifier(config, len(x), device)
    classifier.fit(x, data.train_y, augmenter=augmenter, seed=config.seed, on_step=count)
    predicted = classifier.predict(data.test_x.astype(np.float32))
    return ArmResult(predicted, (), steps, time.perf_counter() - started)


def check_folds(folds: int | None, data: LabelledSet) -> None:
    """Raise ConfigError if there are more folds than training rows."""
    rows = len(data.train_x)
    if folds is not None and folds > rows:
        raise ConfigError(
            f"evaluation.folds must be at most {rows}, the training rows; is {folds}"
        )


def measure_folds(
    config: AugmentConfig,
    data: LabelledSet,
    augmenter: Augmenter | None,
    device: torch.device,
    folds: int,
) -> tuple[float, ...]:
    """Return the accuracy on each fold of the training rows, with as many steps as on all."""
    x = data.train_x.astype(np.float32)
    accuracies = cross_validate(
        lambda: make_arm_classifier(config, len(x), device),
        x,
        data.train_y,
        folds=folds,
        augmenter=augmenter,
        seed=config.seed,
    )
    return tuple(float(accuracy) for accuracy in accuracies)


def measure_floors(data: LabelledSet) -> dict[str, ArmResult]:
    """Judge the nearest neighbour, and the largest class, on the test rows."""
    nearest = make_classifier("nearest").fit(data.train_x, data.train_y)
    largest = int(np.bincount(data.train_y).argmax())
    return {
        "nearest": ArmResult(np.asarray(nearest.predict(data.test_x))),
        "majority": ArmResult(np.full(len(data.test_y), largest)),
    }


def accuracy(predicted: ClassIndices, truth: ClassIndices) -> Interval:
    """Return the share of right predictions with Wilson's 95 % interval.

    The interval is of a single run, over independent test rows; it does not know how much another
    seed would change.

    Source:
        Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    found = stats.binomtest(int((predicted == truth).sum()), len(truth))
    interval = found.proportion_ci(method="wilson")
    return Interval(float(found.statistic), float(interval.low), float(interval.high))


def accuracy_metrics(
    results: Mapping[str, ArmResult], truth: ClassIndices, prefix: str = ""
) -> dict[str, Any]:
    """Return <arm>.accuracy_mean, ci_low and ci_high; val_accuracy_mean where folds were made."""
    found: dict[str, Any] = {}
    for name, result in results.items():
        mean, low, high = accuracy(result.predicted, truth)
        arm = f"{prefix}{name}"
        found |= {f"{arm}.accuracy_mean": mean, f"{arm}.ci_low": low, f"{arm}.ci_high": high}
        if result.val_accuracies:
            found[f"{arm}.val_accuracy_mean"] = float(np.mean(result.val_accuracies))
    return found

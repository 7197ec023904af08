"""Our model where GORMPO's code expects one of its own."""

from typing import Any

import torch

from gormpo_density.arrays import DataT, to_kind, to_tensor
from gormpo_density.base import DensityModel
from gormpo_density.calibration import Calibration

#: The percentiles among which GORMPO's --threshold_percentile chooses.
PERCENTILES = (1, 5, 10, 15, 20)


class GormpoClassifier:
    """A density model with the methods that GORMPO calls on its classifiers.

    Rows may be arrays or tensors on any device; what comes back is of the same kind, on the same
    device. A row that is not finite gets the lowest score, in arrays too: a rollout that diverges
    must not stop a run.

    Args:
        model: Fitted, with a threshold.
    """

    def __init__(self, model: DensityModel) -> None:
        self.density = model

    @property
    def threshold(self) -> float:
        """Rows scoring below it are anomalies."""
        return self.density.threshold

    def score_samples(self, x: DataT, device: object = None) -> DataT:
        """Return the scores (B,) of x (B, D), higher is more normal.

        The device is ignored, as it is by GORMPO's own: the model stays where it is.
        """
        rows = to_tensor(x, self.density.standardizer.mean)
        return to_kind(self.density.score_samples(rows), x)

    def predict(self, x: DataT) -> DataT:
        """Return an integer (B,): 1 for normal, -1 for an anomaly."""
        return 1 - 2 * (self.predict_anomaly(x) * 1)

    def predict_anomaly(self, x: DataT) -> DataT:
        """Return a boolean (B,): True for an anomaly."""
        return self.score_samples(x) < self.threshold


def as_gormpo_classifier(model: DensityModel) -> dict[str, Any]:
    """Return the dict that GORMPO's TransitionModel takes as its classifier.

    GORMPO scores (next state, action): fit and calibrate the model on rows of that kind
    (`data.rows=next_state_action`).

    GORMPO standardises a score by "mean" and "std" where they are there, but takes the threshold
    as it is, and other code of it compares raw scores with it. So scores and threshold are given
    in the model's own units, and "mean" is 0 and "std" 1, by which standardising changes nothing.

    Args:
        model: Fitted, with a threshold.

    Returns:
        "model" (a `GormpoClassifier`), "thr", "mean", "std", and, of a calibrated model,
        "threshold_candidates": thresholds by percentile.

    Raises:
        NotFittedError: The model was never fitted.
        NotCalibratedError: It has no threshold.
    """
    threshold = model.threshold
    classifier = GormpoClassifier(model)
    classifier.score_samples(torch.zeros(0, *model.event_shape))  # fitted, or tells it is not
    return {
        "model": classifier,
        "thr": threshold,
        "mean": 0.0,
        "std": 1.0,
        "threshold_candidates": _candidates(model.calibration),
    }


def _candidates(calibration: Calibration | None) -> dict[int, float]:
    if calibration is None:
        return {}
    scores = calibration.scores
    return {p: Calibration.from_scores(scores, p / 100).threshold for p in PERCENTILES}

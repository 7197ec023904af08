"""Thresholds at several nominal rates: what each one flags, of normal rows and of others."""

from dataclasses import dataclass

import torch

from gormpo_density.calibration import Calibration
from gormpo_density.evaluation import Evaluation

#: False-alarm rates aimed at: GORMPO's percentiles 1, 5, 10, 15 and 20.
ALPHAS = (0.01, 0.05, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does.

    Attributes:
        alpha: False-alarm rate aimed at.
        threshold: Rows scoring below it are flagged, log_prob units.
        false_alarm_rate: Share of the test rows that are flagged.
        detection: Share of the rows of each out-of-distribution set that are flagged.
    """

    alpha: float
    threshold: float
    false_alarm_rate: float
    detection: dict[str, float]


def sweep_thresholds(evaluation: Evaluation) -> list[OperatingPoint]:
    """Return an operating point for each of `ALPHAS`, calibrated on the calibration split.

    GORMPO takes percentiles of validation rows, which stopped the training; see `Calibration` for
    the order statistic that takes their place.
    """
    cal = torch.from_numpy(evaluation.splits["cal"])
    points = []
    for alpha in ALPHAS:
        threshold = Calibration.from_scores(cal, alpha).threshold
        rates = {
            name: float((scores < threshold).mean())
            for name, scores in ({"": evaluation.splits["test"]} | evaluation.ood).items()
        }
        points.append(OperatingPoint(alpha, threshold, rates.pop(""), rates))
    return points

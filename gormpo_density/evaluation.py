"""What a calibrated model is worth: likelihood, false alarms, and detection by OOD set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.base import DensityModel
from gormpo_density.density_data import DensityData, Rows
from gormpo_density.metrics import detection_metrics, false_alarm_bootstrap

Scores = NDArray[np.float32]

#: Name of the mean score in metrics: a bound or a surrogate is never called a likelihood.
MEAN_SCORES = {"exact": "nll", "bound": "nll_bound", "surrogate": "score"}


@dataclass(frozen=True)
class Evaluation:
    """Default scores of a calibrated model, and what follows from them.

    Attributes:
        splits: Scores by split: "train", "val", "cal", "test".
        ood: Scores by out-of-distribution set, in the order asked for.
        metrics: Flat, as in metrics.json: {train,val,test}_nll (`_nll_bound` for a bound,
            `_score` for a surrogate; nats in data units), threshold, false_alarm_rate on the test
            split with a 95 % interval over its episodes, ood.<set>.roc_auc|pr_auc|fpr95.
    """

    splits: dict[str, Scores]
    ood: dict[str, Scores]
    metrics: dict[str, Any]


def evaluate_density(
    model: DensityModel, data: DensityData, ood: Mapping[str, Rows]
) -> Evaluation:
    """Score every split and every out-of-distribution set, and measure.

    Normal rows are the test split's, which neither trained, stopped nor calibrated.
    """
    splits = {name: model.score_samples(rows) for name, rows in data.rows.items()}
    scores = {name: model.score_samples(rows) for name, rows in ood.items()}
    metrics = _means(model, splits) | _false_alarms(model, splits["test"], data)
    for name, values in scores.items():
        found = detection_metrics(splits["test"], values)
        metrics |= {f"ood.{name}.{key}": value for key, value in found.items()}
    return Evaluation(splits, scores, metrics)


def _means(model: DensityModel, splits: Mapping[str, Scores]) -> dict[str, Any]:
    name = MEAN_SCORES[model.score_kind]
    sign = 1.0 if name == "score" else -1.0
    return {
        f"{split}_{name}": sign * float(splits[split].mean(dtype=np.float64))
        for split in ("train", "val", "test")
    }


def _false_alarms(model: DensityModel, scores: Scores, data: DensityData) -> dict[str, Any]:
    rate = false_alarm_bootstrap(
        scores < model.threshold, data.episodes["test"], np.random.default_rng(0)
    )
    return {
        "threshold": model.threshold,
        "false_alarm_rate": rate.estimate,
        "false_alarm_ci_low": rate.low,
        "false_alarm_ci_high": rate.high,
    }

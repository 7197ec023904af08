from typing import ClassVar

import numpy as np
import pytest

from gormpo_density.base import DensityModel
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.density_data import DensityData
from gormpo_density.evaluation import evaluate_density


class Score(DensityModel):
    """Scores a row by its only number."""

    def _log_prob(self, z):
        return z[:, 0]


class Bound(Score):
    scores: ClassVar = {"elbo": "bound"}


class Surrogate(Score):
    scores: ClassVar = {"distance": "surrogate"}


def column(*values):
    return np.array(values, dtype=np.float32)[:, None]


SPLITS = {
    "train": column(1, 2),
    "val": column(3),
    "cal": column(0, 1),
    "test": column(1, 2, 3, -4),
}
EPISODES = {"train": [0, 0], "val": [1], "cal": [2, 2], "test": [3, 3, 3, 4]}


def evaluate(cls=Score, ood=None):
    model = cls(1)
    model.is_fitted = True
    model.threshold = 1.5
    bounds = (column(-1)[0], column(1)[0])
    episodes = {name: np.array(labels) for name, labels in EPISODES.items()}
    info = DatasetInfo("toy", "arrays")
    data = DensityData(SPLITS, episodes, info, 1, 0, bounds, column()[:0])
    return evaluate_density(model, data, ood or {})


@pytest.mark.parametrize(
    ("cls", "suffix", "sign"),
    [(Score, "nll", -1), (Bound, "nll_bound", -1), (Surrogate, "score", 1)],
)
def test_the_mean_score_is_called_what_it_is(cls, suffix, sign) -> None:
    metrics = evaluate(cls).metrics
    means = {f"train_{suffix}": 1.5, f"val_{suffix}": 3.0, f"test_{suffix}": 0.5}
    assert {key: metrics[key] * sign for key in means} == means
    assert not any(key.startswith("cal_") for key in metrics)


def test_false_alarms_are_counted_on_test_rows_and_resampled_by_episode() -> None:
    metrics = evaluate().metrics
    assert metrics["threshold"] == 1.5
    assert metrics["false_alarm_rate"] == 0.5
    # Two episodes with 1 of 3 and 1 of 1 rows flagged: resamples give 1/3, 1/2 or 1.
    assert metrics["false_alarm_ci_low"] == pytest.approx(1 / 3)
    assert metrics["false_alarm_ci_high"] == 1


def test_each_set_is_told_from_the_test_rows() -> None:
    found = evaluate(ood={"far": column(-5, -6), "obs0.5": column(2.5, 1.5)})
    assert found.metrics["ood.far.roc_auc"] == 1
    assert found.metrics["ood.far.pr_auc"] == pytest.approx(1)
    assert found.metrics["ood.far.fpr95"] == 0
    assert found.metrics["ood.obs0.5.roc_auc"] == 3 / 8
    assert list(found.ood) == ["far", "obs0.5"]
    assert found.ood["far"].tolist() == [-5, -6]


def test_the_scores_of_every_split_are_kept() -> None:
    found = evaluate()
    assert found.ood == {}
    assert {name: scores.tolist() for name, scores in found.splits.items()} == {
        name: rows[:, 0].tolist() for name, rows in SPLITS.items()
    }

import math

import numpy as np
import pytest
import torch

from gormpo_density.decisions import CalibratedScorer
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError


class FirstColumn(CalibratedScorer):
    """The score is the first column; "negative" is minus that."""

    scores = {"value": "exact", "negative": "surrogate"}  # noqa: RUF012

    def __init__(self):
        self.calibrations = {}
        self.hand_threshold = None

    def score_samples(self, x, score=None):
        return -x[:, 0] if score == "negative" else x[:, 0]


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


HELD_OUT = column(*range(1, 20))  # 19 rows: the threshold at alpha = .05 is the lowest


@pytest.fixture
def scorer():
    return FirstColumn()


def test_the_first_score_is_the_default(scorer):
    assert (scorer.default_score, scorer.score_kind) == ("value", "exact")
    assert scorer.score_name(None) == "value"
    assert scorer.score_name("negative") == "negative"
    with pytest.raises(ConfigError, match="'valeu' is unknown; choose from value, negative"):
        scorer.score_name("valeu")


def test_calibration_gives_the_order_statistic(scorer):
    calibration = scorer.calibrate(HELD_OUT, n_episodes=3)
    assert scorer.threshold == calibration.threshold == 1.0
    assert scorer.calibration is calibration
    assert calibration.n_episodes == 3
    assert scorer.set_threshold(HELD_OUT, anomaly_fraction=0.5) == scorer.threshold == 10.0


def test_every_score_has_its_own_calibration(scorer):
    scorer.calibrate(HELD_OUT)
    scorer.calibrate(torch.from_numpy(HELD_OUT), 0.1, "negative")
    assert scorer.threshold == 1.0
    assert scorer.calibrations["negative"].threshold == -18.0


def test_a_threshold_set_by_hand_lasts_until_the_default_score_is_calibrated(scorer):
    scorer.calibrate(HELD_OUT)
    scorer.threshold = 4
    assert scorer.threshold == scorer.calibration.threshold == 4.0
    assert scorer.calibrations["value"].threshold == 1.0
    scorer.calibrate(HELD_OUT, score="negative")
    assert scorer.threshold == 4.0
    scorer.calibrate(HELD_OUT)
    assert scorer.threshold == 1.0


def test_a_threshold_needs_no_calibration(scorer):
    assert not scorer.has_threshold
    scorer.threshold = -50.0
    assert scorer.has_threshold
    assert scorer.calibration is None
    assert scorer.predict_anomaly(column(-50.1, -50.0)).tolist() == [True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_threshold_is_finite(scorer, value):
    with pytest.raises(DataError, match=f"threshold must be finite, got {value}"):
        scorer.threshold = value


def test_without_a_threshold_nothing_is_decided(scorer):
    scorer.calibrate(HELD_OUT, score="negative")
    for decide in (scorer.decision_function, scorer.predict_anomaly, scorer.predict):
        with pytest.raises(NotCalibratedError, match="no threshold: call calibrate"):
            decide(HELD_OUT)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_verdicts(scorer, kind):
    scorer.threshold = 2.0
    x = kind(column(1.0, 2.0, 3.5))
    assert scorer.decision_function(x).tolist() == [-1.0, 0.0, 1.5]
    assert scorer.predict_anomaly(x).tolist() == [True, False, False]
    assert scorer.predict(x).tolist() == [-1, 1, 1]
    for verdict in (scorer.decision_function, scorer.predict_anomaly, scorer.predict):
        assert type(verdict(x)) is type(x)
        assert len(verdict(x[:0])) == 0


def test_detection_is_measured_with_anomalies_as_positives(scorer):
    normal, anomaly = column(3.0, 4.0, 5.0, 6.0), column(1.0, 3.5)
    results = scorer.evaluate_anomaly_detection(normal, torch.from_numpy(anomaly))
    assert results["roc_auc"] == pytest.approx(7 / 8)
    assert results["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert results["fpr95"] == pytest.approx(1 / 4)
    assert math.isnan(results["accuracy"])
    assert results["normal_score_mean"] == 4.5
    assert results["anomaly_score_std"] == 1.25
    assert "figure" not in results
    scorer.threshold = 3.25  # one anomaly and one normal row on the wrong side
    assert scorer.evaluate_anomaly_detection(normal, anomaly)["accuracy"] == pytest.approx(4 / 6)


def test_a_figure_is_drawn_when_asked_for(scorer):
    results = scorer.evaluate_anomaly_detection(HELD_OUT, HELD_OUT - 5, plot=True)
    assert results["figure"].axes


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rows_that_are_not_finite_calibrate_nothing(scorer, value):
    with pytest.raises(DataError, match="data column 0 row 1 is"):
        scorer.calibrate(torch.tensor([[1.0], [value], [2.0]]))
    assert not scorer.has_threshold

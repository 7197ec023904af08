"""The thresholds of a detector: how often they are wrong, set anew, and out of reach."""

import math

import numpy as np
import pytest

from gormpo_density import TimeSeriesDetector
from gormpo_density.errors import DataError

RNG = np.random.default_rng


def noise(n=400, n_channels=2, seed=0):
    return RNG(seed).normal(size=(n, n_channels))


def fitted(model="zscore", data=None, window=4, fit=None, **arguments):
    detector = TimeSeriesDetector(model, window=window, **arguments)
    detector.fit(noise() if data is None else data, **fit or {})
    return detector


@pytest.mark.parametrize("threshold", ["conformal", "quantile", "pot"])
@pytest.mark.parametrize(("model", "window"), [("zscore", 1), ("gmm", 1), ("median_distance", 5)])
def test_false_alarms_on_new_normals_are_as_many_as_asked_for(model, window, threshold):
    alpha, n_cal, n_new = 0.05, 4000, 8000
    detector = fitted(
        model, noise(10_000), window, {"cal_ratio": 0.4}, alpha=alpha, threshold=threshold
    )
    rate = detector.predict_anomaly(noise(n_new, seed=1)).mean()
    error = math.sqrt(window * alpha * (1 - alpha) * (1 / n_cal + 1 / n_new))
    assert abs(rate - alpha) < 4 * error
    promise = detector.thresholds[detector.default_score]
    assert promise.false_alarm_rate == pytest.approx(alpha, rel=0.02)
    assert math.sqrt(window / n_cal * alpha * (1 - alpha)) == pytest.approx(
        promise.standard_error, rel=0.3
    )


def test_false_alarms_on_a_collection_are_as_many_as_asked_for():
    windows = RNG(0).normal(size=(4000, 4, 1))
    detector = fitted("median_distance", windows, "auto", {"cal_ratio": 0.4}, alpha=0.1)
    rate = detector.predict_anomaly(RNG(1).normal(size=(4000, 4, 1))).mean()
    assert abs(rate - 0.1) < 4 * math.sqrt(0.09 * (1 / 1600 + 1 / 4000))


def test_calibrating_anew_moves_every_threshold_but_one_set_by_hand():
    detector = fitted(data=noise(2000))
    before = (detector.threshold, detector.stream_thresholds["score"])
    detector.threshold = -5.0
    calibration = detector.calibrate(3 * noise(800, seed=1), alpha=0.1, n_episodes=7)
    assert detector.threshold == calibration.threshold < before[0]
    assert detector.stream_thresholds["score"].value < before[1].value
    assert (calibration.alpha, calibration.n_episodes, len(calibration.scores)) == (0.1, 7, 800)
    assert detector.set_threshold(noise(800, seed=1), 0.2) == detector.threshold


def test_too_few_scores_for_a_tail_are_told_before_anything_is_trained():
    # 45 points after the gap: enough for their means, not for the 31 causal ones of a stream.
    detector = TimeSeriesDetector("vae", window=15, threshold="pot")
    with pytest.raises(DataError, match=r"'pot' needs 40 calibration .* got 31"):
        detector.fit(noise(600), on_epoch=lambda epoch, row: pytest.fail("it was trained"))
    assert fitted("zscore", noise(600), 15, {"cal_ratio": 0.12}, threshold="pot").threshold < 0


def test_a_calibration_that_fails_changes_nothing():
    detector = fitted("zscore", noise(2000), 15, threshold="pot")
    before = [dict(t) for t in (detector.thresholds, detector.stream_thresholds)]
    with pytest.raises(DataError, match="got 31"):  # 45 points, 31 of them causal
        detector.calibrate(noise(45, seed=1))
    assert [detector.thresholds, detector.stream_thresholds] == before
    assert detector.threshold == detector.thresholds["score"].value


def test_a_constant_baseline_flags_nothing_and_says_so(caplog):
    detector = fitted("constant")
    assert "calibration scores are 0" in caplog.text
    assert not detector.predict_anomaly(100 * noise()).any()
    assert detector.events(100 * noise()) == []

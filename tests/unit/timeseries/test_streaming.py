"""A stream gives the causal scores, point by point, at constant cost."""

import numpy as np
import pytest
import torch

from gormpo_density import TimeSeriesDetector
from gormpo_density.errors import ConfigError, DataError, ShapeError

DAWN, MINUTE = np.datetime64("2024-05-01T06:00"), np.timedelta64(1, "m")
TIMES = DAWN + MINUTE * np.arange(400)


def noise(n=400, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def fitted(timestamps=None, **arguments):
    detector = TimeSeriesDetector("median_distance", window=4, aggregation="causal", **arguments)
    detector.fit(noise(), timestamps=timestamps)
    return detector


def streamed(detector, x, timestamps=None):
    stream = detector.stream()
    times = [None] * len(x) if timestamps is None else timestamps
    return np.array([stream.update(row, time) for row, time in zip(x, times, strict=True)])


@pytest.mark.parametrize("stride", [1, 3, 7])
def test_a_stream_agrees_with_the_causal_scores_across_holes(stride):
    detector, x = fitted(stride=stride), noise(100, seed=1)
    x[[20, 21, 50], 1] = np.nan
    x[52] = np.nan  # a run shorter than a window before it
    scores = detector.score_samples(x)
    np.testing.assert_allclose(streamed(detector, x), scores, rtol=1e-6)
    assert np.isnan(scores[[2, 20, 24, 51, 52, 55]]).all()
    assert np.isfinite(scores[[3, 19, 25, 56]]).all()


def test_a_stream_agrees_with_the_causal_scores_across_gaps_in_time():
    detector, x, times = fitted(TIMES), noise(40, seed=1), TIMES[:40].copy()
    times[10:] += MINUTE  # one row is missing: no gap
    times[20:] += 2 * MINUTE
    scores = detector.score_samples(x, timestamps=times)
    np.testing.assert_allclose(streamed(detector, x, times), scores, rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scores)), [0, 1, 2, 20, 21, 22])


def test_without_a_trained_time_step_times_are_only_checked():
    x = noise(20, seed=1)
    np.testing.assert_array_equal(
        streamed(fitted(), x, DAWN + MINUTE * np.arange(20) ** 2), streamed(fitted(), x)
    )


@pytest.mark.parametrize("kind", [list, tuple, np.float32, torch.tensor])
def test_a_point_may_come_as_anything_like_an_array(kind):
    x = noise(8, seed=1).astype(np.float32)
    detector = fitted()
    stream = detector.stream()
    scores = [stream.update(kind(row.tolist())) for row in x]
    np.testing.assert_array_equal(scores, streamed(detector, x))


def test_a_channel_alone_may_come_as_a_number():
    detector = TimeSeriesDetector("zscore", window=2)
    detector.fit(noise()[:, 0])
    stream = detector.stream()
    assert np.isnan(stream.update(1))
    assert np.isfinite(stream.update(0.5))


def test_two_streams_know_nothing_of_each_other():
    detector, x = fitted(), noise(20, seed=1)
    one, other = detector.stream(), detector.stream()
    for row in x:
        one.update(row)
    assert np.isnan(other.update(x[0]))
    assert (one.n_updates, other.n_updates) == (20, 1)


def test_a_reset_forgets_the_window_but_not_the_count():
    stream = fitted().stream()
    for row in noise(10):
        stream.update(row)
    stream.reset()
    assert [np.isnan(stream.update(row)) for row in noise(4)] == [True] * 3 + [False]
    assert stream.n_updates == 14


def test_memory_does_not_grow():
    stream = fitted().stream()
    sizes = set()
    for row in noise(50):
        stream.update(row)
        sizes.add(stream._ring.nbytes)
    assert sizes == {2 * 4 * 2 * 4}  # two windows of 4 rows, 2 channels, 4 bytes


def test_the_threshold_is_that_of_causal_scores():
    detector = TimeSeriesDetector("median_distance", window=4, alpha=0.1)
    detector.fit(noise(4000))
    stream = detector.stream()
    scores = np.array([stream.update(row) for row in noise(4000, seed=1)])
    assert abs((scores < stream.threshold).mean() - 0.1) < 0.05
    assert stream.threshold < detector.threshold  # means over windows spread less
    detector.threshold = -9.0
    assert detector.stream().threshold == stream.threshold


def test_a_threshold_set_by_hand_holds_for_the_stream_of_a_causal_detector():
    detector = fitted()
    detector.threshold = -9.0
    assert detector.stream().threshold == -9.0


@pytest.mark.parametrize(
    ("point", "error", "text"),
    [
        ([1.0], ShapeError, r"point 2 must have shape \(2,\), got \(1,\)"),
        (1.0, ShapeError, r"point 2 must have shape \(2,\), got \(1,\)"),
        ([[1.0, 2.0]], ShapeError, r"point 2 must have shape \(2,\), got \(1, 2\)"),
        ([1.0, np.inf], DataError, "point 2 row 0 channel 1 is inf .*; NaN is for what was not"),
        ([-1e39, 1.0], DataError, r"point 2 row 0 channel 0 is -1e\+39"),
        (["a", "b"], DataError, "point 2: an array of <U1 does not hold real numbers"),
    ],
)
def test_a_bad_point_is_told_and_not_taken(point, error, text):
    detector, x = fitted(), noise(8, seed=1)
    stream = detector.stream()
    scores = [stream.update(row) for row in x[:2]]
    with pytest.raises(error, match=text):
        stream.update(point)
    scores += [stream.update(row) for row in x[2:]]
    np.testing.assert_array_equal(scores, streamed(detector, x))


@pytest.mark.parametrize(
    ("first", "then", "text"),
    [
        (DAWN, DAWN, "point 1: time 2024-05-01T06:00 does not come after 2024-05-01T06:00"),
        (5, 4.5, "point 1: time 4.5 does not come after 5"),
        (DAWN, 7, "point 1: time 7 does not come after 2024-05-01T06:00"),
        (7, DAWN, "point 1: time 2024-05-01T06:00 does not come after 7"),
        (5, np.nan, "point 1: time nan is neither a datetime64 nor"),
        (None, np.datetime64("NaT"), "point 1: time NaT is neither"),
        (None, "noon", "point 1: time noon is neither a datetime64 nor a finite number"),
    ],
)
def test_a_bad_time_is_told_and_not_taken(first, then, text):
    stream = fitted().stream()
    stream.update([0.0, 0.0], first)
    with pytest.raises(DataError, match=text):
        stream.update([0.0, 0.0], then)
    assert stream.n_updates == 1


def test_an_unknown_score():
    with pytest.raises(ConfigError, match="score 'nll' is unknown"):
        fitted().stream("nll")

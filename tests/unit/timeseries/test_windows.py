import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.errors import DataError
from gormpo_density.timeseries.windows import (
    DEFAULT_WINDOW,
    SeriesWindows,
    choose_window,
    collection_windows,
    series_windows,
    slide,
    window_starts,
)


def ramp(length: int, channels: int = 1) -> np.ndarray:
    return np.arange(length * channels, dtype=np.float32).reshape(length, channels)


def cut(length: int, window: int, stride: int = 1, holes: tuple[int, ...] = ()) -> SeriesWindows:
    values = ramp(length)
    values[list(holes)] = np.nan
    return series_windows(values, window, stride)


sizes = st.integers(1, 40).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(1, length), st.integers(1, 9))
)
few = settings(derandomize=True, max_examples=60, deadline=None)


def test_windows_are_views_of_the_series() -> None:
    values = ramp(10, 2)
    windows = slide(values, 4)
    assert windows.shape == (7, 4, 2)
    assert np.shares_memory(windows, values)
    np.testing.assert_array_equal(windows[3], values[3:7])


def test_a_series_shorter_than_a_window_has_none() -> None:
    assert slide(ramp(3, 2), 4).shape == (0, 4, 2)


@pytest.mark.parametrize(
    ("start", "stop", "window", "stride", "expected"),
    [
        (0, 10, 4, 3, [0, 3, 6]),
        (0, 11, 4, 3, [0, 3, 6, 7]),  # the last reaches the end
        (5, 12, 4, 9, [5, 8]),
        (0, 4, 4, 2, [0]),
        (0, 3, 4, 1, []),
    ],
)
def test_starts(start: int, stop: int, window: int, stride: int, expected: list[int]) -> None:
    assert window_starts(start, stop, window, stride).tolist() == expected


@given(sizes)
@few
def test_the_windows_hold_the_whole_series_when_put_back(size: tuple[int, int, int]) -> None:
    length, window, stride = size
    windows = cut(length, window, min(stride, window))
    back = np.full((length, 1), np.nan)
    for start, values in zip(windows.index, windows.all(), strict=True):
        back[start : start + window] = values
    np.testing.assert_array_equal(back, ramp(length))


@given(sizes, st.sampled_from(["mean", "max"]), st.floats(-1e30, 1e3))
@few
def test_equal_scores_stay_exactly_what_they_are(size, aggregation, score) -> None:
    length, window, stride = size
    windows = cut(length, window, min(stride, window))
    spread = windows.spread(np.full(len(windows), score), aggregation)
    np.testing.assert_array_equal(spread, np.full(length, score))


@given(sizes)
@few
def test_mean_and_max_are_those_over_the_windows_that_cover_a_point(size) -> None:
    length, window, stride = size
    windows = cut(length, window, stride)
    scores = np.random.default_rng(length).normal(size=len(windows))
    mean, worst = (windows.spread(scores, how) for how in ("mean", "max"))
    for row in range(length):
        over = scores[(windows.index <= row) & (row < windows.index + window)]
        assert np.isnan(mean[row]) == (len(over) == 0)
        if len(over):
            assert mean[row] == pytest.approx(over.mean())
            assert worst[row] == over.min()


def test_causal_gives_a_point_the_window_that_ends_there() -> None:
    spread = cut(6, 3).spread(np.array([10.0, 11, 12, 13]), "causal")
    np.testing.assert_array_equal(spread, [np.nan, np.nan, 10, 11, 12, 13])


def test_causal_repeats_the_last_score_between_strides_and_leaves_the_tail_out() -> None:
    windows = cut(10, 3, stride=3)
    assert windows.index.tolist() == [0, 3, 6, 7]
    spread = windows.spread(np.array([1.0, 2, 3, 99]), "causal")
    np.testing.assert_array_equal(spread, [np.nan, np.nan, 1, 1, 1, 2, 2, 2, 3, 3])


@given(sizes)
@few
def test_causal_scores_do_not_depend_on_what_comes_later(size) -> None:
    length, window, stride = size
    windows, sooner = cut(length + 5, window, stride), cut(length, window, stride)
    scores = np.random.default_rng(0).normal(size=length + 5)  # by the row a window starts at
    on_time = [scores[start] for start in sooner.index]
    later = [scores[start] for start in windows.index]
    np.testing.assert_array_equal(
        windows.spread(np.array(later), "causal")[:length],
        sooner.spread(np.array(on_time), "causal"),
    )


def test_one_bad_score_leaves_the_points_it_does_not_cover_alone() -> None:
    scores = np.array([-1e30, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal(cut(6, 3).spread(scores, "mean")[3:], [0.1, 0.1, 0.1])


def test_rows_of_scores_are_spread_column_by_column() -> None:
    scores = np.array([[1.0, -1.0], [3.0, -3.0]])
    spread = cut(3, 2).spread(scores, "mean")
    np.testing.assert_array_equal(spread, [[1, -1], [2, -2], [3, -3]])


def test_no_window_holds_nan_and_its_neighbours_still_have_scores() -> None:
    windows = cut(9, 3, holes=(4,))
    assert windows.index.tolist() == [0, 1, 5, 6]
    spread = windows.spread(np.arange(4.0), "mean")
    assert np.flatnonzero(np.isnan(spread)).tolist() == [4]


def test_the_stride_starts_anew_after_a_hole() -> None:
    assert cut(12, 2, stride=4, holes=(5,)).index.tolist() == [0, 3, 6, 10]


def test_no_window_crosses_a_gap() -> None:
    gaps = np.zeros(8, dtype=bool)
    gaps[3] = True
    assert series_windows(ramp(8), 3, gaps=gaps).index.tolist() == [0, 3, 4, 5]


def test_separate_windows_are_counted_run_by_run() -> None:
    assert cut(20, 3).n_separate == 6
    assert cut(20, 3, holes=(8,)).n_separate == 2 + 3
    assert collection_windows(np.zeros((5, 3, 1), np.float32), "x").n_separate == 5


def test_a_collection_leaves_out_windows_with_nan() -> None:
    values = np.zeros((4, 3, 2), np.float32)
    values[1, 2, 0] = np.nan
    windows = collection_windows(values, "x")
    np.testing.assert_array_equal(windows.spread(np.arange(3.0), "mean"), [0, np.nan, 1, 2])
    with pytest.raises(DataError, match="x: all 1 windows hold NaN"):
        collection_windows(values[1:2], "x")


def test_chunks_are_small_and_together_all_windows() -> None:
    windows = cut(50, 7, stride=3)
    chunks = list(windows.chunks(most=4))
    assert max(map(len, chunks)) == 4
    np.testing.assert_array_equal(np.concatenate(chunks), windows.all())


def test_a_long_series_is_never_copied_as_windows() -> None:
    windows = series_windows(np.zeros((200_000, 1), np.float32), 100)
    assert max(chunk.nbytes for chunk in windows.chunks()) <= 2**24


def test_a_sample_is_of_the_windows_and_seeded() -> None:
    windows = cut(50, 4)
    sample = windows.sample(10, seed=1)
    assert len(np.unique(sample[:, 0])) == 10
    np.testing.assert_array_equal(sample, windows.sample(10, seed=1))
    assert len(windows.sample(1000, seed=1)) == len(windows)


@pytest.mark.parametrize("period", [5, 24, 48, 144])
def test_the_window_is_the_period(period: int) -> None:
    t = np.arange(2000)
    noise = np.random.default_rng(0).normal(size=2000)
    x = np.sin(2 * np.pi * t / period) + 0.3 * noise
    values = np.stack([1000 + 50 * x, np.full(2000, 3.0)], 1)  # the constant one does not matter
    values[::97] = np.nan
    assert abs(choose_window(values, 500) - period) <= 1


def test_without_a_period_the_window_is_the_default() -> None:
    trend = np.linspace(0, 1, 2000)[:, None]
    assert choose_window(trend, 500) == DEFAULT_WINDOW
    assert choose_window(np.ones((2000, 1)), 500) == DEFAULT_WINDOW
    assert choose_window(np.ones((2000, 1)), 30) == 30

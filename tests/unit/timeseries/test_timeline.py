import numpy as np
import pytest
import torch

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.timeline import (
    check_runs,
    check_values,
    find_gaps,
    finite_runs,
    time_steps,
    typical_step,
)

MINUTE = np.timedelta64(60, "s")
DAWN = np.datetime64("2024-05-01T06:00")


@pytest.mark.parametrize("kind", [np.float32, np.int16, bool])
def test_one_channel_may_come_flat_and_in_any_type(kind: type) -> None:
    values = check_values(np.ones(4, dtype=kind), "x")
    assert (values.shape, values.dtype) == ((4, 1), np.float64)


def test_tensors_are_taken_and_the_callers_array_is_left_alone() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    check_values(x, "x")[0, 0] = 1
    assert x[0, 0] == 0


def test_nan_is_allowed() -> None:
    assert np.isnan(check_values(np.array([1.0, np.nan]), "x")).sum() == 1


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        ([1.0], DataError, "x must be a numpy array or a tensor, got list"),
        (np.array(["a"]), DataError, "x: an array of <U1 does not hold real numbers"),
        (np.zeros((2, 2, 2, 2)), ShapeError, r"x must be \(L,\), \(L, D\) or \(n, T, D\), got"),
        (np.array(1.0), ShapeError, "x must be"),
        (np.zeros((3, 0)), ShapeError, "x must be"),
        (np.zeros((3, 1)), ShapeError, "x has 1 channels, the detector 2"),
        (np.array([[0, 1], [2, np.inf]]), DataError, r"x row 1 channel 1 is inf \(1 such"),
        (np.full((2, 3, 2), -np.inf), DataError, r"x row 0 step 0 channel 0 is -inf \(12 such"),
        (np.full((1, 2), 1e39), DataError, r"x row 0 channel 0 is 1e\+39 \(2 such"),
    ],
)
def test_bad_values(x: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_values(x, "x", n_channels=2 if np.ndim(x) > 1 else None)


def test_steps_of_dates_are_seconds_and_of_numbers_their_own() -> None:
    assert time_steps(DAWN + MINUTE * np.array([0, 1, 3]), 3).tolist() == [60, 120]
    assert time_steps([0, 0.5, 1.5], 3).tolist() == [0.5, 1]
    assert time_steps([7], 1).tolist() == []


@pytest.mark.parametrize(
    ("times", "error", "text"),
    [
        ([0, 1], ShapeError, r"timestamps must have shape \(3,\), got \(2,\)"),
        (["a", "b", "c"], DataError, "timestamps must be datetime64 or numbers, got <U1"),
        ([0, np.nan, 2], DataError, "timestamps row 1 is nan"),
        ([DAWN, np.datetime64("NaT"), DAWN], DataError, "timestamps row 1 is NaT"),
        ([0, 2, 1], DataError, r"row 2 is 1, not after row 1 \(2\); 1 such rows"),
        ([0, 0, 0], DataError, r"row 1 is 0, not after row 0 \(0\); 2 such rows \(sort the"),
        ([DAWN, DAWN, DAWN + MINUTE], DataError, "row 1 is 2024-05-01T06:00:00, not after row 0"),
    ],
)
def test_bad_timestamps(times: list[object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        time_steps(np.array(times), 3)


def test_one_row_may_be_missing_but_two_are_a_gap() -> None:
    steps = np.array([1.0, 2.0, 3.0, 1.0])
    assert find_gaps(steps, 1.0).tolist() == [False, False, False, True, False]
    assert typical_step(steps) == 1.5
    assert typical_step(steps[:0]) is None


@pytest.mark.parametrize(
    ("holes", "gaps", "runs"),
    [
        ([], [], [(0, 6)]),
        ([0], [], [(1, 6)]),
        ([2, 3], [], [(0, 2), (4, 6)]),
        ([5], [], [(0, 5)]),
        ([], [3], [(0, 3), (3, 6)]),
        ([2], [3], [(0, 2), (3, 6)]),
        ([2], [2], [(0, 2), (3, 6)]),
        (range(6), [], []),
    ],
)
def test_runs_end_at_holes_and_gaps(holes, gaps, runs) -> None:
    values = np.zeros((6, 2))
    values[list(holes), 1] = np.nan
    before = np.isin(np.arange(6), gaps)
    assert finite_runs(values, before) == runs


def test_a_run_must_hold_a_window() -> None:
    check_runs([(0, 2), (4, 9)], 5, 9, "x")
    with pytest.raises(DataError, match="x has 9 rows, a window needs 10"):
        check_runs([(0, 9)], 10, 9, "x")
    with pytest.raises(DataError, match=r"no window of 6 rows fits, .* 9 rows .* has 5"):
        check_runs([(0, 2), (4, 9)], 6, 9, "x")
    with pytest.raises(DataError, match="has 0"):
        check_runs([], 6, 9, "x")

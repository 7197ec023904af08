import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.splits import Ratios, longest_window, split_rows, split_windows

TENTHS = Ratios(0.1, 0.1)


def test_parts_follow_in_time_with_a_window_between() -> None:
    parts = split_rows(1000, 20, TENTHS)
    assert parts == {"train": slice(0, 800), "val": slice(820, 900), "cal": slice(920, 1000)}


@given(st.integers(1, 2000), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_the_longest_window_fits_wherever_any_does(n_rows: int, val: float, cal: float) -> None:
    ratios = Ratios(val, cal)
    window = longest_window(n_rows, ratios)
    try:
        parts = split_rows(n_rows, window, ratios)
    except DataError:
        assert window == 1
        return
    assert all(part.stop - part.start >= window for part in parts.values())
    assert parts["val"].start - parts["train"].stop == window
    assert parts["cal"].start - parts["val"].stop == window
    assert parts["cal"].stop == n_rows


def test_too_short_a_series_tells_the_numbers_and_what_would_do() -> None:
    with pytest.raises(DataError, match=r"300 rows are too few for windows of 50: .* get 240, 30 "
                       r"and 30 rows, but need 51, 100 and 100 .* about 1000 rows"):  # fmt: skip
        split_rows(300, 50, TENTHS)
    split_rows(1000, 50, TENTHS)
    with pytest.raises(DataError):
        split_rows(990, 50, TENTHS)


def test_a_collection_is_split_at_random_by_seed() -> None:
    parts = split_windows(50, TENTHS, seed=3)
    assert [len(part) for part in parts.values()] == [40, 5, 5]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(50))
    again, other = split_windows(50, TENTHS, seed=3), split_windows(50, TENTHS, seed=4)
    np.testing.assert_array_equal(parts["cal"], again["cal"])
    assert set(parts["cal"]) != set(other["cal"])


def test_too_small_a_collection_tells_the_numbers() -> None:
    assert [len(part) for part in split_windows(4, TENTHS, 0).values()] == [2, 1, 1]
    with pytest.raises(DataError, match=r"3 windows are too few: .* get 1, 1 and 1, but need 2"):
        split_windows(3, TENTHS, 0)


@pytest.mark.parametrize(
    ("val", "cal", "text"),
    [
        (0.0, 0.1, r"val_ratio must be in \(0, 1\), is 0.0"),
        (0.1, 1.0, r"cal_ratio must be in \(0, 1\), is 1.0"),
        (float("nan"), -1, r"val_ratio .* is nan\ncal_ratio .* is -1"),
        (0.5, 0.6, r"val_ratio \+ cal_ratio must be below 1, is 1.1"),
    ],
)
def test_bad_ratios(val: float, cal: float, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Ratios(val, cal)

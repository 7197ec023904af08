from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.vus import volumes_under_surface, vus_window

Array = NDArray[Any]


def series(n: int, *events: tuple[int, int]) -> Array:
    labels = np.zeros(n, dtype=bool)
    for start, stop in events:
        labels[start:stop] = True
    return labels


@st.composite
def scored_events(draw: st.DrawFn) -> tuple[Array, Array]:
    """Up to 250 rows with a single event, and scores with many ties."""
    n = draw(st.integers(2, 250))
    start = draw(st.integers(0, n - 1))
    stop = draw(st.integers(start + 1, n if start else n - 1))
    score = np.array(draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n)), dtype=float)
    return series(n, (start, stop)), score


@given(case=scored_events())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_at_window_0_one_event_gives_the_plain_areas(case: tuple[Array, Array]) -> None:
    labels, score = case
    found = volumes_under_surface(labels, score, 0)
    assert found.roc == pytest.approx(roc_auc_score(labels, score), abs=1e-12)
    assert found.pr == pytest.approx(average_precision_score(labels, score), abs=1e-12)


@given(case=scored_events(), window=st.integers(0, 40))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_only_the_order_of_scores_matters(case: tuple[Array, Array], window: int) -> None:
    labels, score = case
    found = volumes_under_surface(labels, score, window)
    assert volumes_under_surface(labels, np.exp(score) - 7, window) == found
    assert volumes_under_surface(labels, score.astype(np.float32), window) == found


@given(case=scored_events(), window=st.integers(0, 40))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_perfect_scores_give_1_at_every_window(case: tuple[Array, Array], window: int) -> None:
    labels, _ = case
    assert volumes_under_surface(labels, labels.astype(float), window) == pytest.approx((1, 1))


@given(case=scored_events(), window=st.integers(0, 40))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_time_may_run_backwards(case: tuple[Array, Array], window: int) -> None:
    labels, score = case
    found = volumes_under_surface(labels[::-1], score[::-1], window)
    assert found == pytest.approx(volumes_under_surface(labels, score, window), abs=1e-12)


def test_a_buffer_forgives_a_late_score() -> None:
    labels = series(1000, (400, 420))
    late = np.roll(labels, 5).astype(float)
    volumes = [volumes_under_surface(labels, late, window) for window in (0, 20, 60)]
    assert [v.pr for v in volumes] == sorted(v.pr for v in volumes)
    assert volumes[-1].pr > volumes[0].pr + 0.1
    assert volumes[-1].roc > volumes[0].roc


def test_a_missed_event_costs_even_where_its_rows_are_few() -> None:
    labels = series(200, (50, 99), (150, 151))
    found = labels.astype(float)
    found[150] = -1
    # Of 50 anomalous rows 49 are found, of 2 events one: the recall is .49 at precision 1, and
    # the last threshold flags all 200 rows for the rest.
    assert volumes_under_surface(labels, found, 0).pr == pytest.approx(0.49 + 0.51 * 50 / 200)


@pytest.mark.parametrize("labels", [series(5), series(5, (0, 5)), series(1), series(1, (0, 1))])
def test_labels_of_one_kind_give_nan(labels: Array) -> None:
    found = volumes_under_surface(labels, np.arange(len(labels), dtype=float), 3)
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("labels", "score", "window", "error", "text"),
    [
        (series(3), np.zeros(4), 0, ShapeError, r"labels must have shape \(4,\), got \(3,\)"),
        (series(2), np.array([0, np.nan]), 0, DataError, "anomaly_score row 1 is nan"),
        (series(2), np.array([np.inf, 0]), 0, DataError, "anomaly_score row 0 is inf"),
        (series(2, (0, 1)), np.zeros(2), -1, DataError, "window must be 0 rows or more, got -1"),
        (np.array([0, 1, 2]), np.zeros(3), 0, DataError, "labels row 2 is 2, neither 0 nor 1"),
    ],
)
def test_bad_input_is_told(
    labels: Array, score: Array, window: int, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        volumes_under_surface(labels, score, window)


@pytest.mark.parametrize("period", [8, 24, 99, 288])
def test_the_window_is_the_period(period: int) -> None:
    x = 5 + np.sin(2 * np.pi * np.arange(period * 30) / period)
    assert vus_window(x) == period
    assert vus_window(np.stack([x, np.zeros_like(x)], axis=1)) == period
    x[::7] = np.nan
    assert vus_window(x) == period


@pytest.mark.parametrize(
    "x",
    [np.full(100, 3.0), np.full(10, np.nan), np.array([2.0]), np.arange(50.0)],
    ids=["constant", "nothing measured", "one row", "trend"],
)
def test_a_series_without_a_period_has_the_window_125(x: Array) -> None:
    assert vus_window(x) == 125


def test_only_the_first_20000_rows_tell_the_period() -> None:
    rows = np.arange(60_000)
    x = np.where(rows < 20_000, np.sin(2 * np.pi * rows / 40), 9 * np.sin(2 * np.pi * rows / 60))
    assert vus_window(x) == 40


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3, 4)])
def test_other_shapes_than_a_series_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="a series must have shape"):
        vus_window(np.zeros(shape))

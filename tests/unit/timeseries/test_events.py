import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.timeseries.events import Event, find_events

NAN = math.nan


def spans(scores, **options) -> list[tuple[int, int]]:
    return [(e.start, e.end) for e in find_events(np.array(scores), 0.0, **options)]


@pytest.mark.parametrize(
    ("scores", "merge", "expected"),
    [
        ([1, 1], 0, []),
        ([-1], 0, [(0, 0)]),
        ([-1, -1, 1, -1], 0, [(0, 1), (3, 3)]),
        ([-1, -1, 1, -1], 1, [(0, 3)]),
        ([-1, 1, 1, -1], 1, [(0, 0), (3, 3)]),
        ([-1, 1, 1, -1], 2, [(0, 3)]),
        ([-1, NAN, -1], 5, [(0, 0), (2, 2)]),
        ([-1, 1, NAN, 1, -1], 5, [(0, 0), (4, 4)]),
        ([NAN, NAN], 5, []),
        ([0, 1], 0, []),  # at the threshold is normal
    ],
)
def test_spans(scores, merge, expected) -> None:
    assert spans(scores, merge=merge) == expected


def test_a_gap_ends_an_event() -> None:
    gaps = np.array([False, False, True, False])
    assert spans([-1, -1, -1, -1], merge=3, gaps=gaps) == [(0, 1), (2, 3)]
    assert spans([-1, 1, 1, -1], merge=3, gaps=gaps) == [(0, 0), (3, 3)]


def test_an_event_has_a_peak_and_times() -> None:
    times = np.datetime64("2024-01-01") + np.arange(5)
    scores = np.array([1.0, -2.0, -7.0, -7.0, 1.0])
    (event,) = find_events(scores, 0.0, timestamps=times)
    assert event == Event(1, 3, 2, -7.0, times[1], times[3], times[2])
    assert len(event) == 3
    np.testing.assert_array_equal(scores[event.rows], [-2, -7, -7])


def test_without_timestamps_there_are_no_times() -> None:
    (event,) = find_events(np.array([-1.0]), 0.0)
    assert (event.start_time, event.end_time, event.peak_time) == (None, None, None)


@given(st.lists(st.sampled_from([-2.0, -1.0, 1.0, NAN]), max_size=30), st.integers(0, 4))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_events_hold_every_flagged_point_once_and_no_hole(values, merge) -> None:
    scores = np.array(values)
    events = find_events(scores, 0.0, merge=merge)
    held = [row for event in events for row in range(len(scores))[event.rows]]
    assert held == sorted(set(held))
    assert set(np.flatnonzero(scores < 0)) <= set(held)
    for event in events:
        assert not np.isnan(scores[event.rows]).any()
        assert scores[event.start] < 0 > scores[event.end]
        assert event.score == scores[event.peak] == scores[event.rows].min()

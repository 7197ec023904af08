from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.affiliation import affiliation_precision_recall
from gormpo_density.timeseries.ranges import flagged_ranges

Array = NDArray[Any]


def flags(text: str) -> Array:
    return np.array([letter == "x" for letter in text])


@pytest.mark.parametrize(
    ("labels", "predicted", "precision", "recall"),
    [
        ("....xx....", "....xx....", 1, 1),
        # From 2 to 3 rows away, where (8 - 2 d) / 10 of the time is as far or further: .3. From
        # y in [4, 6] the flag is 8 - y away, and (2 y - 8 + 2) / 10 of the time is: .4.
        ("....xx....", "........x.", 0.3, 0.4),
        ("....xx....", "..........", 0, 0),
        ("....xx....", "xxxxxxxxxx", (2 + 2 * 4 * 0.4) / 10, 1),
        ("xx........", "xx........", 1, 1),
        ("x...x", "x....", 1, 0.5),  # the flag is in the first zone, so the second finds nothing
        ("..........", "..x.......", np.nan, np.nan),
        # From y in [0, 2] the flag is 2 - y away, which max(2 y - 2, 0) + 3 of the 5 rows are: .7.
        ("xxxxx", "..x..", 1, (4 * 0.7 + 1) / 5),
    ],
)
def test_affiliation_by_hand(labels: str, predicted: str, precision: float, recall: float) -> None:
    found = affiliation_precision_recall(flags(labels), flags(predicted))
    assert found == pytest.approx((precision, recall), nan_ok=True)


@given(
    pairs=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=14),
)
@settings(derandomize=True, max_examples=25, deadline=None)
def test_affiliation_equals_counting_on_a_fine_grid(pairs: list[tuple[bool, bool]]) -> None:
    labels, predicted = np.array(pairs).T
    found = affiliation_precision_recall(labels, predicted)
    if labels.any() and predicted.any():
        assert found == pytest.approx(counted_affiliation(labels, predicted), abs=0.02)


def counted_affiliation(labels: Array, predicted: Array, parts: int = 40) -> tuple[float, float]:
    """Count, for times on a grid, the share of the zone's times that are as far or further."""
    time = (np.arange(len(labels) * parts) + 0.5) / parts
    is_event, is_flagged = np.repeat(labels, parts), np.repeat(predicted, parts)
    gaps = [np.maximum(np.maximum(a - time, time - b), 0) for a, b in flagged_ranges(labels)]
    precisions, recalls = [], []
    for number, gap in enumerate(gaps):
        zone = np.argmin(gaps, axis=0) == number
        event, found = zone & is_event, time[zone & is_flagged]
        if len(found):
            away = gap[zone & is_flagged]
            precisions.append(np.mean([np.mean(gap[zone] >= one) for one in away]))
        shares = []
        for y in time[event]:
            nearest = np.min(np.abs(found - y), initial=np.inf)
            shares.append(np.mean(np.abs(time[zone] - y) >= nearest))
        recalls.append(np.mean(shares))
    return float(np.mean(precisions)), float(np.mean(recalls))


def test_nearer_flags_are_better() -> None:
    labels = flags("." * 20 + "xxx" + "." * 20)
    flagged = [np.roll(labels, shift) for shift in (0, 2, 5, 12, -20)]
    f1 = [affiliation_precision_recall(labels, one).f1 for one in flagged]
    assert f1 == sorted(f1, reverse=True)
    assert f1[0] == 1


def test_bad_flags_are_told() -> None:
    with pytest.raises(ShapeError, match=r"predicted must have shape \(2,\), got \(3,\)"):
        affiliation_precision_recall(flags(".x"), flags(".x."))
    with pytest.raises(DataError, match="labels row 0 is 7, neither 0 nor 1"):
        affiliation_precision_recall(np.array([7, 0]), flags(".x"))

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.ranges import (
    PrecisionRecall,
    flagged_ranges,
    range_precision_recall,
)

Array = NDArray[Any]

pairs_of_flags = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40).map(
    lambda pairs: np.array(pairs, dtype=bool).T
)


def flags(text: str) -> Array:
    return np.array([letter == "x" for letter in text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("...", []),
        ("x", [[0, 1]]),
        ("xxx", [[0, 3]]),
        ("x.xx..x", [[0, 1], [2, 4], [6, 7]]),
    ],
)
def test_ranges_are_found_at_the_edges_too(text: str, expected: list[list[int]]) -> None:
    assert flagged_ranges(flags(text)).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "predicted", "precision", "recall"),
    [
        ("..xxxx..", "..xxxx..", 1, 1),
        ("..xxxx..", "........", 0, 0),
        ("..xxxx..", "xx......", 0, 0),
        ("..xxxx..", "...x....", 1, 0.2 + 0.8 / 4),
        ("..xxxx..", "..x.x...", 1, 0.2 + 0.8 * (2 / 4) / 2),  # two pieces
        ("..xxxx..", "xxxx....", 1 / 2, 0.2 + 0.8 / 2),
        ("x.x.....", "xxx.....", (2 / 3) / 2, 1),  # one alarm over two events
        ("xx....xx", "xx...x..", 1 / 2, 1 / 2),
        ("........", "..x.....", 0, np.nan),
    ],
)
def test_range_precision_and_recall_by_hand(
    labels: str, predicted: str, precision: float, recall: float
) -> None:
    found = range_precision_recall(flags(labels), flags(predicted))
    assert found == pytest.approx((precision, recall), nan_ok=True)


@given(pair=pairs_of_flags, weight=st.floats(0, 1))
@settings(derandomize=True, max_examples=80, deadline=None)
def test_range_measures_equal_counting(pair: Array, weight: float) -> None:
    labels, predicted = pair
    found = range_precision_recall(labels, predicted, existence=weight)
    recalls = [
        counted_reward(range(*event), predicted, weight) for event in flagged_ranges(labels)
    ]
    precisions = [counted_reward(range(*alarm), labels, 0) for alarm in flagged_ranges(predicted)]
    assert found.recall == pytest.approx(np.mean(recalls) if recalls else np.nan, nan_ok=True)
    assert found.precision == pytest.approx(np.mean(precisions) if precisions else 0)


def counted_reward(rows: range, others: Array, weight: float) -> float:
    """Tatbul's reward of one range, row by row."""
    pieces = sum(
        1 for start, stop in flagged_ranges(others) if set(rows) & set(range(start, stop))
    )
    if not pieces:
        return 0.0
    return weight + (1 - weight) * sum(bool(others[row]) for row in rows) / len(rows) / pieces


@pytest.mark.parametrize(
    ("precision", "recall", "f1"), [(0, 0, 0), (1, 1, 1), (0.5, 1, 2 / 3), (0, np.nan, np.nan)]
)
def test_f1_is_the_harmonic_mean(precision: float, recall: float, f1: float) -> None:
    assert PrecisionRecall(precision, recall).f1 == pytest.approx(f1, nan_ok=True)


def test_bad_flags_are_told() -> None:
    with pytest.raises(ShapeError, match=r"predicted must have shape \(2,\), got \(3,\)"):
        range_precision_recall(flags(".x"), flags(".x."))
    with pytest.raises(DataError, match="flags row 1 is nan, neither 0 nor 1"):
        flagged_ranges(np.array([0, np.nan]))
    with pytest.raises(ShapeError, match=r"flags must have shape \(2,\), got \(2, 1\)"):
        flagged_ranges(np.zeros((2, 1)))

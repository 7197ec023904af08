"""Ranges of flagged rows, and how well they match the events of a series."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import DataError, ShapeError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class PrecisionRecall(NamedTuple):
    """A precision and a recall; precision is 0 where nothing is flagged."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean, 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def flagged_ranges(flags: Flags) -> NDArray[np.intp]:
    """Return where flags (n,) are set without a break: (k, 2) of first row and row after the last.

    Raises:
        ShapeError: flags is not a vector.
        DataError: A flag is neither true nor false.
    """
    steps = np.diff(check_rows(flags, len(flags), "flags").astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(steps).reshape(-1, 2)


def range_precision_recall(
    labels: Flags, predicted: Flags, *, existence: float = 0.2
) -> PrecisionRecall:
    """Return range-based precision and recall.

    Recall is the mean over true ranges R, of which x flagged ranges hold a row, of

        a [x > 0] + (1 - a) * (flagged share of R) / max(x, 1)

    Precision is the same with the parts exchanged and a = 0. In Tatbul's words: alpha is the
    weight of existence a, no position is preferred (flat bias), the cardinality factor is 1 / x.

    Args:
        labels: (n,) True where anomalous.
        predicted: (n,) True where flagged.
        existence: The weight a, in [0, 1].

    Returns:
        Both; recall is nan where no row is anomalous, precision 0 where none is flagged.

    Raises:
        ShapeError: labels and predicted are not vectors of one length.
        DataError: An entry is neither true nor false.

    Source:
        Tatbul et al. 2018, "Precision and recall for time series",
        https://arxiv.org/abs/1803.03639; the parameters are those of TSB-AD, with which it agrees.
    """
    check_rows(predicted, len(labels), "predicted")
    true, found = flagged_ranges(labels), flagged_ranges(predicted)
    recall = np.mean(_overlap_reward(true, found, existence)) if len(true) else np.nan
    precision = np.mean(_overlap_reward(found, true, 0.0)) if len(found) else 0.0
    return PrecisionRecall(float(precision), float(recall))


def _overlap_reward(
    ranges: NDArray[np.intp], others: NDArray[np.intp], existence: float
) -> Floats:
    """Return what each range (k, 2) earns by the others' overlap with it, (k,)."""
    starts, stops = ranges.T
    n_ended_before = np.searchsorted(others[:, 1], starts, "right")
    n_others = np.searchsorted(others[:, 0], stops) - n_ended_before
    covered = _covered_before(others, stops) - _covered_before(others, starts)
    overlap = covered / (stops - starts) / np.maximum(n_others, 1)
    return np.asarray(existence * (n_others > 0) + (1 - existence) * overlap)


def _covered_before(ranges: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many rows before each given row lie in one of the ranges."""
    n_before = np.searchsorted(ranges[:, 0], rows)
    lengths = np.append(0, np.cumsum(ranges[:, 1] - ranges[:, 0]))
    overhang = np.append(0, ranges[:, 1])[n_before] - rows
    return np.asarray(lengths[n_before] - np.maximum(overhang, 0))


def check_rows(flags: NDArray[Any], n_rows: int, name: str) -> Flags:
    """Return flags (n_rows,) as booleans; zeros and ones will do.

    Raises:
        ShapeError: They have another shape.
        DataError: One is neither true nor false.
    """
    if flags.shape != (n_rows,):
        raise ShapeError(f"{name} must have shape ({n_rows},), got {flags.shape}")
    is_other = (flags != 0) & (flags != 1)
    if is_other.any():
        row = int(np.argmax(is_other))
        raise DataError(f"{name} row {row} is {flags[row]}, neither 0 nor 1")
    return flags.astype(np.bool_)

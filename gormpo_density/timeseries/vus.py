"""Volumes under the ROC and PR surface: areas that forgive a score for being somewhat off in time.

Written here because no package can be used: TSB-AD, the reference, needs numpy below 2, and aeon
1.6 and dtaianomaly 0.5 differ from it by .03 to .09 on cases of tests/golden.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gormpo_density.arrays import check_finite
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.ranges import check_rows, flagged_ranges

Floats = NDArray[np.float64]

N_THRESHOLDS = 250
"""Thresholds of a surface, spread evenly over the sorted scores, as in the reference."""

NO_PERIOD = 125
"""The window of a series that shows no period between 6 and 303 rows, as in the reference."""


class Volumes(NamedTuple):
    """Mean area under the ROC and the PR curve over all widths of the buffer."""

    roc: float
    pr: float


class _Thresholds(NamedTuple):
    """What is the same for every width: the scores in order, and where each threshold cuts.

    Attributes:
        score: (n,) anomaly scores.
        order: (n,) rows from the most to the least anomalous.
        values: (K,) thresholds, from the strictest on; a row is flagged from its value on.
        n_flagged: (K,) rows that each threshold flags.
    """

    score: Floats
    order: NDArray[np.intp]
    values: Floats
    n_flagged: NDArray[np.intp]

    def sums(self, weights: Floats) -> Floats:
        """Return the sum of the weights of the rows that each threshold flags, (K,)."""
        return np.asarray(np.cumsum(weights[self.order])[self.n_flagged - 1])


def volumes_under_surface(
    labels: NDArray[np.bool_], anomaly_score: NDArray[np.floating[Any]], window: int
) -> Volumes:
    """Return VUS-ROC and VUS-PR: the range-AUCs averaged over the widths 0, 1, ..., window.

    At width w an event's label falls off on both sides as sqrt(1 - d / w), d <= w // 2 rows away
    (the sum over events, at most 1). With soft labels y and the flags f of a threshold:

        TP = sum y f,  P = sum of labels + (sum of y f off the events) / 2,  N = n - P
        TPR = min(TP / P, 1) * share of events flagged anywhere in their buffer
        FPR = (sum f - TP) / N,  precision = TP / sum f

    where events whose buffers touch count as one. The area under ROC is taken by trapezoids up to
    (1, 1), that under PR by steps. With a single event and at most 250 rows the areas at window 0
    are the plain AUC-ROC and average precision; several events make them smaller, for the share
    of events flagged.

    Args:
        labels: (n,) True where anomalous.
        anomaly_score: (n,) higher is more anomalous.
        window: Largest width in rows, commonly the period of the series (`vus_window`).

    Returns:
        The volumes, both nan where all labels are equal.

    Raises:
        ShapeError: Labels and scores differ in length, or are not vectors.
        DataError: A label is neither true nor false, a score is not finite, or window < 0.

    Source:
        Paparrizos et al. 2022, "Volume under the surface", PVLDB 15(11),
        https://doi.org/10.14778/3551793.3551830; P and the thresholds as `RangeAUC_volume_opt` of
        TSB-AD (Liu and Paparrizos 2024) has them, with which this agrees to rounding errors.
    """
    is_anomaly = check_rows(labels, len(anomaly_score), "labels")
    check_finite(anomaly_score, "anomaly_score")
    if window < 0:
        raise DataError(f"window must be 0 rows or more, got {window}")
    if is_anomaly.all() or not is_anomaly.any():
        return Volumes(np.nan, np.nan)
    thresholds = _thresholds(anomaly_score.astype(np.float64))
    areas = [_areas(is_anomaly, thresholds, width) for width in range(window + 1)]
    roc, pr = np.mean(areas, axis=0)
    return Volumes(float(roc), float(pr))


def vus_window(x: NDArray[np.floating[Any]]) -> int:
    """Return the period of a series in rows: the lag of its highest peak of autocorrelation.

    Of the first 20,000 rows of the first channel; peaks at the lags 4 to 399 compete. Where the
    highest is under 6 or above 303, or there is none, the window is 125. A missing value (NaN)
    is interpolated between its neighbours.

    Args:
        x: (L,) or (L, D) series in any unit.

    Raises:
        ShapeError: x is neither (L,) nor (L, D), or is empty.

    Source:
        `find_length_rank` (rank 1) of TSB-AD (Liu and Paparrizos 2024), with which this agrees.
    """
    if x.ndim not in (1, 2) or x.size == 0:
        raise ShapeError(f"a series must have shape (L,) or (L, D), not empty, got {x.shape}")
    channel = (x if x.ndim == 1 else x[:, 0])[:20_000].astype(np.float64)
    measured = np.isfinite(channel)
    if not measured.any():
        return NO_PERIOD
    rows = np.arange(len(channel))
    filled = np.interp(rows, rows[measured], channel[measured])
    correlation = _autocovariance(filled - filled.mean())
    steps = np.diff(correlation[3:401])
    peaks = 4 + np.flatnonzero((steps[:-1] > 0) & (steps[1:] < 0))
    period = int(max(peaks, key=correlation.__getitem__, default=NO_PERIOD))
    return period if 6 <= period <= 303 else NO_PERIOD


def _autocovariance(deviation: Floats) -> Floats:
    """Return the sums of deviation[t] * deviation[t + lag] at the lags 0 to n - 1."""
    n = len(deviation)
    spectrum = np.fft.rfft(deviation, 2 * n)  # twice as long, or the ends would meet
    return np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n]


def _thresholds(score: Floats) -> _Thresholds:
    order = np.argsort(-score, kind="stable")
    places = np.linspace(0, len(score) - 1, N_THRESHOLDS).astype(np.intp)
    values = score[order[places]]
    n_flagged = len(score) - np.searchsorted(score[order[::-1]], values)
    return _Thresholds(score, order, values, n_flagged)


def _areas(labels: NDArray[np.bool_], thresholds: _Thresholds, width: int) -> tuple[float, float]:
    """Return the areas under the ROC and the PR curve at one width of the buffer."""
    events = flagged_ranges(labels)
    n_flagged = thresholds.n_flagged
    true = thresholds.sums(_soft_labels(labels, events, width))
    in_buffer = true - thresholds.sums(labels.astype(np.float64))
    positives = np.count_nonzero(labels) + in_buffer / 2
    found = _share_found(events, thresholds, width // 2)
    tpr = np.minimum(true / positives, 1) * found
    fpr = (n_flagged - true) / (len(labels) - positives)
    pr = np.diff(tpr, prepend=0) @ (true / n_flagged)
    tpr, fpr = (np.concatenate([[0], rate, [1]]) for rate in (tpr, fpr))
    return float(np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2), float(pr)


def _soft_labels(labels: NDArray[np.bool_], events: NDArray[np.intp], width: int) -> Floats:
    """Return the labels (n,) with a buffer of width // 2 rows on both sides of every event."""
    distance = np.arange(1, width // 2 + 1)
    slope = np.sqrt(1 - distance / width) if width else distance.astype(np.float64)
    rows = np.stack([events[:, :1] - distance, events[:, 1:] - 1 + distance]).ravel()
    weights = np.tile(slope, 2 * len(events))
    is_row = (rows >= 0) & (rows < len(labels))
    buffer = np.bincount(rows[is_row], weights[is_row], len(labels))
    return np.minimum(labels + buffer, 1)


def _share_found(events: NDArray[np.intp], thresholds: _Thresholds, reach: int) -> Floats:
    """Return the share of events, or groups of them, that each threshold flags somewhere, (K,)."""
    n = len(thresholds.score)
    apart = events[:-1, 1] - 1 + reach < events[1:, 0] - reach
    starts = np.maximum(events[np.append(True, apart), 0] - reach, 0)
    stops = np.minimum(events[np.append(apart, True), 1] + reach, n)
    padded = np.append(thresholds.score, -np.inf)  # so that the last stop is an index
    peaks = np.maximum.reduceat(padded, np.stack([starts, stops], axis=1).ravel())[::2]
    return 1 - np.searchsorted(np.sort(peaks), thresholds.values) / len(peaks)

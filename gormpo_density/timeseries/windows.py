"""Sliding windows without copies, and what windows say about the points they cover."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gormpo_density.errors import DataError
from gormpo_density.timeseries.timeline import Values, check_runs, finite_runs

Aggregation = Literal["mean", "max", "causal"]
Floats = NDArray[np.float32]

#: Window length where the autocorrelation shows no period.
DEFAULT_WINDOW = 100
_SHORTEST_PERIOD = 4
_LONGEST_PERIOD = 512
_ALMOST = 0.9
_MOST_ROWS = 20_000  # enough to see a period of 512
_CHUNK_VALUES = 2**22  # 16 MB of float32 at a time


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows to train on or to score, taken from a view and copied only chunk by chunk.

    Attributes:
        view: (N, T, D), every window there is.
        index: (n,), those that hold no NaN and cross no gap.
    """

    view: Floats
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_separate(self) -> int:
        """How many windows have no row in common: the effective sample size."""
        return len(self.index)

    def all(self) -> Floats:
        """Return a copy (n, T, D): what training needs."""
        return np.ascontiguousarray(self.view[self.index])

    def sample(self, most: int, seed: int) -> Floats:
        """Return a copy of at most so many windows, drawn at random without repetition."""
        drawn = np.random.default_rng(seed).permutation(self.index)[:most]
        return np.ascontiguousarray(self.view[np.sort(drawn)])

    def chunks(self, most: int = _CHUNK_VALUES) -> Iterator[Floats]:
        """Yield copies (m, T, D) of some 16 MB, m at most `most`, together all n windows."""
        rows = min(most, max(1, _CHUNK_VALUES // int(np.prod(self.view.shape[1:]))))
        for start in range(0, len(self.index), rows):
            yield np.ascontiguousarray(self.view[self.index[start : start + rows]])

    def spread(self, scores: Values, aggregation: Aggregation) -> Values:
        """Return the scores (n, ...) of separate windows by their place (N, ...), NaN elsewhere.

        There is nothing to aggregate here; windows of a series override it.
        """
        out = np.full((len(self.view), *scores.shape[1:]), np.nan)
        out[self.index] = scores
        return out


@dataclass(frozen=True, eq=False)
class SeriesWindows(Windows):
    """Windows of one series; window i starts at row index[i].

    Attributes:
        length: L, rows of the series.
        stops: (n,), where the run without a hole that holds the window ends.
        is_tail: (n,), True for a window off the stride that is there to reach the run's end.
        stride: Rows between starts.
    """

    length: int
    stops: NDArray[np.int64]
    is_tail: NDArray[np.bool_]
    stride: int

    @property
    def n_separate(self) -> int:
        """How many windows without a common row the runs hold: the effective sample size."""
        stops, first, counts = np.unique(self.stops, return_index=True, return_counts=True)
        fitting = (stops - self.index[first]) // self.view.shape[1]
        return int(np.minimum(fitting, counts).sum())

    def spread(self, scores: Values, aggregation: Aggregation) -> Values:
        """Return scores (L, ...) of points from scores (n, ...) of windows.

        "mean": the mean over the windows that cover the point. "max": the lowest of their scores,
        that is the largest anomaly score. "causal": the score of the window that ends at the
        point, or with a stride the last one that ended in the run, so nothing later is used. A
        point that no window covers (or, causal, that none has reached) is NaN.
        """
        if aggregation == "causal":
            return self._spread_causal(scores)
        return self._spread_mean(scores) if aggregation == "mean" else self._spread_max(scores)

    def _spread_mean(self, scores: Values) -> Values:
        out = np.zeros((self.length, *scores.shape[1:]))
        count = np.zeros((self.length, *[1] * (scores.ndim - 1)))
        for offset in range(self.view.shape[1]):
            rows = self.index + offset
            count[rows] += 1
            out[rows] += (scores - out[rows]) / count[rows]  # exact where all scores are equal
        return np.where(count > 0, out, np.nan)

    def _spread_max(self, scores: Values) -> Values:
        out = np.full((self.length, *scores.shape[1:]), np.nan)
        for offset in range(self.view.shape[1]):
            rows = self.index + offset
            out[rows] = np.fmin(out[rows], scores)
        return out

    def _spread_causal(self, scores: Values) -> Values:
        out = np.full((self.length, *scores.shape[1:]), np.nan)
        on_stride = ~self.is_tail
        ends = self.index[on_stride] + self.view.shape[1] - 1
        for wait in range(self.stride):
            reached = ends + wait < self.stops[on_stride]
            out[ends[reached] + wait] = scores[on_stride][reached]
        return out


def slide(values: Floats, window: int) -> Floats:
    """Return all windows (L - T + 1, T, D) of a series (L, D) as a read-only view.

    A series shorter than a window has none: (0, T, D).
    """
    if len(values) < window:
        return np.empty((0, window, values.shape[1]), values.dtype)
    return np.moveaxis(sliding_window_view(values, window, axis=0), -1, 1)


def window_starts(start: int, stop: int, window: int, stride: int) -> NDArray[np.int64]:
    """Return the starts of the windows of rows start ... stop - 1.

    Every stride-th row from the first starts one; where the last of them ends before the last
    row, one more window reaches it, so that no row is left without a window.
    """
    starts = np.arange(start, stop - window + 1, stride)
    if len(starts) and starts[-1] + window < stop:
        starts = np.append(starts, stop - window)
    return starts


def series_windows(
    values: Floats,
    window: int,
    stride: int = 1,
    gaps: NDArray[np.bool_] | None = None,
    name: str = "x",
) -> SeriesWindows:
    """Cut a series (L, D) into windows that hold no NaN and cross no gap.

    Args:
        values: (L, D).
        window: T.
        stride: Rows between the starts of windows, in each run without a hole.
        gaps: (L,), True where a gap in time lies before the row.
        name: What errors call the series.

    Raises:
        DataError: Not one window fits (lengths told).
    """
    runs = finite_runs(values, gaps)
    check_runs(runs, window, len(values), name)
    starts = [window_starts(*run, window, stride) for run in runs]
    counts = [len(of_run) for of_run in starts]
    first, stops = np.repeat(np.array(runs), counts, axis=0).T
    index = np.concatenate(starts)
    is_tail = (index - first) % stride != 0
    return SeriesWindows(slide(values, window), index, len(values), stops, is_tail, stride)


def collection_windows(values: Floats, name: str) -> Windows:
    """Return the windows of a collection (n, T, D) that hold no NaN.

    Raises:
        DataError: There is none.
    """
    usable = np.isfinite(values).all((1, 2))
    if len(values) and not usable.any():
        raise DataError(f"{name}: all {len(values)} windows hold NaN")
    return Windows(values, np.flatnonzero(usable))


def choose_window(values: Values, longest: int) -> int:
    """Return the period of a series (L, D), as its autocorrelation tells it.

    r(k) = sum_t x_t x_{t+k} / sum_t x_t^2 of the centred channels, averaged over them; NaN counts
    as the mean. Local maxima at lags from 4 to 512 above 2 / sqrt(L) are candidates. The period is
    the first that is almost as high (90 %) as the highest, which may be at a multiple of it.
    Without a candidate the length is 100. No length exceeds `longest`.

    Source:
        The ACF method of Ermshaus et al. 2023, "Window size selection in unsupervised time series
        analytics", https://doi.org/10.1007/978-3-031-24378-3_6.
    """
    rows = values[:_MOST_ROWS]
    lags = min(_LONGEST_PERIOD, longest, len(rows) // 2)
    r = _autocorrelation(rows)[: lags + 2]
    inner = np.arange(_SHORTEST_PERIOD, len(r) - 1)
    is_peak = (r[inner] > r[inner - 1]) & (r[inner] >= r[inner + 1])
    peaks = inner[is_peak & (r[inner] > 2 / np.sqrt(len(rows)))]
    if len(peaks) == 0:
        return max(1, min(DEFAULT_WINDOW, longest))
    return int(peaks[r[peaks] >= _ALMOST * r[peaks].max()][0])


def _autocorrelation(values: Values) -> Values:
    centred = np.nan_to_num(values - np.nanmean(values, 0))
    size = 2 ** (2 * len(values) - 1).bit_length()  # zero-padded: no wrap-around
    power = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
    covariance = np.fft.irfft(power, size, axis=0)[: len(values)]
    variance = covariance[0]
    moving = variance > 1e-12 * np.maximum(1.0, np.nanmax(np.abs(values), 0) ** 2)
    if not moving.any():
        return np.zeros(len(values))
    return np.asarray((covariance[:, moving] / variance[moving]).mean(1))

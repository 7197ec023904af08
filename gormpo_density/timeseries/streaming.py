"""Scores as the points come in, at constant cost a step."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.scorer import WindowScorer
from gormpo_density.timeseries.timeline import GAP_FACTOR, check_values, time_steps


class Stream:
    """Scores the window of the last T points after every point, or every stride-th.

    Fed a series row by row it returns the "causal" scores of the whole series, up to float32
    rounding of batches. Memory is 2 T rows and a step costs one score of one window, however long
    the stream: sequence models are asked about the window as a whole too, because a state carried
    on from the beginning would hold more than the window and give another score.

    A point with NaN, or a gap in time, empties the window: scores are NaN until it is full again.

    Args:
        scorer: The fitted model.
        score: Name of the score.
        stride: Points from one score to the next; in between the last score is repeated.
        threshold: That of causal scores; a score below it is an anomaly.
    """

    def __init__(self, scorer: WindowScorer, score: str, stride: int, threshold: float) -> None:
        self._scorer = scorer
        self._name = score
        self._stride = stride
        self.threshold = threshold
        # Every point is written twice, T apart, so the last T points always lie in one piece.
        shape = (2 * scorer.window, scorer.n_channels)
        self._ring = np.zeros(shape, dtype=np.float32)
        self._last_time: NDArray[Any] | None = None
        self.n_updates = 0
        self.reset()

    def reset(self) -> None:
        """Forget the points seen: the next one starts a new window."""
        self._filled = 0
        self._score = np.nan

    def update(self, x: ArrayLike, timestamp: Any = None) -> float:
        """Take the next point and return its score, NaN while the window fills.

        Args:
            x: (D,), or a number where D = 1; data units.
            timestamp: Its time, of the kind the detector was fitted with. A gap is told by the
                step of the training data, so there is none where that had no timestamps.

        Raises:
            ShapeError: x has another number of channels.
            DataError: A value is infinite, or the time is none or not after the last one. The
                point is not taken.
        """
        point = self._point(x)
        if timestamp is not None:
            self._tell_time(timestamp)
        self.n_updates += 1
        if np.isnan(point).any():
            self.reset()
            return np.nan
        window = self._scorer.window
        slot = self._filled % window
        self._ring[slot::window] = self._scorer.scaler(point)
        self._filled += 1
        wait = self._filled - window
        if wait >= 0 and wait % self._stride == 0:
            last = self._ring[slot + 1 : slot + 1 + window]
            self._score = float(self._scorer.score(last[None], self._name)[0])
        return self._score

    def _point(self, x: ArrayLike) -> Any:
        row = np.atleast_1d(np.asarray(x))
        if row.shape != (self._scorer.n_channels,):
            raise ShapeError(
                f"point {self.n_updates} must have shape ({self._scorer.n_channels},), "
                f"got {row.shape}"
            )
        return check_values(row[None], f"point {self.n_updates}")[0]

    def _tell_time(self, timestamp: Any) -> None:
        now, last = np.asarray(timestamp), self._last_time
        place = f"point {self.n_updates}: time {timestamp}"
        if now.shape != () or now.dtype.kind not in "Miuf" or not np.isfinite(now):
            raise DataError(f"{place} is neither a datetime64 nor a finite number")
        if last is not None:
            same_kind = (now.dtype.kind == "M") == (last.dtype.kind == "M")
            if not same_kind or now <= last:
                raise DataError(f"{place} does not come after {last}")
            step = time_steps(np.stack([last, now]), 2)[0]
            if self._scorer.time_step is not None and step > GAP_FACTOR * self._scorer.time_step:
                self.reset()
        self._last_time = now

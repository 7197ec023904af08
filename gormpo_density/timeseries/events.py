"""Events: stretches of a series whose points score below the threshold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.timeseries.timeline import Values


@dataclass(frozen=True)
class Event:
    """A stretch of anomalous points.

    Attributes:
        start: First row.
        end: Last row, itself part of the event.
        peak: Row of the lowest score, the first of equal ones.
        score: Score at the peak, score units: the lower, the worse.
        start_time: Time of `start`; None without timestamps.
        end_time: Time of `end`.
        peak_time: Time of `peak`.
    """

    start: int
    end: int
    peak: int
    score: float
    start_time: Any = None
    end_time: Any = None
    peak_time: Any = None

    @property
    def rows(self) -> slice:
        """The rows of the event, to index arrays with."""
        return slice(self.start, self.end + 1)

    def __len__(self) -> int:
        """Number of rows."""
        return self.end - self.start + 1


def find_events(
    scores: Values,
    threshold: float,
    *,
    merge: int = 0,
    gaps: NDArray[np.bool_] | None = None,
    timestamps: NDArray[Any] | None = None,
) -> list[Event]:
    """Return the events of per-point scores, in order of time.

    Points below the threshold that follow each other are one event. Two events with at most
    `merge` normal points between them are one as well, unless a point without a score (NaN) or a
    gap in time lies between: an event never reaches over what was not measured.

    Args:
        scores: (L,), higher is more normal, NaN where there is none.
        threshold: Points scoring below it are anomalous.
        merge: Most normal points that an event may hold.
        gaps: (L,), True where a gap in time lies before the row.
        timestamps: (L,), the time of each row.
    """
    rows = np.flatnonzero(scores < threshold)  # NaN compares false
    if len(rows) == 0:
        return []
    unseen = np.cumsum(np.isnan(scores))
    broken = unseen if gaps is None else unseen + np.cumsum(gaps)
    splits = (np.diff(rows) > merge + 1) | (np.diff(broken[rows]) > 0)
    parts = np.split(rows, np.flatnonzero(splits) + 1)
    return [_event(int(part[0]), int(part[-1]), scores, timestamps) for part in parts]


def _event(start: int, end: int, scores: Values, timestamps: NDArray[Any] | None) -> Event:
    peak = start + int(scores[start : end + 1].argmin())
    times = () if timestamps is None else tuple(timestamps[row] for row in (start, end, peak))
    return Event(start, end, peak, float(scores[peak]), *times)

"""Affiliation precision and recall: how near flags and events are in time, against chance.

Written here because the authors' code is in no package index, and the packages that hold a copy
bring dozens of others along.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gormpo_density.timeseries.ranges import PrecisionRecall, check_rows, flagged_ranges

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PARTS = 4
"""Parts of a row. Zones end at halves of rows, so all chances bend at quarters at the finest."""


def affiliation_precision_recall(labels: Flags, predicted: Flags) -> PrecisionRecall:
    """Return affiliation precision and recall.

    Every event A has the zone E of the time that is nearer to it than to other events. For a
    flagged time x in E, precision is the chance that a time drawn from E is at least as far from A
    as x is, 1 within A; for a time y in A, recall is the chance that a time drawn from E is at
    least as far from y as the nearest flagged time in E is, 0 if there is none. Both are averaged
    over the time within a zone, then over zones; a zone without a flag has no precision.

    Row i is the time from i to i + 1. Both chances are linear over each quarter of a row, so their
    values in the middles of the quarters give the integrals exactly.

    Args:
        labels: (n,) True where anomalous.
        predicted: (n,) True where flagged.

    Returns:
        Both; nan where no row is anomalous, else 0 where none is flagged.

    Raises:
        ShapeError: labels and predicted are not vectors of one length.
        DataError: An entry is neither true nor false.

    Source:
        Huet et al. 2022, "Local evaluation of time series anomaly detection algorithms",
        https://arxiv.org/abs/2206.13167; agrees with their implementation.
    """
    is_event, is_flagged = (
        np.repeat(check_rows(flags, len(labels), name), PARTS)
        for flags, name in ((labels, "labels"), (predicted, "predicted"))
    )
    if not is_event.any():
        return PrecisionRecall(np.nan, np.nan)
    if not is_flagged.any():
        return PrecisionRecall(0.0, 0.0)
    zones = _Zones.around(flagged_ranges(labels), len(labels))
    precision = zones.means(zones.chance_from_event(is_event), is_flagged)
    recall = zones.means(zones.chance_from_flags(is_flagged), is_event)
    return PrecisionRecall(float(np.nanmean(precision)), float(np.mean(recall)))


@dataclass(frozen=True)
class _Zones:
    """The middles of all parts of rows, each in the zone of its nearest event.

    Attributes:
        time: (N,) the middles, in rows.
        zone: (N,) number of the zone, ascending.
        low: (N,) begin of that zone.
        high: (N,) end of that zone.
        start: (N,) begin of its event.
        stop: (N,) end of its event.
    """

    time: Floats
    zone: NDArray[np.intp]
    low: Floats
    high: Floats
    start: Floats
    stop: Floats

    @classmethod
    def around(cls, events: NDArray[np.intp], n_rows: int) -> "_Zones":
        """Divide n_rows among the events (k, 2), halfway between two of them."""
        starts, stops = events.T.astype(np.float64)
        ends = np.concatenate([[0], (stops[:-1] + starts[1:]) / 2, [n_rows]])
        time = (np.arange(PARTS * n_rows) + 0.5) / PARTS
        zone = np.searchsorted(ends[1:-1], time)
        return cls(time, zone, ends[zone], ends[zone + 1], starts[zone], stops[zone])

    def means(self, values: Floats, where: Flags) -> Floats:
        """Return each zone's mean of the values where asked for, nan for a zone without any."""
        zone, n_zones = self.zone[where], self.zone[-1] + 1
        counts = np.bincount(zone, minlength=n_zones).astype(np.float64)
        sums = np.bincount(zone, values[where], n_zones)
        return np.divide(sums, counts, out=np.full(n_zones, np.nan), where=counts > 0)

    def chance_from_event(self, is_event: Flags) -> Floats:
        """Return the chance that a time of the zone is as far from its event as each time is."""
        distance = np.maximum(self.start - self.time, self.time - self.stop)
        return np.where(is_event, 1.0, self._chance(self.start, self.stop, distance))

    def chance_from_flags(self, is_flagged: Flags) -> Floats:
        """Return the chance that a time of the zone is as far from each time as its flags are."""
        part = np.arange(len(self.time))
        before = np.maximum.accumulate(np.where(is_flagged, part, 0))
        after = np.minimum.accumulate(np.where(is_flagged, part, part[-1])[::-1])[::-1]
        distance = np.full(len(part), np.inf)
        for flag, edge in ((before, (before + 1) / PARTS), (after, after / PARTS)):
            is_near = is_flagged[flag] & (self.zone[flag] == self.zone)
            distance = np.where(is_near, np.minimum(distance, np.abs(self.time - edge)), distance)
        return self._chance(self.time, self.time, np.where(is_flagged, 0.0, distance))

    def _chance(self, start: Floats, stop: Floats, distance: Floats) -> Floats:
        """Return the share of the zone that is at least so far before start or after stop."""
        before = np.maximum(start - distance - self.low, 0)
        after = np.maximum(self.high - stop - distance, 0)
        return np.asarray((before + after) / (self.high - self.low))

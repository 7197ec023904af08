"""Where anomalies go in a series: spans that keep apart, and the labels that cover them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gormpo_density.timeseries.series import Labels, Names, Values


class Span(NamedTuple):
    """An anomaly of some kind in rows [start, stop)."""

    kind: str
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.start, self.stop)


def place_spans(
    rng: np.random.Generator,
    kinds: Sequence[str],
    lengths: Sequence[int],
    within: slice,
    gap: int,
) -> list[Span]:
    """Place spans at random in the given order, `gap` rows or more from each other and the ends.

    The free rows are cut at uniformly random points. A span that finds no room any more is left
    out.

    Args:
        rng: Source of randomness.
        kinds: Kind of each span.
        lengths: Rows of each span.
        within: Rows that may be used.
        gap: Rows between two spans.
    """
    free = within.stop - within.start - gap
    kept = []
    for kind, length in zip(kinds, lengths, strict=True):
        if length + gap <= free:
            kept.append((kind, length))
            free -= length + gap
    spans, start = [], within.start
    cuts = np.sort(rng.integers(0, max(free, 0), size=len(kept), endpoint=True))
    for (kind, length), skipped in zip(kept, np.diff(cuts, prepend=0), strict=True):
        start += int(skipped) + gap
        spans.append(Span(kind, start, start + length))
        start += length
    return spans


def labels_of(spans: Sequence[Span], rows: int) -> tuple[Labels, Names]:
    """Return labels (rows,) and types (rows,), "" where there is no span."""
    types = np.full(rows, "", dtype=f"<U{max([1, *(len(span.kind) for span in spans)])}")
    for span in spans:
        types[span.rows] = span.kind
    return types != "", types


def taper(length: int, ramp: int) -> Values:
    """Return (length,) weights in (0, 1]: raised cosines of `ramp` rows at both ends, 1 between.

    No weight is 0, so that what is multiplied with it changes on every row of a span.
    """
    ramp = max(1, min(ramp, length // 2))
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, ramp + 1) / (ramp + 1))
    weights = np.ones(length)
    weights[:ramp] = rise
    weights[length - ramp :] = rise[::-1]
    return weights

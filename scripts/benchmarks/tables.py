"""Markdown tables, and the intervals in them."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from gormpo_density.metrics import Interval


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table; the first column is text, the others are numbers."""
    rule = ["---", *("--:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the median and the order statistics that enclose it, whatever the distribution.

    The ends are nan where there are too few values for the confidence (under 6 for 95 %).
    """
    ordered = np.sort(values)
    rank = int(stats.binom.ppf((1 - confidence) / 2, len(ordered), 0.5))
    median = float(np.median(ordered))
    if rank == 0:
        return Interval(median, math.nan, math.nan)
    return Interval(median, float(ordered[rank - 1]), float(ordered[-rank]))


def show(value: Interval, digits: int, scale: float = 1.0) -> str:
    """Return "mean [low, high]", without the brackets where there is no interval."""
    estimate, low, high = (f"{scale * number:.{digits}f}" for number in value)
    return estimate if math.isnan(value.low) else f"{estimate} [{low}, {high}]"

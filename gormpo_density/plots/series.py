"""A series over time with its anomaly scores, its anomalies and the events found in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    head,
    legend_below,
    make_panels,
    make_stack,
    outside,
    plain,
    robust_range,
    say_off_axis,
    set_titles,
)

Span = tuple[int, int]

_MAX_CHANNELS = 8
_MAX_CLOSE_UPS = 6
_REACH = 20.0  # interquartile ranges of the anomaly score that the axis shows
_TRUE, _FOUND = PALETTE[1], PALETTE[0]


@dataclass(frozen=True, eq=False)
class ScoredSeries:
    """A series and what a detector says of it.

    Attributes:
        values: (L, D), data units; NaN where nothing was measured.
        channels: Name of each of the D columns.
        anomaly_score: (L,), higher is more anomalous; NaN where there is none.
        threshold: Rows above it are anomalies.
        score_name: Name of the score, with its unit if it has one.
        found: Rows [start, end) of each event found.
        true: Rows [start, end) of each true anomaly; None where they are unknown.
        train: Rows [start, end) that the model was fitted to.
        times: (L,), seconds or datetime64; None for row numbers.
    """

    values: Floats
    channels: Sequence[str]
    anomaly_score: Floats
    threshold: float
    score_name: str
    found: Sequence[Span]
    true: Sequence[Span] | None = None
    train: Span | None = None
    times: NDArray[Any] | None = None

    @property
    def x(self) -> NDArray[Any]:
        """Place of each row on the time axis."""
        return np.arange(len(self.values)) if self.times is None else self.times

    @property
    def x_label(self) -> str:
        """What the time axis shows."""
        if self.times is None:
            return "row"
        return "" if np.issubdtype(self.times.dtype, np.datetime64) else "time [s]"


def plot_series(series: ScoredSeries) -> Figure:
    """Draw every channel, the anomaly score with its threshold, and the events, over time.

    True anomalies are shaded in all panels. The axis of the score holds twenty interquartile
    ranges; how many rows lie beyond is said. Of more than eight channels, eight are shown.

    Args:
        series: What to draw.
    """
    shown = _shown_channels(series.values)
    figure, axes = make_stack([1.3] * len(shown) + [1.5, 0.55], width=11.0)
    for ax, channel in zip(axes, shown, strict=False):
        ax.plot(series.x, series.values[:, channel], color="black", linewidth=0.7)
        set_titles(ax, series.channels[channel])
        _shade(ax, series)
    _draw_score(axes[-2], series, (0, len(series.values)))
    _shade(axes[-2], series)
    _draw_lanes(axes[-1], series)
    axes[-1].set(xlabel=series.x_label, xlim=(series.x[0], series.x[-1]))
    if not series.x_label:
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_locator(locator)
        form = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_formatter(form)
    if len(shown) < len(series.channels):
        head(figure, f"{len(shown)} of {len(series.channels)} channels, those that vary most")
    legend_below(figure, axes)
    return figure


def plot_close_ups(series: ScoredSeries) -> Figure:
    """Draw the surroundings of true anomalies, or of found events where none are known.

    Each gets a panel of its first channel and one of the score below it, four times as long as
    the anomaly but at least 200 rows. Of more than six, six are shown, evenly spaced.

    Args:
        series: What to draw; it has at least one anomaly or event.
    """
    spans = series.true or series.found
    picks = np.linspace(0, len(spans) - 1, min(_MAX_CLOSE_UPS, len(spans))).round().astype(int)
    by_row = replace(series, times=None)
    columns = min(3, len(picks))
    figure, axes = make_panels(2 * len(picks), columns, (11.0 / columns, 1.5))
    for i, pick in enumerate(picks):
        above, below = _pair(axes, i, columns, len(picks))
        span = _surroundings(spans[pick], len(series.values))
        rows = slice(*span)
        above.plot(by_row.x[rows], series.values[rows, 0], color="black", linewidth=0.8)
        set_titles(above, series.channels[0], _when(series, spans[pick][0]))
        _draw_score(below, by_row, span, reach=math.inf)
        for ax in (above, below):
            _shade(ax, by_row)
            ax.set_xlim(span[0], span[1] - 1)
            ax.locator_params(nbins=4)
        below.set_xlabel("row")
    if len(picks) < len(spans):
        head(figure, f"{len(picks)} of {len(spans)}, evenly spaced")
    legend_below(figure, axes)
    return figure


def _when(series: ScoredSeries, row: int) -> str:
    """Return the time of a row in words."""
    if series.times is None:
        return f"from row {row:,}"
    return f"from {str(series.x[row]).replace('T', ' ')[:16]}{series.x_label[5:6] and ' s'}"


def _shown_channels(values: Floats) -> list[int]:
    """Return the channels to draw: all, or those with the most movement for their range."""
    if values.shape[1] <= _MAX_CHANNELS:
        return list(range(values.shape[1]))
    steps = np.nanstd(np.diff(values, axis=0), axis=0)
    return sorted(np.argsort(-steps / (np.nanstd(values, axis=0) + 1e-12))[:_MAX_CHANNELS])


def _draw_score(ax: Axes, series: ScoredSeries, span: Span, reach: float = _REACH) -> None:
    """Draw the score of some rows; the axis holds so many interquartile ranges of them."""
    rows = slice(*span)
    score = series.anomaly_score[rows]
    known = score[np.isfinite(score)]
    ax.plot(series.x[rows], score, color=PALETTE[2], linewidth=0.8, label="anomaly score")
    ax.axhline(series.threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    limits = _score_limits(known, series.threshold, reach)
    ax.set_ylim(limits)
    note = say_off_axis(outside(known, limits), "rows")
    set_titles(ax, f"anomaly score: {plain(series.score_name)}", note)


def _score_limits(known: Floats, threshold: float, reach: float) -> tuple[float, float]:
    if np.isinf(reach):
        low, high = np.append(known, threshold).min(), np.append(known, threshold).max()
    else:
        low, high = robust_range(np.append(known, threshold), known, reach)
    low, high = min(low, threshold), max(high, threshold)
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _shade(ax: Axes, series: ScoredSeries) -> None:
    """Shade what trained and what is anomalous, without changing the limits."""
    if series.train is not None:
        start, end = _ends(series, series.train)
        ax.axvspan(start, end, color=NEUTRAL, alpha=0.12, linewidth=0, label="trained on")
    for span in series.true or ():
        start, end = _ends(series, span)
        ax.axvspan(start, end, color=_TRUE, alpha=0.25, linewidth=0.5, label="true anomaly")


def _draw_lanes(ax: Axes, series: ScoredSeries) -> None:
    """Draw true anomalies above found events, each as a bar that is never too thin to be seen."""
    lanes = [("found", series.found, _FOUND)]
    if series.true is not None:
        lanes.append(("true", series.true, _TRUE))
    for y, (_, spans, color) in enumerate(lanes):
        for span in spans:
            start, end = _ends(series, span)
            ax.fill_between([start, end], y - 0.32, y + 0.32, color=color, linewidth=1.5)
    ax.set_yticks(range(len(lanes)), [name for name, _, _ in lanes])
    ax.set_ylim(-0.6, len(lanes) - 0.4)
    ax.grid(visible=False)


def _ends(series: ScoredSeries, span: Span) -> tuple[Any, Any]:
    """Return a span's first and last place on the time axis."""
    return series.x[span[0]], series.x[min(span[1], len(series.values)) - 1]


def _surroundings(span: Span, length: int) -> Span:
    start, end = span
    reach = max(100, 2 * (end - start)) - (end - start) // 2
    return max(0, start - reach), min(length, end + reach)


def _pair(axes: Sequence[Axes], i: int, columns: int, count: int) -> tuple[Axes, Axes]:
    """Return the panels of the i-th close-up: one in a row, the other right below it."""
    row, column = divmod(i, columns)
    in_row = min(columns, count - row * columns)
    first = 2 * row * columns + column
    return axes[first], axes[first + in_row]

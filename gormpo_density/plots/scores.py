"""Score histograms, and whether calibrated false-alarm rates come true."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

from gormpo_density.arrays import Data
from gormpo_density.calibration import Calibration
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    head,
    legend_below,
    make_panels,
    outside,
    plain,
    robust_range,
    set_titles,
    spread,
    to_scores,
)

_MAX_PANELS = 12
_FAR = 0.9
_COLUMNS = 4


def plot_score_histograms(
    scores: Mapping[str, Data],
    threshold: float | None = None,
    xlabel: str = "log p(x) [nats]",
    label: str = "out of distribution",
) -> Figure:
    """Draw the scores of each out-of-distribution set over those of the normal set.

    The axis reaches ten interquartile ranges of the normal scores to either side; how many rows
    lie beyond it is said. Sets with over 90 % of their rows beyond it get no panel (but for a
    lone one); of more than twelve others, twelve are shown, evenly spaced by median.

    Args:
        scores: Scores (n,) by name of the set; the first set is the normal one.
        threshold: Rows below it are anomalies.
        xlabel: Name and unit of the score.
        label: What the legend calls the sets after the first.

    Raises:
        DataError: A set is empty or has a score that is not finite.
    """
    arrays = {name: to_scores(values, name) for name, values in scores.items()}
    normal, *others = arrays
    limits = robust_range(np.concatenate(list(arrays.values())), arrays[normal])
    shown, note = _select(others, arrays, limits)
    panels = shown or [normal]
    figure, axes = make_panels(len(panels), _COLUMNS, (2.8, 2.3) if shown[1:] else (6.0, 3.4))
    for ax, name in zip(axes, panels, strict=True):
        _draw_histogram(ax, arrays[normal], limits, PALETTE[0], normal, filled=True)
        if name != normal:
            _draw_histogram(ax, arrays[name], limits, PALETTE[1], label)
        if threshold is not None:
            text = f"threshold: {threshold:.4g}"
            ax.axvline(threshold, color="black", linestyle="--", linewidth=1, label=text)
        set_titles(ax, name)
        _point_off_axis(ax, arrays[name], limits)
        ax.set_xlim(limits)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in axes[-_COLUMNS:]:
        ax.set_xlabel(plain(xlabel))
    for ax in axes[::_COLUMNS]:
        ax.set_ylabel("rows in a bin")
    head(figure, note)
    legend_below(figure, axes)
    return figure


def _select(
    names: Sequence[str], arrays: Mapping[str, Floats], limits: tuple[float, float]
) -> tuple[list[str], str]:
    """Return the names that get a panel, by falling median, and a note if not all do."""
    ordered = sorted(names, key=lambda name: -np.median(arrays[name]))
    near = [name for name in ordered if outside(arrays[name], limits).mean() <= _FAR]
    shown = spread(near or ordered[:1], _MAX_PANELS)
    notes = []
    if len(shown) < len(near):
        notes.append(f"{len(shown)} of {len(near)} sets, evenly spaced by rank of median")
    if len(near) < len(names) > 1:
        notes.append(f"{len(names) - len(near)} more lie almost wholly off the axis")
    return shown, "; ".join(notes)


def _point_off_axis(ax: Axes, values: Floats, limits: tuple[float, float]) -> None:
    """Say at either end of the axis how many rows lie beyond it."""
    below, above = (values < limits[0]).sum(), (values > limits[1]).sum()
    style: dict[str, Any] = {"va": "top", "fontsize": 8, "transform": ax.transAxes}
    if below:
        ax.text(0.02, 0.97, f"← {below:,} of {len(values):,} rows", ha="left", **style)
    if above:
        ax.text(0.98, 0.97, f"{above:,} of {len(values):,} rows →", ha="right", **style)


def _draw_histogram(
    ax: Axes,
    values: Floats,
    limits: tuple[float, float],
    color: str,
    label: str,
    filled: bool = False,
) -> None:
    weights = np.full(len(values), 1 / len(values))
    heights, edges = np.histogram(values, bins=50, range=limits, weights=weights)
    alpha = 0.45 if filled else 1.0
    ax.stairs(heights, edges, color=color, fill=filled, alpha=alpha, label=plain(label))


def plot_calibration(calibration: Calibration, scores: Data) -> Figure:
    """Draw the realised against the nominal false-alarm rate of normal test rows.

    For n calibration and m test rows, all exchangeable, the number of alarms is beta-binomial;
    the band holds the central 95 % of the beta distribution with its mean and variance, which is
    Beta(k, n + 1 - k) for endless test rows. Rows of one episode are not exchangeable, so a
    curve can leave the band though nothing is wrong.

    Args:
        calibration: What is judged; its alpha is marked.
        scores: Scores (m,) of normal rows that calibrated nothing.

    Raises:
        DataError: There are no scores, or one is not finite.
    """
    tested = to_scores(scores, "test")
    p_values = calibration.p_value(torch.from_numpy(tested)).numpy()
    n, m = len(calibration.scores), len(tested)
    figure, axes = make_panels(2, 2, (3.9, 3.6))
    for ax, end in zip(axes, (1.0, min(1.0, 2.5 * calibration.alpha)), strict=True):
        nominal = np.linspace(0, end, 201)
        realised = (p_values[:, None] <= nominal).mean(axis=0)
        ax.fill_between(
            nominal,
            *_band(nominal, n, m),
            color=NEUTRAL,
            alpha=0.2,
            linewidth=0,
            label="95 % band, exchangeable rows",
        )
        ax.plot([0, end], [0, end], color=NEUTRAL, linestyle=":", label="as promised")
        ax.plot(nominal, realised, color=PALETTE[0], label="realised")
        ax.axvline(
            calibration.alpha,
            color="black",
            linestyle="--",
            linewidth=1,
            label=f"alpha = {calibration.alpha:g}",
        )
        ax.set(xlabel="nominal false-alarm rate", xlim=(0, end), ylim=(0, None))
    axes[0].set_ylabel("realised false-alarm rate")
    set_titles(axes[0], "all rates")
    set_titles(axes[1], "around alpha")
    legend_below(figure, axes)
    return figure


def _band(nominal: Floats, n: int, m: int) -> tuple[Floats, Floats]:
    size = m * (n + 2) / (m + n + 1) - 1
    rate = np.clip(nominal, 1e-9, 1 - 1e-9)
    low, high = stats.beta(rate * size, (1 - rate) * size).interval(0.95)
    return np.asarray(low), np.asarray(high)

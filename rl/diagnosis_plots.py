"""Figures of a diagnosis: errors that compound, and what penalties say of them."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    legend_below,
    make_panels,
    plain,
    robust_range,
    set_titles,
)
from gormpo_density.report import format_value
from rl.error_tracking import StepErrors
from rl.model_error import ModelErrors

_COLUMNS = 3
_PALE = "#bbbbbb"
_POINTS: dict[str, Any] = {"s": 6, "linewidths": 0, "rasterized": True}
_BAND: dict[str, Any] = {"color": PALETTE[0], "alpha": 0.2, "linewidth": 0}
_PLACES = (np.arange(20) + 0.5) / 20  # middles of twenty groups of equal size


def plot_errors_by_step(table: Sequence[StepErrors]) -> Figure:
    """Draw the median error of a step, and that of all steps so far, against the step.

    Args:
        table: Rows of each policy, together.
    """
    figure, axes = make_panels(2, 2, (4.2, 3.2))
    titles = {"error": "error of the step alone", "drift": "error of all steps so far"}
    for ax, (column, title) in zip(axes, titles.items(), strict=True):
        for color, (policy, rows) in zip(
            PALETTE, groupby(table, lambda row: row.policy), strict=False
        ):
            points = [(row.step, getattr(row, column)) for row in rows]
            ax.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3)
            ax.lines[-1].set_label(plain(policy))
        ax.set_xlabel("step of the rollout")
        _scale_by_factors(ax, (1, 2, 3, 5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        set_titles(ax, title)
    axes[0].set_ylabel("median, std of the data")
    legend_below(figure, axes)
    return figure


def plot_tracking(errors: ModelErrors, correlations: Mapping[str, float]) -> Figure:
    """Draw the true error of rows that are ordered by a penalty, one panel each.

    Drawn are twenty groups of equal size; among equal penalties the order is random.

    Args:
        errors: What was measured.
        correlations: Spearman's rho of each penalty to draw.
    """
    figure, axes = make_panels(len(correlations), _COLUMNS, (3.4, 2.7))
    shuffled = errors.select(np.random.default_rng(0).permutation(len(errors)))
    ideal = _groups(shuffled.error, shuffled.error)[1]
    for ax, (name, rho) in zip(axes, correlations.items(), strict=True):
        low, middle, high = _groups(shuffled.error, shuffled.penalties[name])
        ax.fill_between(_PLACES, low, high, label="middle half", **_BAND)
        ax.plot(_PLACES, middle, color=PALETTE[0], marker="o", markersize=3, label="median")
        ax.plot(_PLACES, ideal, color=NEUTRAL, linestyle="--", linewidth=1, label="perfect order")
        ax.set(xlim=(0, 1), ylim=(ideal[0] / 2, 3 * ideal[-1]))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        _scale_by_factors(ax, (1, 2, 5))
        set_titles(ax, name, f"rho {format_value(rho)}")
    for ax in axes[::_COLUMNS]:
        ax.set_ylabel("true error, std of the data")
    for ax in axes[-_COLUMNS:]:
        ax.set_xlabel("rows, least penalised first")
    legend_below(figure, axes)
    return figure


def plot_embedding(points: Mapping[str, Floats]) -> Figure:
    """Scatter the points of an embedding, each set over the first one.

    Args:
        points: (n, 2) by name, the data's first.
    """
    reference, *names = points
    limits = [robust_range(axis, reach=math.inf) for axis in np.concatenate([*points.values()]).T]
    figure, axes = make_panels(len(names), _COLUMNS, (4.0, 3.6))
    for ax, color, name in zip(axes, PALETTE, names, strict=False):
        for label, shade in ((reference, _PALE), (name, color)):
            ax.scatter(*points[label].T, color=shade, **_POINTS)
            ax.scatter([], [], color=shade, label=plain(label))
        ax.set(xticks=[], yticks=[], xlim=limits[0], ylim=limits[1])
        set_titles(ax, name)
    legend_below(figure, axes)
    return figure


def _groups(error: Floats, penalty: Floats) -> Floats:
    """Return quartiles of the error (3, groups) in groups of rows with ever larger penalties."""
    groups = np.array_split(error[np.argsort(penalty, kind="stable")], len(_PLACES))
    return np.stack([np.percentile(group, [25, 50, 75]) for group in groups], axis=1)


def _scale_by_factors(ax: Axes, steps: Sequence[int]) -> None:
    """Make the y axis logarithmic, with these steps of each decade written out."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())

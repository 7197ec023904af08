"""Figures of a MOPO run: returns, values, the penalty, the dynamics, the states that were visited.

Every function returns a matplotlib `Figure` that belongs to the caller, as `gormpo_density.plots`
does. Curves are drawn against gradient updates; what is NaN was not measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from gormpo_density.metrics import Interval
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    head,
    legend_below,
    legend_beside,
    make_panels,
    outside,
    plain,
    robust_range,
    say_off_axis,
    set_titles,
)

Curves = Mapping[str, Sequence[float]]

_WIDE = (7.0, 3.6)
_MAX_BARS = 24
_MAX_POINTS = 3000
_PALE = "#bbbbbb"
_POINTS: dict[str, Any] = {"s": 4, "linewidths": 0, "rasterized": True}


@dataclass(frozen=True)
class Panel:
    """How a column of the history is drawn.

    Attributes:
        title: What it is.
        unit: Of the values.
        is_share: Drawn in percent.
        level: Value to compare it with, and what that is.
    """

    title: str
    unit: str = ""
    is_share: bool = False
    level: tuple[float, str] | None = None


def plot_returns(
    history: Curves, references: Mapping[str, float], final: Mapping[str, Interval]
) -> Figure:
    """Draw the return of the policy as it learns, and of the reported one at the end.

    Args:
        history: Columns updates, return_det and return_stoch.
        references: Returns to compare with, by name; those that are NaN are left out.
        final: Mean return with its interval by column, of the episodes at the end.
    """
    figure, (ax,) = make_panels(1, 1, _WIDE)
    names = {"return_det": "deterministic", "return_stoch": "stochastic"}
    end = max(history.get("updates", ()), default=1.0)
    for place, (column, name) in enumerate(names.items()):
        color = PALETTE[place]
        updates, values = _measured(history, column)
        ax.plot(updates, values, color=color, marker="o", markersize=3, label=name)
        if column in final:
            _draw_final(ax, end * (1.03 + 0.03 * place), final[column], color, name)
    for line, (name, value) in zip(("--", ":", "-."), references.items(), strict=False):
        if math.isfinite(value):
            label = f"{plain(name)}: {value:,.0f}"
            ax.axhline(value, color=NEUTRAL, linestyle=line, linewidth=1.2, label=label)
    ax.set(ylabel="return of an episode", xlim=(0, 1.09 * end))
    _label_updates(ax)
    legend_beside(figure)
    return figure


def _draw_final(ax: Axes, x: float, value: Interval, color: str, name: str) -> None:
    mean, low, high = value
    error = [[mean - low], [high - mean]]
    label = f"{name}, at the end,\nwith 95 % interval"
    ax.errorbar(x, mean, error, color=color, fmt="D", markersize=4, capsize=3, label=label)


def plot_values(history: Curves, data_return: float, alarm: float) -> Figure:
    """Draw mean Q on data rows against those rows' discounted returns.

    Args:
        history: Columns updates and q_data.
        data_return: Mean discounted return of the rows, under the data's own policy.
        alarm: Q above it is worth a warning.
    """
    figure, (ax,) = make_panels(1, 1, _WIDE)
    updates, values = _measured(history, "q_data")
    ax.plot(updates, values, color=PALETTE[0], marker="o", markersize=3, label="mean Q")
    ax.axhline(data_return, color=NEUTRAL, linestyle="--", label="mean discounted return")
    ax.axhline(alarm, color=PALETTE[1], linewidth=1, label="alarm: over-estimation")
    low, high = robust_range(np.append(values, [data_return, alarm]))
    high = max(high, alarm + 0.5 * (alarm - data_return))
    ax.axhspan(alarm, high, color=PALETTE[1], alpha=0.08, linewidth=0)
    ax.set(ylabel="reward units, on data rows", xlim=(0, None), ylim=(low, high))
    set_titles(ax, "", say_off_axis(outside(values, (low, high)), "points"))
    _label_updates(ax)
    legend_below(figure, [ax])
    return figure


def plot_curves(history: Curves, panels: Mapping[str, Panel]) -> Figure:
    """Draw columns of the history, one panel each.

    Args:
        history: Column updates, and those of `panels`; columns without a value are left out.
        panels: How each column is drawn.
    """
    shown = [column for column in panels if len(_measured(history, column)[0])]
    size = (3.7, 2.8) if len(shown) > 1 else _WIDE
    figure, axes = make_panels(max(1, len(shown)), 3, size)
    for ax, column in zip(axes, shown, strict=False):
        _draw_curve(ax, *_measured(history, column), panels[column])
    if not shown:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "nothing was measured", ha="center", color=NEUTRAL)
    legend_below(figure, axes)
    return figure


def _draw_curve(ax: Axes, updates: Floats, values: Floats, panel: Panel) -> None:
    marker = "o" if len(updates) <= 30 else ""
    ax.plot(updates, values, color=PALETTE[0], marker=marker, markersize=3)
    levels = [] if panel.level is None else [panel.level[0]]
    if panel.level is not None:
        ax.axhline(levels[0], color=NEUTRAL, linestyle="--", linewidth=1, label=panel.level[1])
    limits = robust_range(np.append(values, levels))
    ax.set(ylabel=panel.unit, xlim=(0, None), ylim=limits)
    if panel.is_share:
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_ylim(0, limits[1])
    set_titles(ax, panel.title, say_off_axis(outside(values, limits), "points"))
    _label_updates(ax)


def plot_dynamics(curves: Curves, r2: Mapping[str, float]) -> Figure:
    """Draw the losses of the ensemble by epoch, and how well it predicts each dimension.

    Args:
        curves: Columns train_loss and val_loss; empty for an ensemble that was not trained here.
        r2: R^2 of one-step predictions on held-out rows, by name of the dimension. Of more than
            24, the lowest are shown.
    """
    figure, axes = make_panels(2 if curves else 1, 2, (4.2, 3.4 + 0.08 * min(len(r2), _MAX_BARS)))
    if curves:
        for color, split in zip(PALETTE, ("train", "val"), strict=False):
            loss = curves[f"{split}_loss"]
            axes[0].plot(range(1, len(loss) + 1), loss, color=color, marker="o", markersize=3)
            axes[0].lines[-1].set_label(split)
        axes[0].set(xlabel="epoch", ylabel="nats, standardised targets")
        axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        set_titles(axes[0], "loss of the dynamics")
    shown = sorted(r2, key=lambda name: r2[name])[:_MAX_BARS]
    names = [name for name in r2 if name in shown]
    _draw_bars(axes[-1], [plain(name) for name in names], np.array([r2[n] for n in names]))
    if len(shown) < len(r2):
        head(figure, f"the {len(shown)} of {len(r2)} dimensions with the lowest R²")
    legend_below(figure, axes)
    return figure


def _draw_bars(ax: Axes, names: Sequence[str], values: Floats) -> None:
    ax.barh(range(len(names)), values, color=PALETTE[0], height=0.7)
    for place, value in enumerate(values):
        ax.text(max(value, 0.0) + 0.01, place, f"{value:.3f}", va="center", fontsize=7)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlim=(max(-0.5, min(0.0, values.min())), 1.12), xlabel="R², held-out rows")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    set_titles(ax, "one-step prediction of each change")


def plot_states(data: Floats, others: Mapping[str, Floats]) -> Figure:
    """Scatter states on the two principal components of the data, each set over the data.

    The components are those of the standardised data; the axes are limited by its spread.

    Args:
        data: States (n, O) of the data.
        others: Further states (m, O) by name. At most 3,000 rows of each set are drawn.
    """
    if data.shape[1] == 1:  # a second axis without extent
        data = _widened(data)
        others = {name: _widened(rows) for name, rows in others.items()}
    points, labels = _projected(data, others)
    reference = points.pop("data")
    pooled = np.concatenate([reference, *points.values()])
    limits = [robust_range(pooled[:, axis], reference[:, axis], 3.0) for axis in (0, 1)]
    figure, axes = make_panels(max(1, len(points)), 3, (4.0, 3.6))
    for ax in axes:
        ax.scatter(*reference.T, color=_PALE, alpha=0.6, **_POINTS)
        ax.scatter([], [], color=_PALE, label="data")
        ax.set(xlim=limits[0], ylim=limits[1], xlabel=labels[0])
    for ax, color, (name, rows) in zip(axes, PALETTE, points.items(), strict=False):
        ax.scatter(*rows.T, color=color, alpha=0.5, **_POINTS)
        ax.scatter([], [], color=color, label=plain(name))
        far = outside(rows[:, 0], limits[0]) | outside(rows[:, 1], limits[1])
        set_titles(ax, name, say_off_axis(far, "states"))
    axes[0].set_ylabel(labels[1])
    legend_below(figure, axes)
    return figure


def _projected(
    data: Floats, others: Mapping[str, Floats]
) -> tuple[dict[str, Floats], tuple[str, str]]:
    """Return thinned points (n, 2) by name, and the names of the two axes."""
    mean, std = data.mean(0), data.std(0)
    scale = np.where(std > 0, std, 1.0)
    standardised = (data - mean) / scale
    _, singular, components = np.linalg.svd(standardised, full_matrices=False)
    shares = singular**2 / np.square(singular).sum()
    points = {
        name: _thinned((rows - mean) / scale @ components[:2].T)
        for name, rows in {"data": data, **others}.items()
    }
    numbered = enumerate(shares[:2], 1)
    first, second = (f"component {i} ({share:.0%} of variance)" for i, share in numbered)
    return points, (first, second)


def _widened(rows: Floats) -> Floats:
    return np.pad(rows, ((0, 0), (0, 1)))


def _thinned(rows: Floats) -> Floats:
    return rows[:: max(1, math.ceil(len(rows) / _MAX_POINTS))]


def _measured(history: Curves, column: str) -> tuple[Floats, Floats]:
    """Return the updates at which a column was measured, and its values there."""
    values = np.asarray(history.get(column, ()), dtype=np.float64)
    updates = np.asarray(history.get("updates", ()), dtype=np.float64)[: len(values)]
    there: NDArray[np.bool_] = np.isfinite(values)
    return updates[there], values[there]


def _label_updates(ax: Axes) -> None:
    ax.set_xlabel("gradient updates")
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))

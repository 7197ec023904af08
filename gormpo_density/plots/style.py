"""The look that all figures share: colours, panels, axis ranges, legends, files."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density.arrays import Data
from gormpo_density.atomic import replacing
from gormpo_density.errors import DataError

Floats = NDArray[np.float64]

#: Okabe and Ito's colours, told apart by the colour-blind; their yellow is too pale for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
NEUTRAL = "#767676"
DPI = 150


def make_panels(
    count: int, columns: int, panel_size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` styled panels in rows of at most `columns`.

    Args:
        count: Number of panels, at least one.
        columns: Most panels in a row.
        panel_size: Width and height of one panel in inches.
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    size = (columns * panel_size[0], rows * panel_size[1])
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for ax in axes:
        _style(ax)
    return figure, axes


def make_stack(heights: Sequence[float], width: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of styled panels above each other, which share their x axis.

    Args:
        heights: Height of each panel in inches, from the top.
        width: Width of all in inches.
    """
    figure = Figure(figsize=(width, sum(heights) + 0.5), layout="constrained", dpi=DPI)
    grid = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights)
    )
    axes = list(grid[:, 0])
    for ax in axes:
        _style(ax)
    return figure, axes


def _style(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def set_titles(ax: Axes, title: str, note: str = "") -> None:
    """Write a title above the left and a small note above the right end of a panel."""
    ax.set_title(plain(title), loc="left", fontsize=10, fontweight="bold")
    ax.set_title(plain(note), loc="right", fontsize=8, color=NEUTRAL)


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels under them, each label once."""
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside lower center",
            ncols=max(1, min(len(found), int(figure.get_figwidth() / 1.5))),
            frameon=False,
            fontsize=9,
        )


def legend_beside(figure: Figure, title: str | None = None) -> None:
    """Put the legend of a lone panel to its right, off the data."""
    legend = figure.legend(title=title, loc="outside right center", frameon=False, fontsize=9)
    legend.set_alignment("left")


def plain(text: str, limit: int = 40) -> str:
    """Return a user's text as a label: its end if it is long, and $ is no mathematics."""
    short = text if len(text) <= limit else f"…{text[-limit:]}"
    return short.replace("$", r"\$")


def to_floats(data: Data) -> Floats:
    """Return data as a float64 array on the host."""
    return np.asarray(torch.as_tensor(data).detach().cpu(), dtype=np.float64)


def to_scores(data: Data, name: str) -> Floats:
    """Return scores as a float64 array (n,).

    Raises:
        DataError: There are none, or one is not finite.
    """
    scores = to_floats(data).ravel()
    if not len(scores) or not np.isfinite(scores).all():
        raise DataError(f"scores of {name!r} are empty or not all finite")
    return scores


def robust_range(
    values: Floats, reference: Floats | None = None, reach: float = 10.0
) -> tuple[float, float]:
    """Return axis limits around `values` that far-out ones do not stretch.

    The limits hold all finite values at most `reach` interquartile ranges from the quartiles of
    the reference, which are the values themselves when absent.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    first, third = np.percentile(finite if reference is None else reference, [25, 75])
    spread = (third - first) or 0.1 * abs(third) or 1.0
    inside = finite[(finite >= first - reach * spread) & (finite <= third + reach * spread)]
    low, high = (inside.min(), inside.max()) if len(inside) else (first, third)
    margin = 0.05 * (high - low) or 0.5 * spread
    return float(low - margin), float(high + margin)


def outside(values: Floats, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Tell which values lie off an axis of these limits."""
    return (values < limits[0]) | (values > limits[1])


def say_off_axis(is_off: NDArray[np.bool_], unit: str) -> str:
    """Return "3 of 100 rows off the axis", or nothing when there are none."""
    return f"{is_off.sum():,} of {is_off.size:,} {unit} off the axis" if is_off.any() else ""


def spread(ordered: Sequence[str], limit: int) -> list[str]:
    """Return at most `limit` of the ordered names, evenly spaced, both ends among them."""
    picks = np.linspace(0, len(ordered) - 1, min(limit, len(ordered))).round().astype(int)
    return [ordered[pick] for pick in picks]


def head(figure: Figure, note: str) -> None:
    """Write a note above all panels, if there is one."""
    if note:
        figure.suptitle(note, fontsize=9, color=NEUTRAL)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the ending of the path chooses the format."""
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:] or "png")

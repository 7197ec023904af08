"""Windows of several sensors: examples of every kind, what a model makes of and from them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gormpo_density.plots.style import (
    PALETTE,
    Floats,
    head,
    legend_below,
    make_panels,
    plain,
    set_titles,
)

_MAX_CHANNELS = 6
_MAX_KINDS = 6
_SAMPLES = 4
_SORTS = ("originals", "synthetic")


def plot_samples(windows: Mapping[str, Floats], channels: Sequence[str]) -> Figure:
    """Draw a few windows of each kind, a row of panels for every channel.

    Args:
        windows: (n, T, D) by kind, such as "normal" and the types of anomaly; four evenly spaced
            ones of each are drawn, of at most six kinds.
        channels: Name of each of the D columns; at most six are drawn.
    """
    kinds = list(windows)[:_MAX_KINDS]
    figure, grid = _grid(kinds, len(windows), channels)
    for d, row in enumerate(grid):
        for ax, kind in zip(row, kinds, strict=True):
            n = len(windows[kind])
            picks = np.linspace(0, n - 1, min(_SAMPLES, n)).round().astype(int)
            for color, window in zip(PALETTE, windows[kind][picks], strict=False):
                ax.plot(window[:, d], color=color, linewidth=0.9)
        _share_y(row)
    return figure


def plot_window_reconstructions(
    pairs: Mapping[str, tuple[Floats, Floats]], channels: Sequence[str]
) -> Figure:
    """Draw one window of each kind and its reconstruction, a row of panels for every channel.

    Args:
        pairs: A window and its reconstruction, both (T, D), by kind; at most six are drawn.
        channels: Name of each of the D columns; at most six are drawn.
    """
    kinds = list(pairs)[:_MAX_KINDS]
    figure, grid = _grid(kinds, len(pairs), channels)
    for d, row in enumerate(grid):
        for ax, kind in zip(row, kinds, strict=True):
            window, back = pairs[kind]
            ax.plot(window[:, d], color="black", linewidth=1, label="measured")
            ax.plot(back[:, d], color=PALETTE[1], linewidth=1.2, label="reconstructed")
        _share_y(row)
    legend_below(figure, grid[0])
    return figure


def plot_synthetic(pairs: Mapping[str, tuple[Floats, Floats]], channels: Sequence[str]) -> Figure:
    """Draw a few series of each class and below them synthetic ones, in the same colours.

    Args:
        pairs: Originals and synthetic series, both (n, T, D), by class; of at most six classes
            the first four of each are drawn. There may be no synthetic ones of a class.
        channels: Name of each of the D columns; at most three are drawn.
    """
    kinds, shown = list(pairs)[:_MAX_KINDS], channels[: _MAX_CHANNELS // 2]
    names = [f"{name}, {sort}" for name in shown for sort in _SORTS]
    figure, grid = _grid(kinds, len(pairs), names if len(channels) > 1 else _SORTS)
    for d in range(len(shown)):
        both = grid[2 * d : 2 * d + 2]
        for sort, row in enumerate(both):
            for ax, kind in zip(row, kinds, strict=True):
                for color, window in zip(PALETTE, pairs[kind][sort][:_SAMPLES], strict=False):
                    ax.plot(window[:, d], color=color, linewidth=0.9)
        _share_y([*both[0], *both[1]])
        for row in both:
            row[0].tick_params(labelleft=True)
    if len(shown) < len(channels):
        head(figure, f"{len(shown)} of {len(channels)} channels")
    return figure


def _grid(
    kinds: Sequence[str], n_kinds: int, channels: Sequence[str]
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with a row of panels for each channel and a column for each kind."""
    rows, columns = min(_MAX_CHANNELS, len(channels)), len(kinds)
    width = min(3.0, 11.0 / columns) if columns > 1 else 5.0
    figure, axes = make_panels(rows * columns, columns, (width, 1.7 if rows > 1 else 2.3))
    grid = [axes[i * columns : (i + 1) * columns] for i in range(rows)]
    for ax, kind in zip(grid[0], kinds, strict=True):
        set_titles(ax, kind.replace("_", " "))
    for row, channel in zip(grid, channels, strict=False):
        row[0].set_ylabel(plain(channel, 24))
    for ax in grid[-1]:
        ax.set_xlabel("step")
    for ax in axes:
        ax.locator_params(nbins=5)
    notes = []
    if rows < len(channels):
        notes.append(f"{rows} of {len(channels)} channels")
    if columns < n_kinds:
        notes.append(f"{columns} of {n_kinds} kinds")
    head(figure, "; ".join(notes))
    return figure, grid


def _share_y(row: Sequence[Axes]) -> None:
    """Give the panels of a channel the same limits, so that kinds can be compared."""
    limits = [ax.get_ylim() for ax in row]
    for ax in row:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for ax in row[1:]:
        ax.tick_params(labelleft=False)

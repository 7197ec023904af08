"""Training curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    legend_below,
    make_panels,
    outside,
    robust_range,
    save_figure,
    say_off_axis,
    set_titles,
)

_SPLITS = {"train": PALETTE[0], "val": PALETTE[1], "test": PALETTE[2]}
_TITLES = {"recon": "reconstruction", "kl": "KL divergence"}


def plot_training_curves(
    history: Mapping[str, Sequence[float]],
    save_path: str | Path | None = None,
    *,
    ylabel: str = "nats, standardised data",
) -> Figure:
    """Draw every part of the loss against the epoch and mark the best validation epoch.

    Values far from all others, such as the first loss, are left off the axis, which is said.

    Args:
        history: What `fit` returns: train_loss, val_loss, test_loss, train_kl, ...; one panel for
            each part. Empty for a model that is not trained in epochs.
        save_path: Where to write the figure, if anywhere; the ending chooses the format.
        ylabel: Unit of the loss.
    """
    panels: dict[str, dict[str, Floats]] = {}
    for key, values in history.items():
        split, _, part = key.partition("_")
        if split in _SPLITS and len(values):
            panels.setdefault(part, {})[split] = np.asarray(values, dtype=np.float64)
    size = (3.7, 3.0) if len(panels) > 1 else (6.0, 3.2)
    figure, axes = make_panels(max(1, len(panels)), 3, size)
    for ax, (part, curves) in zip(axes, panels.items(), strict=False):
        _draw_part(ax, _TITLES.get(part, part), curves)
        _mark_best(ax, panels.get("loss", {}).get("val"))
    if panels:
        axes[0].set_ylabel(ylabel)
        legend_below(figure, axes)
    else:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no training epochs", ha="center", va="center", color=NEUTRAL)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def _draw_part(ax: Axes, title: str, curves: Mapping[str, Floats]) -> None:
    values = np.concatenate(list(curves.values()))
    limits = robust_range(values)
    longest = max(map(len, curves.values()))
    marker = "o" if longest <= 20 else ""
    for split, curve in curves.items():
        epochs = np.arange(1, len(curve) + 1)
        ax.plot(epochs, curve, color=_SPLITS[split], marker=marker, markersize=3, label=split)
    ax.set(xlabel="epoch", xlim=(0.5, longest + 0.5), ylim=limits)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    set_titles(ax, title, say_off_axis(outside(values, limits), "points"))


def _mark_best(ax: Axes, val_loss: Floats | None) -> None:
    if val_loss is None or not np.isfinite(val_loss).any():
        return
    best = 1 + int(np.nanargmin(val_loss))
    label = f"best on validation: epoch {best}"
    ax.axvline(best, color=NEUTRAL, linestyle="--", linewidth=1, zorder=1, label=label)

"""What thresholds flag, against the false-alarm rate they aim at."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    legend_below,
    make_panels,
    plain,
    set_titles,
)
from gormpo_density.threshold_sweep import OperatingPoint


def plot_thresholds(sweeps: Mapping[str, Sequence[OperatingPoint]]) -> Figure:
    """Draw false alarms and mean detection against the nominal rate, a line for each run.

    Args:
        sweeps: Operating points by name of the run. Detection is the mean over all sets; there is
            no panel for it where there are none.
    """
    has_sets = any(point.detection for points in sweeps.values() for point in points)
    figure, axes = make_panels(1 + has_sets, 2, (4.2, 3.2))
    for color, (name, points) in zip(cycle(PALETTE), sweeps.items(), strict=False):
        alphas = [point.alpha for point in points]
        lines = [[point.false_alarm_rate for point in points]]
        lines += [[float(np.mean([*p.detection.values()])) for p in points]] if has_sets else []
        for ax, line in zip(axes, lines, strict=True):
            ax.plot(alphas, line, "o-", color=color, markersize=4, label=plain(name))
    set_titles(axes[0], "test rows flagged")
    for ax in axes:
        ax.axline((0, 0), slope=1, color=NEUTRAL, linestyle=":", zorder=1, label="rate aimed at")
        ax.set(xlabel="false alarms aimed at", xlim=(0, None), ylim=(0, None))
        ax.set_xticks(sorted({point.alpha for points in sweeps.values() for point in points}))
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    if has_sets:
        set_titles(axes[1], "rows of OOD sets flagged, mean")
        axes[1].set_ylim(0, 1.03)
    legend_below(figure, axes)
    return figure

"""What the points of a sweep reach."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gormpo_density.metrics import Interval
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    legend_below,
    make_panels,
    outside,
    plain,
    robust_range,
    say_off_axis,
    set_titles,
)


def plot_sweep(
    scores: Mapping[str, Sequence[float]], means: Mapping[str, Interval], metric: str
) -> Figure:
    """Draw a line for each point: every seed's value, and their mean with its interval.

    Args:
        scores: Finite values of the seeds by point; a point may have none.
        means: Mean with interval by point, for those that have values.
        metric: Name of the values.
    """
    figure, (ax,) = make_panels(1, 1, (6.5, 1.3 + 0.32 * max(2, len(scores))))
    seeds = np.array([value for values in scores.values() for value in values], dtype=np.float64)
    ends = np.array([end for mean in means.values() for end in mean[1:] if np.isfinite(end)])
    # Far enough for a seed that collapsed, which matters; not for one that diverged.
    limits = robust_range(np.append(seeds, ends), seeds if len(seeds) else None, reach=100.0)
    for place, (label, values) in enumerate(scores.items()):
        ax.plot(values, [place] * len(values), "o", color=NEUTRAL, fillstyle="none", label="seed")
        if label in means:
            estimate, low, high = means[label]
            ax.plot([low, high], [place, place], color=PALETTE[0], label="95 % interval")
            ax.plot(estimate, place, "D", color=PALETTE[0], markersize=5, label="mean")
    ax.set_yticks(range(len(scores)), [plain(label, 60) for label in scores])
    ax.set(xlabel=plain(metric), xlim=limits, ylim=(len(scores) - 0.5, -0.5))
    off = [*outside(seeds, limits), *outside(ends, limits)]
    set_titles(ax, "", say_off_axis(np.array(off, dtype=bool), "values"))
    legend_below(figure, [ax])
    return figure

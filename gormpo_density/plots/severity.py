"""What scores are worth against how severe the anomalies are."""

from collections.abc import Mapping
from itertools import cycle

from matplotlib.figure import Figure

from gormpo_density.metrics import Interval
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    legend_below,
    make_panels,
    plain,
    set_titles,
)


def plot_severity(
    panels: Mapping[str, Mapping[str, Mapping[float, Interval]]], metric: str, chance: float
) -> Figure:
    """Draw a panel for each kind of anomaly and a line with its interval for each score.

    Args:
        panels: Mean with interval by severity, by name of the score, by kind of anomaly. An
            interval that is nan is not drawn.
        metric: Name of the values.
        chance: What a random score reaches.
    """
    figure, axes = make_panels(len(panels), 3, (4.0, 3.0))
    for ax, (kind, lines) in zip(axes, panels.items(), strict=True):
        set_titles(ax, kind)
        for color, (name, by_severity) in zip(cycle(PALETTE), lines.items(), strict=False):
            severities = sorted(by_severity)
            means, lows, highs = zip(*(by_severity[s] for s in severities), strict=True)
            ax.plot(severities, means, "o-", color=color, markersize=4, label=plain(name))
            ax.fill_between(severities, lows, highs, color=color, alpha=0.15, linewidth=0)
        ax.axhline(chance, color=NEUTRAL, linestyle=":", zorder=1, label="random score")
        ax.set(xlabel="severity", ylim=(min(chance, *ax.get_ylim()) - 0.02, 1.02))
    axes[0].set_ylabel(plain(metric))
    legend_below(figure, axes)
    return figure

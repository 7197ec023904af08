"""Accuracies of several ways to train, with their intervals."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gormpo_density.metrics import Interval
from gormpo_density.plots.style import NEUTRAL, PALETTE, legend_below, make_panels, plain


def plot_accuracies(arms: Mapping[str, Interval], floors: Mapping[str, float]) -> Figure:
    """Draw the accuracy of each arm with its interval, and those of simple classifiers as lines.

    Args:
        arms: Accuracy in [0, 1] by name, from the top.
        floors: Accuracy of what is simpler, by name.
    """
    figure, (ax,) = make_panels(1, 1, (7.0, 1.4 + 0.42 * len(arms)))
    for place, interval in enumerate(arms.values()):
        ends = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
        ax.errorbar(
            interval.estimate, place, xerr=ends, fmt="o", color=PALETTE[0], capsize=3, markersize=5
        )
    for color, (name, value) in zip((NEUTRAL, PALETTE[4]), floors.items(), strict=False):
        label = f"{plain(name)}: {value:.1%}"
        ax.axvline(value, color=color, linestyle="--", linewidth=1.2, label=label)
    ax.set_yticks(range(len(arms)), [_tick(*arm) for arm in arms.items()])
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("accuracy on test rows, 95 % interval")
    legend_below(figure, [ax])
    return figure


def _tick(name: str, interval: Interval) -> str:
    return f"{plain(name, 24)}  {interval.estimate:.1%}"

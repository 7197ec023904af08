"""How well scores detect: ROC and precision-recall curves, and detection by size of shift."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density.arrays import Data
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    head,
    legend_below,
    legend_beside,
    make_panels,
    plain,
    set_titles,
    spread,
    to_scores,
)

Labelled = tuple[NDArray[np.int64], Floats]
Metrics = Mapping[str, float]
Levels = Mapping[str, Metrics]

_SHIFT = re.compile(r"(obs|actclip|act|both|shift|gormpo)(\d+(?:\.\d+)?)")
_KINDS = {
    "obs": "observations",
    "act": "actions",
    "both": "observations and actions",
    "actclip": "clipped actions",
    "shift": "all features",
    "gormpo": "GORMPO's shift",
}
#: Sets without a size, as the axis names them.
_NAMED = {"perm": "permuted\nactions", "unif": "uniform\nactions"}
_RAW = _KINDS["gormpo"]  # in raw units: another axis than the others
#: Axis name and what a random score reaches, for each quantity drawn.
_QUANTITIES = {"roc_auc": ("AUROC", 0.5), "fpr95": ("FPR95", 0.95)}


def plot_roc(pairs: Mapping[str, tuple[Data, Data]]) -> Figure:
    """Draw ROC curves, anomalies being the positives, with their areas in the legend.

    Of more curves than there are colours, a selection evenly spaced by area is shown.

    Args:
        pairs: Scores of (normal rows, anomalies) by name.

    Raises:
        DataError: A set is empty or has a score that is not finite.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, ax = _draw_curves(pairs, lambda data: roc_curve(*data)[:2], roc_auc_score, "AUROC")
    ax.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", zorder=1, label="random: 0.500")
    ax.set(xlabel="false-positive rate", ylabel="true-positive rate")
    legend_beside(figure, "AUROC")
    return figure


def plot_pr(pairs: Mapping[str, tuple[Data, Data]]) -> Figure:
    """Draw precision-recall curves, anomalies being the positives, with average precisions.

    Of more curves than there are colours, a selection evenly spaced by precision is shown.

    Args:
        pairs: Scores of (normal rows, anomalies) by name.

    Raises:
        DataError: A set is empty or has a score that is not finite.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    def curve(data: Labelled) -> tuple[Floats, Floats]:
        precision, recall, _ = precision_recall_curve(*data)
        return recall, precision

    figure, ax = _draw_curves(pairs, curve, average_precision_score, "average precision")
    for line in ax.lines:
        line.set_drawstyle("steps-post")  # as average precision sums it
    for share in sorted({round(len(a) / (len(n) + len(a)), 3) for n, a in pairs.values()}):
        ax.axhline(share, color=NEUTRAL, linestyle=":", zorder=1, label=f"random: {share:.3f}")
    ax.set(xlabel="recall", ylabel="precision")
    legend_beside(figure, "average precision")
    return figure


def _draw_curves(
    pairs: Mapping[str, tuple[Data, Data]],
    curve: Callable[[Labelled], tuple[Floats, Floats]],
    area: Callable[..., float],
    area_name: str,
) -> tuple[Figure, Axes]:
    labelled = {name: _labelled(*pair, name) for name, pair in pairs.items()}
    areas = {name: area(*data) for name, data in labelled.items()}
    shown = spread(sorted(areas, key=lambda name: -areas[name]), len(PALETTE))
    figure, (ax,) = make_panels(1, 1, (5.8, 3.8))
    for color, name in zip(PALETTE, shown, strict=False):
        ax.plot(*curve(labelled[name]), color=color, label=plain(f"{name}: {areas[name]:.3f}"))
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if len(shown) < len(pairs):
        head(figure, f"{len(shown)} of {len(pairs)} sets, evenly spaced by rank of {area_name}")
    return figure, ax


def _labelled(normal: Data, anomaly: Data, name: str) -> Labelled:
    """Return labels (1 = anomaly) and anomaly scores, both (n + m,)."""
    scores = to_scores(normal, f"normal rows of {name}"), to_scores(anomaly, name)
    return np.repeat([0, 1], [len(s) for s in scores]), -np.concatenate(scores)


def plot_ood_levels(runs: Mapping[str, Levels]) -> Figure:
    """Draw AUROC and FPR95 against the size of the shift, and for the sets that have no size.

    One run gets a line for each kind of shift; several runs get a panel for each kind and a line
    for each run. GORMPO's shift, in raw units, always has a panel of its own.

    Args:
        runs: Metrics (roc_auc, fpr95) by level, by name of the run. A level is a shift such as
            "obs0.25" or "actclip1" (kind, and size in standard deviations) or any other set.
    """
    panels = _shift_panels(runs)
    levels = dict.fromkeys(level for run in runs.values() for level in run)
    others = [level for level in levels if not _SHIFT.fullmatch(level)]
    columns = len(panels) + bool(others)
    figure, axes = make_panels(2 * columns, columns, (min(4.5, 12 / columns), 2.4))
    for row, quantity in zip((axes[:columns], axes[columns:]), _QUANTITIES, strict=True):
        for ax, (title, lines) in zip(row, panels.items(), strict=False):
            set_titles(ax, title)
            _draw_shifts(ax, lines, quantity)
        if others:
            set_titles(row[-1], "other sets")
            _draw_others(row[-1], runs, others, quantity)
        _finish_row(row, quantity)
    for ax, title in zip(axes[columns:], panels, strict=False):
        ax.set_xlabel(f"shift [{'raw units' if title == _RAW else 'standard deviations'}]")
    legend_below(figure, axes)
    return figure


def _shift_panels(runs: Mapping[str, Levels]) -> dict[str, dict[str, dict[float, Metrics]]]:
    """Return the metrics by size of shift, by name of the line, by title of the panel."""
    curves: dict[str, dict[str, dict[float, Metrics]]] = {}
    for run, levels in runs.items():
        for level, metrics in levels.items():
            if shift := _SHIFT.fullmatch(level):
                kind, size = _KINDS[shift[1]], float(shift[2])
                curves.setdefault(kind, {}).setdefault(run, {})[size] = metrics
    if len(runs) > 1 or not curves:
        return {kind: {run: lines.get(run, {}) for run in runs} for kind, lines in curves.items()}
    lines = {kind: next(iter(by_run.values())) for kind, by_run in curves.items()}
    raw = {_RAW: {_RAW: lines.pop(_RAW)}} if _RAW in lines else {}
    return ({"shifted": lines} if lines else {}) | raw


def _draw_shifts(ax: Axes, lines: Mapping[str, Mapping[float, Metrics]], quantity: str) -> None:
    sizes = sorted({size for line in lines.values() for size in line})
    places = np.arange(len(sizes))
    for color, dodge, (name, line) in zip(
        cycle(PALETTE), _dodges(len(lines), 0.1), lines.items(), strict=False
    ):
        y = [line.get(size, {}).get(quantity, np.nan) for size in sizes]
        ax.plot(places + dodge, y, "o-", color=color, markersize=4, label=plain(name))
    ax.set_xticks(places, [f"{size:g}" for size in sizes])
    ax.set_xlim(-0.5, len(sizes) - 0.5)


def _draw_others(
    ax: Axes, runs: Mapping[str, Levels], names: Sequence[str], quantity: str
) -> None:
    colors = cycle(PALETTE if len(runs) > 1 else ["black"])  # a lone run's colours are kinds
    places = np.arange(len(names))
    for color, dodge, levels in zip(colors, _dodges(len(runs), 0.3), runs.values(), strict=False):
        y = [levels.get(name, {}).get(quantity, np.nan) for name in names]
        ax.plot(places + dodge, y, "D", color=color, markersize=5)
    labels = [_tick_label(name) for name in names]
    longest = max(len(line) for label in labels for line in label.splitlines())
    ax.set_xticks(places, labels, fontsize=8, rotation=90 if len(names) * longest > 24 else 0)
    ax.set_xlim(-0.5, len(names) - 0.5)


def _tick_label(name: str) -> str:
    """Return the name of a set in a few short lines: an id has three parts, a path many."""
    if name in _NAMED:
        return _NAMED[name]
    *parents, last = [plain(part, 20) for part in name.split("/")[-3:]]
    return "\n".join([*(f"{parent}/" for parent in parents), last])


def _dodges(count: int, reach: float) -> Floats:
    """Return sideways offsets that keep equal values apart."""
    return np.linspace(-reach, reach, count + 2)[1:-1]


def _finish_row(row: Sequence[Axes], quantity: str) -> None:
    """Draw what chance reaches, give all panels the same limits and the first one the label."""
    name, chance = _QUANTITIES[quantity]
    for ax in row:
        ax.axhline(chance, color=NEUTRAL, linestyle=":", zorder=1, label="random score")
    low = min(ax.dataLim.ymin for ax in row) - 0.05
    for ax in row:
        ax.set_ylim(low, 1.03)
    row[0].set_ylabel(name)

"""How well several scores detect, side by side, and what a threshold makes of one of them."""

from collections.abc import Mapping, Sequence
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
    legend_beside,
    make_panels,
    plain,
    set_titles,
    to_scores,
)


def plot_score_curves(
    labels: NDArray[np.bool_], scores: Mapping[str, Data], baselines: Mapping[str, Data]
) -> Figure:
    """Draw the ROC and the precision-recall curves of all scores in two panels.

    Anomalies are the positives. The legend has both areas: AUROC and average precision.

    Args:
        labels: (n,), True for an anomaly; there are both kinds.
        scores: (n,) by name of the score, higher is more normal; drawn as lines.
        baselines: Likewise of the baselines; drawn dashed.

    Raises:
        DataError: A score is not finite.
    """
    figure, (roc, pr) = make_panels(2, 2, (4.4, 3.9))
    for style, group in (("-", scores), ("--", baselines)):
        for color, (name, values) in zip(cycle(PALETTE), group.items(), strict=False):
            _draw_pair((roc, pr), labels, -to_scores(values, name), color, style, name)
    share = float(labels.mean())
    note = f"random score: 0.500, {share:.3f}"
    roc.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", zorder=1, label=note)
    pr.axhline(share, color=NEUTRAL, linestyle=":", zorder=1)
    roc.set(xlabel="false-positive rate", ylabel="true-positive rate")
    pr.set(xlabel="recall", ylabel="precision")
    set_titles(roc, "ROC")
    set_titles(pr, "precision and recall")
    for ax in (roc, pr):
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figure.set_figwidth(11.0)
    legend_beside(figure, "AUROC, average precision")
    return figure


def _draw_pair(
    axes: tuple[Axes, Axes],
    labels: NDArray[np.bool_],
    anomaly_score: Floats,
    color: str,
    style: str,
    name: str,
) -> None:
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    areas = [area(labels, anomaly_score) for area in (roc_auc_score, average_precision_score)]
    label = plain(f"{name}: {areas[0]:.3f}, {areas[1]:.3f}")
    false_rate, true_rate, _ = roc_curve(labels, anomaly_score)
    axes[0].plot(false_rate, true_rate, color=color, linestyle=style, label=label)
    precision, recall, _ = precision_recall_curve(labels, anomaly_score)
    axes[1].plot(recall, precision, color=color, linestyle=style, drawstyle="steps-post")


def plot_confusion(counts: NDArray[np.int64], classes: Sequence[str], unit: str) -> Figure:
    """Draw how many of each class were called normal and how many anomalous.

    Colour is the share of the class; the count stands above it.

    Args:
        counts: (classes, 2): called normal, called anomalous.
        classes: Name of each row.
        unit: What is counted, such as "windows".
    """
    figure, (ax,) = make_panels(1, 1, (4.6, 1.5 + 0.62 * len(classes)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        text = f"{counts[i, j]:,}\n{share:.1%}"
        color = "white" if share > 0.6 else "black"
        ax.text(j, i, text, ha="center", va="center", color=color, fontsize=9)
    names = [plain(name.replace("_", " ")) for name in classes]
    ax.set_yticks(range(len(classes)), names)
    ax.set_xticks([0, 1], ["normal", "anomaly"])
    ax.set(xlabel=f"called, {unit}", ylabel="truth")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return figure

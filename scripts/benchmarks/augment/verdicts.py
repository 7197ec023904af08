"""Whether an arm beats the baseline: over sets, each the mean of its seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.augment.arms import BASELINE
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval

Floats = NDArray[np.float64]

#: Accuracy by arm: (sets, seeds).
Accuracies = Mapping[str, Floats]


def wilcoxon(differences: Floats) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; sets without any are left out.

    1 where no set differs.
    """
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's corrected p-values: max over j <= i of (m - j) p_(j), at most 1.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(factors * np.asarray(p_values)[order])
    return [float(p) for p in corrected.clip(max=1)]


def verdict_table(accuracies: Accuracies) -> str:
    """Return every arm's mean accuracy, and its difference to the baseline over sets.

    The interval is Student's over sets; the p-value is Wilcoxon's, corrected by Holm's method
    for the number of arms.
    """
    arms = [arm for arm in accuracies if arm != BASELINE]
    gains = {arm: deltas(accuracies, arm) for arm in arms}
    raw = [wilcoxon(gains[arm]) for arm in arms]
    rows = [(BASELINE, f"{100 * accuracies[BASELINE].mean():.2f}", "", "", "", "")]
    for arm, p, corrected in zip(arms, raw, holm(raw), strict=True):
        wins, losses = int((gains[arm] > 0).sum()), int((gains[arm] < 0).sum())
        rows.append(
            (
                arm,
                f"{100 * accuracies[arm].mean():.2f}",
                show(mean_interval(gains[arm]), 2, 100),
                f"{wins} / {losses}",
                f"{p:.3f}",
                f"{corrected:.3f}",
            )
        )
    header = ("arm", "accuracy, %", "minus baseline, points", "better / worse sets", "p", "Holm")
    return table(header, rows)


def sets_table(names: Sequence[str], accuracies: Accuracies) -> str:
    """Return the mean accuracy of each arm on each set."""
    rows = [
        (name, *(f"{100 * accuracies[arm][i].mean():.1f}" for arm in accuracies))
        for i, name in enumerate(names)
    ]
    return table(("set", *accuracies), rows)


def deltas(accuracies: Accuracies, arm: str) -> Floats:
    """Return what an arm adds to the baseline on each set, the mean over seeds.

    Rounded to what a float of an accuracy is good for, so that equal means are ties.
    """
    gain: Floats = (accuracies[arm] - accuracies[BASELINE]).mean(axis=1).round(12)
    return gain

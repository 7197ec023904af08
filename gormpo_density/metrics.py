"""How well scores tell anomalies from normal rows, and how sure a measured rate is."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gormpo_density.arrays import check_finite, check_shape
from gormpo_density.errors import DataError, ShapeError

Floats = NDArray[np.floating[Any]]


class Interval(NamedTuple):
    """A measured value with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


class PairedScores(NamedTuple):
    """Scores that two scorers give to the same n rows (higher is more normal).

    Attributes:
        first: (n,) scores of the one scorer.
        second: (n,) scores of the other.
        episodes: (n,) label of the episode a row comes from, of any type.
    """

    first: Floats
    second: Floats
    episodes: NDArray[Any]


def detection_metrics(normal: Floats, anomaly: Floats) -> dict[str, float]:
    """Measure detection at every threshold; anomalies are the positives, ties count one half.

    Args:
        normal: (n,) scores of normal rows, higher is more normal.
        anomaly: (m,) scores of anomalies.

    Returns:
        roc_auc: P(normal score > anomaly score) + P(equal) / 2.
        pr_auc: Average precision; m / (n + m) is what chance gets.
        fpr95: Share of normal rows flagged at the strictest threshold that still flags 95 % of
            the anomalies (a row is flagged where its score is not above the threshold).

    Raises:
        DataError: There are no rows of one sort, or a score is NaN or infinite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    _check_scores(normal, "normal scores")
    _check_scores(anomaly, "anomaly scores")
    is_anomaly = np.repeat([0, 1], [len(normal), len(anomaly)])
    oddness = -np.concatenate([normal, anomaly])
    fpr, tpr, _ = roc_curve(is_anomaly, oddness, drop_intermediate=False)
    return {
        "roc_auc": float(roc_auc_score(is_anomaly, oddness)),
        "pr_auc": float(average_precision_score(is_anomaly, oddness)),
        "fpr95": float(fpr[np.argmax(tpr >= 0.95)]),
    }


def false_alarm_interval(flags: NDArray[np.bool_], confidence: float = 0.95) -> Interval:
    """Return the share of normal rows that were flagged, with its Clopper-Pearson interval.

    The interval holds for independent rows; for rows of episodes it is too narrow, use
    `false_alarm_bootstrap`.

    Args:
        flags: (n,) True where a normal row was flagged.
        confidence: Probability that the interval holds the true rate, at least.

    Raises:
        DataError: There are no rows.
    """
    if len(flags) == 0:
        raise DataError("a false-alarm rate needs at least one row, got 0")
    test = stats.binomtest(int(np.count_nonzero(flags)), len(flags))
    ends = test.proportion_ci(confidence, method="exact")
    return Interval(float(np.mean(flags)), float(ends.low), float(ends.high))


def false_alarm_bootstrap(
    flags: NDArray[np.bool_],
    episodes: NDArray[Any],
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Return the share of normal rows that were flagged, with an interval over episodes.

    Rows of one episode resemble each other, so whole episodes are resampled (percentile
    bootstrap). With under about 20 of them the interval is somewhat too narrow; one alone tells
    nothing about others, so its interval is 0 to 1. Single rows get the exact interval of
    `false_alarm_interval`; so do flags that are all alike, as all resamples would be, with
    episodes in place of rows.

    Args:
        flags: (n,) True where a normal row was flagged.
        episodes: (n,) label of the episode a row comes from.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        confidence: Nominal coverage.

    Raises:
        ShapeError: flags and episodes differ in length.
        DataError: There are no rows.
    """
    _check_lengths(episodes, len(flags), "flags")
    if len(flags) == 0:
        raise DataError("a false-alarm rate needs at least one row, got 0")
    _, place = np.unique(episodes, return_inverse=True)
    contents = np.stack([np.bincount(place, flags), np.bincount(place)])
    if contents.shape[1] == 1:
        return Interval(float(np.mean(flags)), 0.0, 1.0)
    if contents.shape[1] == len(flags) or flags.all() or not flags.any():
        return false_alarm_interval(contents[0] > 0, confidence)
    # Episodes of equal content are drawn as one sort, or a million single rows would be slow.
    (flagged, rows), times = np.unique(contents, axis=1, return_counts=True)
    drawn = rng.multinomial(times.sum(), times / times.sum(), n_resamples)
    rates = (drawn @ flagged) / (drawn @ rows)
    return percentile_interval(np.append(np.mean(flags), rates), confidence)


def conformal_interval(n: int, alpha: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return where the false-alarm rate of a conformal threshold lies: (low, high).

    Over draws of n exchangeable calibration rows the rate is Beta(k, n + 1 - k) distributed
    (continuous scores), k = max(1, floor(alpha (n + 1))); this is that law's central interval.

    Args:
        n: Number of calibration rows.
        alpha: Nominal false-alarm rate, in (0, 1).
        confidence: Probability of the interval.

    Source:
        Vovk 2012, "Conditional validity of inductive conformal predictors", sec. 3.
    """
    rank = max(1, math.floor(alpha * (n + 1) + 1e-9))  # the rank of Calibration.from_scores
    low, high = stats.beta.interval(confidence, rank, n + 1 - rank)
    return float(low), float(high)


def episode_bootstrap_interval(
    normal: PairedScores,
    levels: Sequence[PairedScores],
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Compare two scorers: mean over levels of AUROC(first) - AUROC(second), with an interval.

    Episodes are resampled, not rows, and both scorers see the same resample. Rows that carry the
    same label move together wherever they stand, so a shifted copy of a test episode is resampled
    with that episode, in all levels alike. Each resample draws as many episodes as there are of
    every sort, a sort being the groups (normal, levels) an episode occurs in. Ranks are taken
    once per pair of episodes; a resample is then a product of matrices.

    Args:
        normal: Scores of the normal rows.
        levels: Scores of the anomalies, one entry per level.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        confidence: Nominal coverage of the percentile interval.

    Raises:
        ShapeError: Scores and episodes of a group differ in length.
        DataError: There are no levels, a group has fewer than two episodes, or a score is NaN or
            infinite.
    """
    if not levels:
        raise DataError("a comparison needs at least one level of anomalies, got 0")
    groups = {"normal": normal} | {f"level {i}": level for i, level in enumerate(levels)}
    for name, group in groups.items():
        _check_scores(group.first, f"{name} first")
        _check_scores(group.second, f"{name} second")
        _check_episodes(group.episodes, len(group.first), f"{name} first")
        _check_episodes(group.episodes, len(group.second), f"{name} second")
    episodes = [group.episodes for group in groups.values()]
    counts, (home, *places) = _resample_episodes(episodes, n_resamples, rng)
    differences = [
        _resampled_auroc(normal.first, level.first, home, place, counts)
        - _resampled_auroc(normal.second, level.second, home, place, counts)
        for level, place in zip(levels, places, strict=True)
    ]
    return percentile_interval(np.mean(differences, axis=0), confidence)


def _resample_episodes(
    groups: Sequence[NDArray[Any]], n_resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[NDArray[np.intp]]]:
    """Return how often each resample holds each episode, and each row's episode by group.

    The counts are (1 + n_resamples, E); the first line is the data as it is.
    """
    labels, place = np.unique(np.concatenate(groups), return_inverse=True)
    sizes = [len(group) for group in groups]
    occurs = np.zeros((len(labels), len(groups)), dtype=bool)
    occurs[place, np.repeat(np.arange(len(groups)), sizes)] = True
    _, sort = np.unique(occurs, axis=0, return_inverse=True)
    counts = np.ones((1 + n_resamples, len(labels)))
    for one in range(sort.max() + 1):
        members = np.flatnonzero(sort == one)
        even = np.full(len(members), 1 / len(members))
        counts[1:, members] = rng.multinomial(len(members), even, n_resamples)
    return counts, np.split(place, np.cumsum(sizes)[:-1])


def _resampled_auroc(
    normal: Floats,
    anomaly: Floats,
    home: NDArray[np.intp],
    place: NDArray[np.intp],
    counts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """AUROC of each line of counts: won pairs over all pairs, by pairs of episodes."""
    homes, places = np.unique(home), np.unique(place)
    order, by_home = np.argsort(anomaly), np.argsort(home, kind="stable")
    passed = np.zeros((1 + len(anomaly), len(places)))  # lowest anomalies, by their episode
    np.cumsum(place[order, None] == places, axis=0, out=passed[1:])
    ranked, rows = anomaly[order], normal[by_home]
    twice = passed[np.searchsorted(ranked, rows)] + passed[np.searchsorted(ranked, rows, "right")]
    wins = np.add.reduceat(twice, np.searchsorted(home[by_home], homes)) / 2
    won = np.sum((counts[:, homes] @ wins) * counts[:, places], axis=1)
    n_normal = counts[:, homes] @ np.bincount(home)[homes]
    n_anomaly = counts[:, places] @ np.bincount(place)[places]
    return np.asarray(won / (n_normal * n_anomaly))


def percentile_interval(values: NDArray[np.float64], confidence: float) -> Interval:
    """Return the interval of the resampled values[1:] around the measured values[0]."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Interval(float(values[0]), float(low), float(high))


def _check_scores(scores: Floats, name: str) -> None:
    check_shape(scores, (), name)
    check_finite(scores, name)
    if len(scores) == 0:
        raise DataError(f"{name}: at least one row is needed, got 0")


def _check_episodes(episodes: NDArray[Any], n_rows: int, name: str) -> None:
    _check_lengths(episodes, n_rows, name)
    n_episodes = len(np.unique(episodes))
    if n_episodes < 2:
        raise DataError(f"{name}: resampling needs at least two episodes, got {n_episodes}")


def _check_lengths(episodes: NDArray[Any], n_rows: int, name: str) -> None:
    if episodes.shape != (n_rows,):
        raise ShapeError(f"{name} has {n_rows} rows, its episodes have shape {episodes.shape}")

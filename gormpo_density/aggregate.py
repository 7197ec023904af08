"""What the scores of several runs say together, as rliable defines it.

Scores come as the runs of one task (runs,), as an array (runs, tasks), or by name of the task
where tasks differ in how many runs they have. Few runs make a bootstrap's interval too narrow;
Student's (`mean_interval`, `paired_difference`) holds for normally distributed scores.

Source:
    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
    https://arxiv.org/abs/2108.13264.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gormpo_density.arrays import check_finite
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.metrics import Interval, percentile_interval

Floats = NDArray[np.float64]
Scores = NDArray[np.floating] | Sequence[float] | Mapping[str, Sequence[float]]


def iqm(scores: Scores) -> float:
    """Return the interquartile mean: the mean without the lowest and the highest quarter.

    All runs of all tasks are taken together. Of n scores, floor(n / 4) are left out at each end.

    Args:
        scores: As the module describes.

    Raises:
        DataError: There are no scores, or one is NaN or infinite.
    """
    return float(stats.trim_mean(np.concatenate(_by_task(scores)), 0.25))


def mean_interval(values: Sequence[float] | Floats, confidence: float = 0.95) -> Interval:
    """Return the mean and Student's interval; its ends are nan for a single value."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    return Interval(mean, mean - float(half), mean + float(half))


def stratified_bootstrap(
    scores: Scores,
    statistic: Callable[[Floats], float],
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return a statistic with its percentile interval over runs, resampled within each task.

    Args:
        scores: As the module describes.
        statistic: Function of all scores, (n,), in no particular order: `iqm`, `np.mean`, ...
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        confidence: Nominal coverage.

    Returns:
        The interval; its ends are nan where every task has a single run.

    Raises:
        DataError: There are no scores, or one is NaN or infinite.
    """
    tasks = _by_task(scores)
    estimate = float(statistic(np.concatenate(tasks)))
    if all(len(task) == 1 for task in tasks):
        return Interval(estimate, math.nan, math.nan)
    resampled = [
        statistic(np.concatenate([rng.choice(task, len(task)) for task in tasks]))
        for _ in range(n_resamples)
    ]
    return percentile_interval(np.array([estimate, *resampled]), confidence)


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], confidence: float = 0.95
) -> Interval:
    """Return the mean of first - second over the seeds that both have, with Student's interval.

    What a seed decides for both, such as the split of the data, cancels out. A bootstrap over so
    few seeds as runs have would be too narrow: of normal differences, nominally 95 % cover the
    truth in 74 % of cases with three seeds and in 84 % with five.

    Args:
        first: Score by seed.
        second: Score of the other by seed.
        confidence: Nominal coverage.

    Returns:
        The interval; its ends are nan for a single seed.

    Raises:
        DataError: There is no common seed, or a score is NaN or infinite.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise DataError("a paired difference needs a seed that both have, got none")
    differences = np.array([first[seed] - second[seed] for seed in seeds], dtype=np.float64)
    check_finite(differences, f"differences of seeds {seeds}")
    return mean_interval(differences, confidence)


def _by_task(scores: Scores) -> list[Floats]:
    """Return the checked scores of each task, (runs,) each."""
    if isinstance(scores, Mapping):
        tasks = {f"scores of {name}": np.asarray(runs) for name, runs in scores.items()}
    else:
        array = np.atleast_1d(np.asarray(scores))
        columns = array[:, None] if array.ndim == 1 else array
        tasks = {f"scores of task {i}": runs for i, runs in enumerate(columns.swapaxes(0, -1))}
    if not tasks:
        raise DataError("at least one task is needed, got 0")
    for name, runs in tasks.items():
        _check(runs, name)
    return [runs.astype(np.float64) for runs in tasks.values()]


def _check(runs: NDArray[np.floating], name: str) -> None:
    if runs.ndim != 1:
        raise ShapeError(f"{name} must have shape (runs,), got {runs.shape}")
    if not len(runs):
        raise DataError(f"{name}: at least one run is needed, got 0")
    check_finite(runs, name)

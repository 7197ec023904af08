"""What the scores of several runs say together, as rliable defines it.

Scores come as the runs of one task (runs,), as an array (runs, tasks), or by name of the task
where tasks differ in how many runs they have. Few runs make every interval here too narrow, but
for `mean_interval` on normally distributed scores.

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


def probability_of_improvement(
    first: Scores,
    second: Scores,
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return how probable it is that a run of the first does better than one of the second.

    The mean over tasks of P(x > y) + P(x = y) / 2 for a random run x of the first and y of the
    second (Mann and Whitney's U over the number of pairs). The runs of each are resampled within
    each task, independently of the other's.

    Args:
        first: Scores, higher is better, as the module describes.
        second: Scores of the other on the same tasks, in the same order.
        rng: Source of the resamples.
        n_resamples: Number of resamples.
        confidence: Nominal coverage of the percentile interval.

    Raises:
        DataError: The tasks differ, there are no scores, or one is NaN or infinite.
    """
    if _names(first) != _names(second):
        raise DataError(f"tasks differ: {_names(first)} and {_names(second)}")
    pairs = zip(_by_task(first), _by_task(second), strict=True)
    by_task = [_resampled_wins(x, y, rng, n_resamples) for x, y in pairs]
    return percentile_interval(np.mean(by_task, axis=0), confidence)


def _resampled_wins(x: Floats, y: Floats, rng: np.random.Generator, n_resamples: int) -> Floats:
    """Return the share of pairs that x wins (1 + n_resamples,), as measured first."""
    wins = (np.sign(x[:, None] - y) + 1) / 2
    times_x, times_y = (_counts(len(runs), rng, n_resamples) for runs in (x, y))
    return np.asarray(np.sum((times_x @ wins) * times_y, axis=1) / wins.size)


def paired_difference(
    first: Mapping[int, float],
    second: Mapping[int, float],
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean of first - second over the seeds that both have.

    What a seed decides for both, such as the split of the data, cancels out.

    Args:
        first: Score by seed.
        second: Score of the other by seed.
        rng: Source of the resamples.
        n_resamples: Number of resamples, of seeds.
        confidence: Nominal coverage of the percentile interval.

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
    if len(seeds) == 1:
        return Interval(float(differences[0]), math.nan, math.nan)
    counts = _counts(len(seeds), rng, n_resamples)
    return percentile_interval(counts @ differences / len(seeds), confidence)


def _counts(n: int, rng: np.random.Generator, n_resamples: int) -> Floats:
    """Return how often each resample draws each of n runs, (1 + n_resamples, n); first: once."""
    drawn = rng.multinomial(n, np.full(n, 1 / n), n_resamples)
    return np.concatenate([np.ones((1, n)), drawn])


def _names(scores: Scores) -> list[str] | int:
    """Return the names of the tasks, or how many there are."""
    return list(scores) if isinstance(scores, Mapping) else len(_by_task(scores))


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

"""How well penalties tell where a model is wrong, of errors that `rl.model_error` measured."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.metrics import Interval, detection_metrics, percentile_interval
from rl.model_error import Floats, ModelErrors


def rank_correlations(errors: ModelErrors) -> dict[str, float]:
    """Return Spearman's rho of each penalty with the true error, nan for a constant penalty."""
    weights = np.ones(len(errors))
    error = _places(errors.error)
    return {
        name: _spearman(_places(values), error, weights)
        for name, values in errors.penalties.items()
    }


def worst_row_auroc(errors: ModelErrors, share: float = 0.1) -> dict[str, float]:
    """Return how well each penalty finds the rows with the largest errors: its AUROC.

    Args:
        errors: What was measured.
        share: Share of the rows that count as the worst, rounded to whole rows.

    Raises:
        ConfigError: The share leaves no worst rows, or only such.
    """
    n_worst = round(share * len(errors))
    if not 0 < n_worst < len(errors):
        raise ConfigError(f"a share of {share} of {len(errors)} rows is {n_worst} rows")
    order = np.argsort(errors.error, kind="stable")
    others, worst = order[:-n_worst], order[-n_worst:]
    return {
        name: detection_metrics(normal=-values[others], anomaly=-values[worst])["roc_auc"]
        for name, values in errors.penalties.items()
    }


class StepErrors(NamedTuple):
    """Errors at one step of the rollouts of a policy, in standard deviations.

    Attributes:
        policy: Its name.
        step: Number of the step, from 1.
        n_rows: Rollouts that were measured there.
        error: Median error of the step alone.
        drift: Median distance from the simulator after all steps so far: the errors compounded.
    """

    policy: str
    step: int
    n_rows: int
    error: float
    drift: float


def errors_by_step(errors: ModelErrors) -> list[StepErrors]:
    """Return the errors of each policy (in order of appearance) at each step."""
    table = []
    for policy in dict.fromkeys(errors.policy.tolist()):
        for step in np.unique(errors.step[errors.policy == policy]).tolist():
            rows = errors.select((errors.policy == policy) & (errors.step == step))
            medians = float(np.median(rows.error)), float(np.median(rows.drift))
            table.append(StepErrors(policy, step, len(rows), *medians))
    return table


def compare_penalties(
    errors: ModelErrors,
    first: str,
    second: str,
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Return rho(first) - rho(second) and its percentile interval over start states.

    See `resampled_differences`. The interval says nothing about other models or other data.
    """
    differences = resampled_differences(errors, first, second, rng, n_resamples=n_resamples)
    return percentile_interval(differences, confidence)


def resampled_differences(
    errors: ModelErrors,
    first: str,
    second: str,
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
) -> Floats:
    """Return rho(first) - rho(second), Spearman with the true error, of resamples.

    Start states are resampled with all their steps under every policy, since those resemble each
    other, and both penalties see the same resample.

    Args:
        errors: What was measured.
        first: Name of a penalty.
        second: Name of another.
        rng: Source of the resamples.
        n_resamples: Number of resamples.

    Returns:
        The difference as measured (nan where a penalty is constant), then those of the resamples
        (1 + n_resamples,), in which the rho of a penalty that is constant there counts as 0.

    Raises:
        ConfigError: There is no penalty of that name.
        DataError: All rows come from one start.
    """
    for name in (first, second):
        if name not in errors.penalties:
            raise ConfigError(f"no penalty {name!r}; there are {', '.join(errors.penalties)}")
    starts, place = np.unique(errors.start, return_inverse=True)
    n_starts = len(starts)
    if n_starts < 2:
        raise DataError(f"resampling needs at least two start states, got {n_starts}")
    counts = rng.multinomial(n_starts, np.full(n_starts, 1 / n_starts), n_resamples)
    error, one, other = map(
        _places, (errors.error, errors.penalties[first], errors.penalties[second])
    )
    weighings = (np.ones(len(errors)), *(line[place] for line in counts))
    rho = np.array([[_spearman(x, error, w) for x in (one, other)] for w in weighings])
    # A penalty that is 0 on all rows of a resample orders none of them.
    rho[1:][np.isnan(rho[1:])] = 0.0
    return np.asarray(rho[:, 0] - rho[:, 1])


def _places(values: Floats) -> NDArray[np.intp]:
    """Return the place of each value among the distinct ones, ascending (N,)."""
    return np.unique(values, return_inverse=True)[1]


def _spearman(x: NDArray[np.intp], y: NDArray[np.intp], weights: NDArray[Any]) -> float:
    """Spearman's rho of places, each row as often as its weight says; nan if one is constant."""
    a, b = (_mid_ranks(places, weights) for places in (x, y))
    a, b = (ranks - np.average(ranks, weights=weights) for ranks in (a, b))
    scale = math.sqrt(np.sum(weights * a * a) * np.sum(weights * b * b))
    return float(np.sum(weights * a * b)) / scale if scale > 0 else math.nan


def _mid_ranks(places: NDArray[np.intp], weights: NDArray[Any]) -> Floats:
    """Return ranks, but for a constant; equal values share the middle of theirs."""
    mass = np.bincount(places, weights)
    return (np.cumsum(mass) - mass / 2)[places]

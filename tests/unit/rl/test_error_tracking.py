import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gormpo_density.errors import ConfigError, DataError
from rl.error_tracking import (
    StepErrors,
    compare_penalties,
    errors_by_step,
    rank_correlations,
    worst_row_auroc,
)
from rl.model_error import ModelErrors


def measured(error: Any, start: Any = None, drift: Any = None, **penalties: Any) -> ModelErrors:
    n = len(error)
    return ModelErrors(
        policy=np.full(n, "clone"),
        start=np.arange(n) if start is None else np.asarray(start),
        step=np.ones(n, int),
        error=np.asarray(error, float),
        drift=np.asarray(error if drift is None else drift, float),
        penalties={name: np.asarray(values, float) for name, values in penalties.items()},
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rank_correlations_are_spearmans_with_ties() -> None:
    draws = rng()
    error = draws.exponential(size=200).round(1)
    penalty = (error + draws.normal(size=200)).round(1)
    errors = measured(error, mine=penalty, up=error**3, down=-error, none=np.zeros(200))
    found = rank_correlations(errors)
    assert found["mine"] == pytest.approx(stats.spearmanr(penalty, error).statistic)
    assert found["up"] == pytest.approx(1)
    assert found["down"] == pytest.approx(-1)
    assert math.isnan(found["none"])


def test_worst_row_auroc_counts_pairs() -> None:
    error = np.arange(20.0)
    best, constant = error.copy(), np.zeros(20)
    mixed = error.copy()
    mixed[19] = 9.5  # of 18 other rows, 10 are below it
    found = worst_row_auroc(measured(error, best=best, constant=constant, mixed=mixed))
    assert found["best"] == 1
    assert found["constant"] == 0.5
    assert found["mixed"] == pytest.approx((18 + 10) / 36)


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_a_share_without_worst_or_other_rows_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"a share of {share} of 10 rows is"):
        worst_row_auroc(measured(np.arange(10.0), mine=np.arange(10.0)), share)


def test_errors_by_step_keeps_the_order_of_the_policies() -> None:
    errors = ModelErrors(
        policy=np.array(["wild", "wild", "wild", "clone"]),
        start=np.array([0, 1, 0, 0]),
        step=np.array([1, 1, 2, 1]),
        error=np.array([1.0, 3.0, 5.0, 7.0]),
        drift=np.array([2.0, 4.0, 6.0, 8.0]),
        penalties={},
    )
    assert errors_by_step(errors) == [
        StepErrors("wild", 1, 2, 2.0, 3.0),
        StepErrors("wild", 2, 1, 5.0, 6.0),
        StepErrors("clone", 1, 1, 7.0, 8.0),
    ]


def related(n_starts: int, n_steps: int = 5) -> ModelErrors:
    """Make errors that two penalties follow, the second with more noise."""
    draws = rng()
    start = np.repeat(np.arange(n_starts), n_steps)
    error = draws.normal(size=n_starts)[start] + draws.normal(size=len(start))
    good = error + 0.3 * draws.normal(size=len(start))
    poor = error + 2.0 * draws.normal(size=len(start))
    return measured(error, start, good=good, poor=poor)


def test_the_difference_of_two_penalties_has_an_interval() -> None:
    errors = related(100)
    rho = rank_correlations(errors)
    found = compare_penalties(errors, "good", "poor", rng(), n_resamples=200)
    assert found.estimate == pytest.approx(rho["good"] - rho["poor"])
    assert 0 < found.low < found.estimate < found.high
    swapped = compare_penalties(errors, "poor", "good", rng(), n_resamples=200)
    assert swapped == pytest.approx((-found.estimate, -found.high, -found.low))
    assert compare_penalties(errors, "good", "good", rng(), n_resamples=9) == (0, 0, 0)
    again = compare_penalties(errors, "good", "poor", rng(), n_resamples=200)
    assert again == found


def test_a_penalty_that_is_constant_in_a_resample_orders_nothing_there() -> None:
    """It is above 0 at one of the starts alone, and some resamples leave that one out."""
    error, start = np.arange(20.0), np.repeat(np.arange(4), 5)
    errors = measured(error, start, rare=np.where(start == 3, 1.0, 0.0), good=error)
    found = compare_penalties(errors, "rare", "good", rng(), n_resamples=50)
    assert -1 <= found.low <= found.estimate < 0
    constant = measured(error, start, rare=0 * error, good=error)
    assert math.isnan(compare_penalties(constant, "rare", "good", rng(), n_resamples=9).estimate)


def test_a_resample_repeats_whole_starts() -> None:
    """Done here by copying rows, there by weighing them."""
    errors = related(12)
    counts = rng().multinomial(12, np.full(12, 1 / 12), 50)
    differences = []
    for line in counts:
        rows = np.concatenate(
            [np.tile(np.flatnonzero(errors.start == i), k) for i, k in enumerate(line)]
        )
        rho = rank_correlations(errors.select(rows.astype(int)))
        differences.append(rho["good"] - rho["poor"])
    found = compare_penalties(errors, "good", "poor", rng(), n_resamples=50)
    assert found[1:] == pytest.approx(np.quantile(differences, [0.025, 0.975]))


def test_an_unknown_penalty_and_a_single_start_are_refused() -> None:
    with pytest.raises(ConfigError, match="no penalty 'best'; there are good, poor"):
        compare_penalties(related(3), "good", "best", rng())
    with pytest.raises(DataError, match="at least two start states, got 1"):
        compare_penalties(related(1), "good", "poor", rng())

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gormpo_density.aggregate import (
    iqm,
    mean_interval,
    paired_difference,
    stratified_bootstrap,
)
from gormpo_density.errors import DataError, ShapeError

BAD = [
    ([], "at least one run"),
    ({}, "at least one task"),
    ({"hopper": []}, "scores of hopper: at least one run"),
    (np.zeros((3, 0)), "at least one task"),
    ([1.0, math.nan], "scores of task 0 row 1 is nan"),
    ({"a": [1.0], "b": [2.0, math.inf]}, "scores of b row 1 is inf"),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_iqm_leaves_out_a_quarter_at_each_end() -> None:
    assert iqm([1000.0, 1, 2, 3, 4, 5, 6, -1000]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([1.0, 2, 9]) == pytest.approx(4)  # a quarter of three is none
    assert iqm([1.0, 2, 3, 94]) == pytest.approx(2.5)


def test_iqm_takes_the_runs_of_all_tasks_together() -> None:
    scores = rng().normal(size=(5, 3))
    expected = stats.trim_mean(scores, proportiontocut=0.25, axis=None)
    assert iqm(scores) == pytest.approx(expected)
    assert iqm({"a": scores[:, 0], "b": scores[:, 1:].ravel()}) == pytest.approx(expected)


def test_mean_interval_is_students() -> None:
    found = mean_interval([1.0, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)  # the 97.5 % point of t with 4 degrees of freedom
    assert found == pytest.approx((3, 3 - half, 3 + half))
    assert mean_interval([1.0, 2, 3], 0.5).high < mean_interval([1.0, 2, 3]).high


def test_the_mean_of_one_value_has_no_interval() -> None:
    assert mean_interval([7.0]) == pytest.approx((7, math.nan, math.nan), nan_ok=True)


def test_bootstrap_of_two_runs_is_their_exact_distribution() -> None:
    found = stratified_bootstrap([0.0, 1.0], np.mean, rng(), n_resamples=500)
    assert found == (0.5, 0, 1)  # of the means 0, 1/2, 1 the outer ones have a quarter each
    assert stratified_bootstrap([0.0, 1.0], np.mean, rng(), confidence=0.4) == (0.5, 0.5, 0.5)


def test_bootstrap_resamples_runs_only_within_their_task() -> None:
    scores = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])
    assert stratified_bootstrap(scores, np.mean, rng(), n_resamples=50) == (50, 50, 50)
    apart = stratified_bootstrap(scores.ravel(), np.mean, rng(), n_resamples=50)
    assert apart.low < 50 < apart.high


def test_bootstrap_of_the_mean_nears_its_standard_error() -> None:
    scores = rng(1).normal(size=(200, 2))
    error = 1.96 * math.sqrt(np.sum(np.var(scores, axis=0) / 200)) / 2
    found = stratified_bootstrap(scores, np.mean, rng())
    assert found.low == pytest.approx(scores.mean() - error, abs=0.01)
    assert found.high == pytest.approx(scores.mean() + error, abs=0.01)


def test_bootstrap_takes_tasks_with_unequal_numbers_of_runs() -> None:
    scores = {"one run": [5.0], "constant": [1.0, 1.0, 1.0]}
    assert stratified_bootstrap(scores, np.mean, rng(), n_resamples=10) == (2, 2, 2)


def test_single_runs_have_no_interval() -> None:
    found = stratified_bootstrap(np.ones((1, 3)), iqm, rng())
    assert found == pytest.approx((1, math.nan, math.nan), nan_ok=True)
    one = paired_difference({4: 3.0, 5: 0.0}, {4: 1.0})
    assert one == pytest.approx((2, math.nan, math.nan), nan_ok=True)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_bootstrap_stays_within_the_scores(scores: list[float]) -> None:
    found = stratified_bootstrap(scores, iqm, rng(), n_resamples=40)
    assert min(scores) - 1e-9 <= found.low <= found.high <= max(scores) + 1e-9
    assert found == stratified_bootstrap(scores, iqm, rng(), n_resamples=40)


def test_a_paired_difference_takes_out_what_a_seed_decides_for_both() -> None:
    base = {seed: 1000.0 * seed for seed in range(6)}
    better = {seed: value + 3 for seed, value in base.items()} | {99: -1e6}
    assert paired_difference(better, base) == (3, 3, 3)


def test_a_paired_difference_has_students_interval_over_seeds() -> None:
    first, second = rng(1).normal(size=(2, 5))
    found = paired_difference(dict(enumerate(first)), dict(enumerate(second)) | {9: 9.0})
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert found == pytest.approx((np.mean(first - second), expected.low, expected.high))


@pytest.mark.parametrize(("scores", "problem"), BAD)
def test_bad_scores_are_told(scores, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        iqm(scores)
    with pytest.raises(DataError, match=problem):
        stratified_bootstrap(scores, iqm, rng())


def test_scores_have_one_or_two_dimensions() -> None:
    with pytest.raises(ShapeError, match=r"must have shape \(runs,\)"):
        iqm(np.zeros((2, 2, 2)))


def test_a_paired_difference_needs_common_finite_seeds() -> None:
    with pytest.raises(DataError, match="a seed that both have"):
        paired_difference({1: 0.0}, {2: 0.0})
    with pytest.raises(DataError, match=r"differences of seeds \[1, 2\] row 1 is nan"):
        paired_difference({1: 0.0, 2: math.nan}, {1: 0.0, 2: 1.0})

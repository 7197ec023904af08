import logging
import math

import numpy as np
import pytest
import torch
from scipy import stats

from gormpo_density.calibration import Calibration
from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.thresholds import (
    Threshold,
    check_enough,
    find_threshold,
    is_constant,
)

METHODS = ["conformal", "quantile", "pot"]


def draw(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def test_conformal_is_the_order_statistic() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    found = find_threshold(scores, 0.05)
    assert (found.value, found.false_alarm_rate) == (5, 0.05)
    beta = stats.beta(5, 95)
    assert found.standard_error == pytest.approx(beta.std())


@pytest.mark.parametrize("n", [3, 19, 99, 100, 1000])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.07, 0.5])
def test_conformal_is_that_of_a_calibration(n, alpha) -> None:
    calibration = Calibration.from_scores(torch.from_numpy(draw(n)), alpha)
    assert find_threshold(draw(n), alpha).value == calibration.threshold


def test_quantile_is_the_empirical_one() -> None:
    found = find_threshold(np.arange(101.0), 0.05, "quantile")
    assert (found.value, found.false_alarm_rate) == (pytest.approx(5), 0.05)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
@pytest.mark.parametrize(("alpha", "error"), [(1e-2, 0.01), (1e-3, 0.05), (1e-5, 0.5)])
def test_a_pareto_tail_gives_back_the_level_of_a_pareto_law(shape, alpha, error) -> None:
    law = stats.genpareto(shape)
    scores = -law.ppf((np.arange(20_000) + 0.5) / 20_000)  # the law itself, without luck
    found = find_threshold(scores, alpha, "pot")
    assert law.sf(-found.value) == pytest.approx(alpha, rel=error)


def test_the_tail_reaches_where_there_are_no_scores() -> None:
    scores = draw(2000)
    assert find_threshold(scores, 1e-6, "pot").value < scores.min() - 0.3
    assert find_threshold(scores, 1e-6, "quantile").value >= scores.min()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
def test_the_false_alarm_rate_is_the_promised_one_within_its_error(method, alpha) -> None:
    found = [find_threshold(draw(1000, seed), alpha, method) for seed in range(40)]
    rates = np.array([stats.norm.cdf(t.value) for t in found])
    error = np.mean([t.standard_error for t in found])
    promised = np.mean([t.false_alarm_rate for t in found])
    assert rates.mean() == pytest.approx(promised, abs=4 * error / math.sqrt(40))
    assert 0.6 * error < rates.std() < 1.6 * error


def test_fewer_independent_scores_have_a_larger_error_and_the_same_threshold() -> None:
    for method in METHODS:
        all_, few = (find_threshold(draw(1000), 0.05, method, n) for n in (None, 10))
        assert few.value == all_.value
        assert few.standard_error > 5 * all_.standard_error


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("score", [0.0, -3.25, 1e6, -1e30])
def test_equal_scores_flag_nothing_and_warn(method, score, caplog) -> None:
    scores = np.full(50, score)
    with caplog.at_level(logging.WARNING):
        found = find_threshold(scores, 0.1, method)
    assert found.value < score
    assert (found.false_alarm_rate, found.standard_error) == (0, 0)
    assert "all 50 calibration scores are" in caplog.text


def test_scores_that_differ_by_rounding_are_equal() -> None:
    assert is_constant(np.float64(np.float32(3.3)) * np.array([1, 1 + 1e-7]))
    assert not is_constant(np.array([1.0, 1.001]))


@pytest.mark.parametrize("top", [1, 3, 20])
def test_a_tail_of_equal_scores_falls_back_to_the_lowest(top: int) -> None:
    scores = np.concatenate([np.full(top, -9.0), np.linspace(0, 1, 400 - top)])
    found = find_threshold(scores, 1e-3, "pot")
    assert math.isfinite(found.value)
    if top == 20:
        assert (found.value, found.false_alarm_rate) == (-9, pytest.approx(1 / 401))


def test_the_threshold_moves_with_the_scores() -> None:
    scores = draw(500)
    for method in METHODS:
        here, there = (find_threshold(s, 0.01, method).value for s in (scores, 7 + 2 * scores))
        assert there == pytest.approx(7 + 2 * here, rel=1e-3)


@pytest.mark.parametrize(
    ("scores", "alpha", "method", "error", "text"),
    [
        ([1.0], 0.1, "best", ConfigError, "threshold 'best' is unknown; choose from conformal, q"),
        ([], 0.1, "quantile", DataError, "a threshold needs at least one score, got 0"),
        ([1.0, math.nan], 0.1, "quantile", DataError, "score 1 is nan"),
        ([1.0, 2.0], 1.0, "conformal", DataError, r"alpha must be in \(0, 1\), got 1.0"),
        ([1.0, 2.0], math.nan, "conformal", DataError, r"alpha must be in \(0, 1\), got nan"),
        (range(39), 0.1, "pot", DataError, "needs 40 calibration scores .* got 39 and 0.1"),
        (range(99), 0.3, "pot", DataError, "alpha at most 0.25, got 99 and 0.3"),
    ],
)
def test_bad_input(scores, alpha, method, error, text) -> None:
    with pytest.raises(error, match=text):
        find_threshold(np.array(scores, dtype=np.float64), alpha, method)


def test_what_is_too_little_can_be_told_beforehand() -> None:
    check_enough(2, 0.01, "conformal")
    check_enough(40, 0.01, "pot")
    with pytest.raises(DataError, match="got 2"):
        check_enough(2, 0.01, "pot")


def test_a_threshold_is_plain_numbers() -> None:
    for method in METHODS:
        found = find_threshold(draw(200), 0.05, method)
        assert all(type(value) is float for value in vars(found).values())
        assert isinstance(found, Threshold)

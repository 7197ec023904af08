import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from gormpo_density.calibration import Calibration
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.metrics import (
    Interval,
    PairedScores,
    conformal_interval,
    detection_metrics,
    episode_bootstrap_interval,
    false_alarm_bootstrap,
    false_alarm_interval,
)

Array = NDArray[Any]

# Whole numbers, so that ties are common.
tied_scores = st.lists(st.integers(-4, 4), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float64)
)


def counted_roc_auc(normal: Array, anomaly: Array) -> float:
    """Pairs in the right order, ties one half."""
    pairs = [(n > a) + (n == a) / 2 for n in normal for a in anomaly]
    return float(np.mean(pairs))


def counted_fpr95(normal: Array, anomaly: Array) -> float:
    """Try every threshold from the strictest on."""
    for threshold in np.unique(np.concatenate([normal, anomaly])):
        if (anomaly <= threshold).mean() >= 0.95:
            return float((normal <= threshold).mean())
    raise AssertionError("the last threshold flags everything")


def counted_average_precision(normal: Array, anomaly: Array) -> float:
    """Precision weighted by the recall that each threshold adds."""
    total, recall = 0.0, 0.0
    for threshold in np.unique(np.concatenate([normal, anomaly])):
        found, false = (anomaly <= threshold).sum(), (normal <= threshold).sum()
        total += (found / len(anomaly) - recall) * found / (found + false)
        recall = found / len(anomaly)
    return total


@given(normal=tied_scores, anomaly=tied_scores)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_detection_metrics_equal_counting(normal: Array, anomaly: Array) -> None:
    found = detection_metrics(normal, anomaly)
    assert found["roc_auc"] == pytest.approx(counted_roc_auc(normal, anomaly))
    assert found["pr_auc"] == pytest.approx(counted_average_precision(normal, anomaly))
    assert found["fpr95"] == pytest.approx(counted_fpr95(normal, anomaly))


def test_detection_metrics_of_perfect_reversed_and_constant_scores() -> None:
    low, high, flat = np.arange(20.0), np.arange(20.0) + 100, np.zeros(20)
    perfect = {"roc_auc": 1.0, "pr_auc": 1.0, "fpr95": 0.0}
    assert detection_metrics(high, low) == pytest.approx(perfect)
    assert detection_metrics(low, high)["roc_auc"] == 0
    assert detection_metrics(low, high)["fpr95"] == 1
    chance = {"roc_auc": 0.5, "pr_auc": 0.5, "fpr95": 1.0}
    assert detection_metrics(flat, flat) == pytest.approx(chance)


def test_fpr95_may_miss_one_anomaly_in_twenty() -> None:
    anomaly = np.array([0.0] * 19 + [9.0])
    assert detection_metrics(np.array([1.0, 2.0]), anomaly)["fpr95"] == 0
    assert detection_metrics(np.array([1.0, 2.0]), anomaly[1:])["fpr95"] == 1  # 18 of 19 < 95 %


def test_detection_metrics_stand_the_lowest_score_there_is() -> None:
    found = detection_metrics(np.array([0.0, 1.0]), np.array([-1e30, 0.5]))
    assert found["roc_auc"] == 0.75


@pytest.mark.parametrize("bad", [[], [0.0, math.nan], [math.inf]])
@pytest.mark.parametrize("which", ["normal", "anomaly"])
def test_detection_metrics_refuse_what_cannot_be_ranked(bad: list[float], which: str) -> None:
    scores = {"normal": np.zeros(2), "anomaly": np.zeros(2), which: np.array(bad)}
    with pytest.raises(DataError, match=f"{which} scores"):
        detection_metrics(scores["normal"], scores["anomaly"])


def test_detection_metrics_refuse_columns() -> None:
    with pytest.raises(ShapeError, match="normal scores"):
        detection_metrics(np.zeros((3, 1)), np.zeros(3))


def test_false_alarm_interval_known_answers() -> None:
    none, low, high = false_alarm_interval(np.zeros(10, dtype=bool))
    assert (none, low) == (0, 0)
    assert high == pytest.approx(1 - 0.025**0.1)
    half = false_alarm_interval(np.arange(10) < 5)
    assert half == pytest.approx((0.5, 0.1871, 0.8129), abs=1e-4)  # Clopper & Pearson 1934
    assert false_alarm_interval(np.ones(10, dtype=bool)).high == 1


def test_false_alarm_interval_ends_are_the_exact_binomial_tails() -> None:
    flags = np.arange(50) < 4
    _, low, high = false_alarm_interval(flags, confidence=0.9)
    assert stats.binom.sf(3, 50, low) == pytest.approx(0.05)
    assert stats.binom.cdf(4, 50, high) == pytest.approx(0.05)


def test_false_alarm_interval_needs_rows() -> None:
    with pytest.raises(DataError, match="at least one row"):
        false_alarm_interval(np.zeros(0, dtype=bool))


def test_conformal_interval_known_answers() -> None:
    assert conformal_interval(1, 0.5) == pytest.approx((0.025, 0.975))  # Beta(1, 1) is uniform
    assert conformal_interval(99, 0.01) == pytest.approx(
        (1 - 0.975 ** (1 / 99), 1 - 0.025 ** (1 / 99))  # Beta(1, 99)
    )


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.05), (99, 0.05), (99, 0.29), (640, 0.01)])
def test_conformal_interval_uses_the_rank_of_the_threshold(n: int, alpha: float) -> None:
    rank = Calibration.from_scores(torch.arange(1.0, n + 1), alpha).threshold
    expected = stats.beta.interval(0.9, rank, n + 1 - rank)
    assert conformal_interval(n, alpha, confidence=0.9) == pytest.approx(expected)


def test_false_alarm_bootstrap_resamples_whole_episodes() -> None:
    flags = np.array([True] * 50 + [False] * 50)
    episodes = np.repeat(["flagged", "clean"], 50)
    rate, low, high = false_alarm_bootstrap(flags, episodes, np.random.default_rng(0))
    assert (rate, low, high) == (0.5, 0.0, 1.0)  # two episodes: 0, 1/2 or 1


def test_false_alarm_bootstrap_weighs_episodes_by_their_rows() -> None:
    flags, episodes = np.array([True, False, False, False]), np.array([0, 1, 1, 1])
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    counts = again.multinomial(2, [0.5, 0.5], 200)
    rates = counts[:, 0] / (counts[:, 0] + 3 * counts[:, 1])
    found = false_alarm_bootstrap(flags, episodes, rng, n_resamples=200, confidence=0.8)
    assert found == pytest.approx((0.25, *np.quantile(rates, [0.1, 0.9])))


def test_false_alarm_bootstrap_of_single_rows_is_that_of_rows() -> None:
    flags, rng = np.arange(400) < 40, np.random.default_rng(0)
    rate, low, high = false_alarm_bootstrap(flags, np.arange(400), rng, n_resamples=4000)
    error = 1.96 * math.sqrt(0.1 * 0.9 / 400)
    assert (rate, low, high) == pytest.approx((0.1, 0.1 - error, 0.1 + error), abs=0.005)


@pytest.mark.parametrize("flag", [False, True])
def test_false_alarm_bootstrap_is_exact_over_episodes_where_resamples_are_all_alike(flag) -> None:
    flags, episodes = np.full(60, flag), np.arange(60) // 3
    found = false_alarm_bootstrap(flags, episodes, np.random.default_rng(0))
    assert found == false_alarm_interval(np.full(20, flag))
    assert found.high - found.low == pytest.approx(1 - 0.025 ** (1 / 20))


def test_false_alarm_bootstrap_of_independent_rows_is_exact() -> None:
    flags = np.arange(76) < 3
    found = false_alarm_bootstrap(flags, np.arange(76), np.random.default_rng(0))
    assert found == false_alarm_interval(flags)


def test_false_alarm_bootstrap_of_one_episode_knows_nothing() -> None:
    flags, rng = np.array([True, False]), np.random.default_rng(0)
    assert false_alarm_bootstrap(flags, np.zeros(2), rng) == (0.5, 0.0, 1.0)


def test_false_alarm_bootstrap_refuses_no_rows_and_unequal_lengths() -> None:
    rng, none = np.random.default_rng(0), np.zeros(0, dtype=bool)
    with pytest.raises(DataError, match="at least one row"):
        false_alarm_bootstrap(none, none, rng)
    with pytest.raises(ShapeError, match="flags has 0 rows"):
        false_alarm_bootstrap(none, np.arange(4), rng)


def paired(seed: int, n_rows: int, labels: list[str]) -> PairedScores:
    """Tied scores of two unlike scorers."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, (2, n_rows)).astype(float)
    return PairedScores(first, second, rng.permutation(np.resize(labels, n_rows)))


def roc_auc_difference(normal: PairedScores, level: PairedScores) -> float:
    labels = np.repeat([1, 0], [len(normal.first), len(level.first)])
    return float(
        roc_auc_score(labels, np.concatenate([normal.first, level.first]))
        - roc_auc_score(labels, np.concatenate([normal.second, level.second]))
    )


def repeated(rows: PairedScores, counts: dict[str, int]) -> PairedScores:
    times = [counts[label] for label in rows.episodes]
    return PairedScores(*(np.repeat(values, times) for values in rows))


def test_bootstrap_estimate_is_the_mean_difference_over_levels() -> None:
    normal, levels = paired(0, 40, ["a", "b"]), [paired(s, 30, ["x", "y"]) for s in (1, 2, 3)]
    found = episode_bootstrap_interval(normal, levels, np.random.default_rng(0), n_resamples=10)
    assert found.estimate == pytest.approx(
        np.mean([roc_auc_difference(normal, level) for level in levels])
    )


def test_bootstrap_equals_repeating_the_rows_of_drawn_episodes() -> None:
    normal, level = paired(0, 40, ["a", "b", "c"]), paired(1, 30, ["x", "y"])
    again = np.random.default_rng(5)
    of_level = again.multinomial(2, [1 / 2] * 2, 50)  # episodes of anomalies are drawn first
    of_normal = again.multinomial(3, [1 / 3] * 3, 50)
    differences = [
        roc_auc_difference(
            repeated(normal, dict(zip("abc", n, strict=True))),
            repeated(level, dict(zip("xy", m, strict=True))),
        )
        for n, m in zip(of_normal, of_level, strict=True)
    ]
    found = episode_bootstrap_interval(
        normal, [level], np.random.default_rng(5), n_resamples=50, confidence=0.9
    )
    assert found[1:] == pytest.approx(tuple(np.quantile(differences, [0.05, 0.95])))


def test_a_shifted_copy_moves_with_its_episode() -> None:
    """Each episode's anomalies lie just below its own rows: only a joint draw keeps that."""
    episodes = np.repeat(np.arange(6), 5)
    base = 10.0 * episodes
    normal = PairedScores(base, np.zeros(30), episodes)
    together = [PairedScores(base - 1, np.zeros(30), episodes)]
    apart = [PairedScores(base - 1, np.zeros(30), episodes + 6)]
    joint = episode_bootstrap_interval(normal, together, np.random.default_rng(0))
    loose = episode_bootstrap_interval(normal, apart, np.random.default_rng(0))
    assert joint.estimate == loose.estimate > 0
    assert joint.low > 0 > loose.low


def test_equal_scorers_differ_by_exactly_nothing() -> None:
    normal, level = paired(0, 40, ["a", "b", "c"]), paired(1, 30, ["a", "b"])
    same = [rows._replace(second=rows.first) for rows in (normal, level)]
    found = episode_bootstrap_interval(same[0], same[1:], np.random.default_rng(0))
    assert found == Interval(0, 0, 0)


def test_the_same_generator_gives_the_same_interval() -> None:
    normal, level = paired(0, 40, ["a", "b", "c"]), paired(1, 30, ["x", "y"])
    runs = [
        episode_bootstrap_interval(normal, [level], np.random.default_rng(3)) for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_bootstrap_refuses_what_it_cannot_compare() -> None:
    rng, good = np.random.default_rng(0), paired(0, 8, ["a", "b"])
    with pytest.raises(DataError, match="at least one level"):
        episode_bootstrap_interval(good, [], rng)
    with pytest.raises(DataError, match=r"level 0 first: .* two episodes, got 1"):
        episode_bootstrap_interval(good, [paired(0, 8, ["a"])], rng)
    with pytest.raises(ShapeError, match="normal second has 1 rows"):
        episode_bootstrap_interval(good._replace(second=np.zeros(1)), [good], rng)
    with pytest.raises(DataError, match="level 1 second row 0 is nan"):
        episode_bootstrap_interval(good, [good, good._replace(second=np.full(8, math.nan))], rng)

"""The benchmark of augmentation: what chooses, what is tested, and Holm's and Wilcoxon's tests."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmarks(monkeypatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    names = ("arms", "protocol", "sets", "speed", "verdicts")
    modules = {name: importlib.import_module(f"benchmarks.augment.{name}") for name in names}
    cells = importlib.import_module("benchmarks.cells")
    return SimpleNamespace(**modules, cells=cells)


def test_sets_that_choose_do_not_confirm(benchmarks) -> None:
    sets = benchmarks.sets
    assert len(sets.TUNING) == len(sets.CONFIRMATION) == 10
    assert set(sets.TUNING).isdisjoint(sets.CONFIRMATION)
    assert set(benchmarks.arms.TUNING_SEEDS).isdisjoint(benchmarks.arms.SEEDS)


def test_classic_arms_and_ours_have_equally_many_candidates(benchmarks) -> None:
    assert len(benchmarks.protocol.CLASSIC) == len(benchmarks.protocol.OURS)


def test_every_arm_can_be_made(benchmarks) -> None:
    protocol = benchmarks.protocol
    x = np.random.default_rng(0).normal(size=(12, 16, 1))
    for arm in (*protocol.CLASSIC, protocol.ANCESTOR, *protocol.OURS):
        assert arm.make().num_samples == 1, arm.name
    assert protocol.NONE.make() is None
    made = protocol.CLASSIC[0].make().fit(x, np.arange(12) % 2).augment(x, np.arange(12) % 2)
    assert made.x.shape == x.shape


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x .01, then 2 x .03, then max(.06, .04)
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
    ],
)
def test_holm(benchmarks, p_values, corrected) -> None:
    assert benchmarks.verdicts.holm(p_values) == pytest.approx(corrected)


def test_wilcoxon_is_two_sided_and_leaves_ties_out(benchmarks) -> None:
    wilcoxon = benchmarks.verdicts.wilcoxon
    gains = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert wilcoxon(gains) == pytest.approx(2 / 2**6)
    assert wilcoxon(np.append(gains, [0, 0])) == pytest.approx(2 / 2**6)
    assert wilcoxon(-gains) == wilcoxon(gains)
    assert wilcoxon(np.zeros(4)) == 1.0
    assert wilcoxon(gains) == pytest.approx(stats.wilcoxon(gains).pvalue)


def test_gains_are_means_over_seeds_and_equal_means_are_ties(benchmarks) -> None:
    found = {"baseline": np.array([[0.7, 0.1, 0.1]]), "noise": np.array([[0.1, 0.1, 0.7]])}
    assert benchmarks.verdicts.deltas(found, "noise").tolist() == [0.0]


def test_the_table_tells_every_arm(benchmarks) -> None:
    found = {"baseline": np.full((3, 2), 0.5), "good": np.full((3, 2), 0.75)}
    text = benchmarks.verdicts.verdict_table(found | {"bad": np.array([[0.5, 0.25]] * 3)})
    assert "| good | 75.00 | 25.00 [25.00, 25.00] | 3 / 0 |" in text
    assert "| bad | 37.50 | -12.50 [-12.50, -12.50] | 0 / 3 |" in text


def test_the_best_of_each_kind_goes_on(benchmarks) -> None:
    protocol = benchmarks.protocol
    arms = (protocol.NONE, protocol.ANCESTOR, *protocol.CLASSIC, *protocol.OURS)
    found = {arm.name: np.full((2, 2), 0.5) for arm in arms}
    best = protocol.CLASSIC[3], protocol.OURS[4], protocol.OURS[1]
    for arm, value in zip(best, (0.6, 0.8, 0.7), strict=True):
        found[arm.name] = np.full((2, 2), value)
    finalists = protocol._finalists(found)
    assert finalists == [protocol.NONE, protocol.ANCESTOR, *best]


def test_a_tenth_keeps_every_class(benchmarks) -> None:
    data = SimpleNamespace(
        train_x=np.arange(100.0)[:, None, None], train_y=np.arange(100) % 3 // 2
    )
    labelled = importlib.import_module("gormpo_density.timeseries.labelled")
    full = labelled.LabelledSet(
        "made", data.train_x, data.train_y, data.train_x, data.train_y, ("a", "b")
    )
    small = benchmarks.sets.tenth(full, seed=0)
    assert np.bincount(small.train_y).tolist() == [7, 3]
    assert not np.array_equal(small.train_x, benchmarks.sets.tenth(full, seed=1).train_x)
    assert np.array_equal(small.train_x, benchmarks.sets.tenth(full, seed=0).train_x)
    np.testing.assert_array_equal(full.train_y[small.train_x[:, 0, 0].astype(int)], small.train_y)

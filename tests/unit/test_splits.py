from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.data.splits import split_episodes
from gormpo_density.errors import ConfigError, DataError

EXPECTED = np.array([0.7, 0.1, 0.1, 0.1])
LENGTHS = st.lists(st.integers(1, 30), min_size=4, max_size=25)


def episodes(lengths):
    return np.repeat(np.arange(len(lengths)), lengths)


def shares(splits):
    counts = np.array([len(rows) for rows in astuple(splits)])
    return counts / counts.sum()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(LENGTHS, st.integers(0, 5))
def test_splits_are_disjoint_cover_all_and_keep_episodes_whole(lengths, seed):
    episode = episodes(lengths)
    parts = astuple(split_episodes(episode, seed=seed))
    assert all(len(part) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(episode)))
    owners = [set(episode[part]) for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners)) == len(lengths)
    assert all((np.diff(part) > 0).all() for part in parts)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(LENGTHS, st.integers(0, 5))
def test_the_seed_fixes_the_splits(lengths, seed):
    one, two = (astuple(split_episodes(episodes(lengths), seed=seed)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_seeds_give_other_splits():
    tests = {tuple(split_episodes(np.arange(100), seed=seed).test) for seed in range(20)}
    assert len(tests) == 20


def test_the_numbers_of_episodes_do_not_matter():
    lengths = [5, 3, 8, 2, 9]
    names = np.array([40, 7, -3, 12, 0])
    one = split_episodes(episodes(lengths), seed=0)
    two = split_episodes(names[episodes(lengths)], seed=0)
    assert sorted(map(len, astuple(one))) == sorted(map(len, astuple(two)))


@pytest.mark.parametrize(
    ("lengths", "tolerance"),
    [
        ([1000] * 100, 1e-9),
        ([5000, 1000, 800, 600, 300, 100], 0.11),
        ([1000] * 3 + [100] * 17, 0.07),
        (np.random.default_rng(0).geometric(1 / 400, size=230), 0.01),
        ([1] * 5000, 1e-9),
    ],
)
def test_shares_of_rows_are_near_the_ratios(lengths, tolerance):
    for seed in range(10):
        realised = shares(split_episodes(episodes(lengths), seed=seed))
        np.testing.assert_allclose(realised, EXPECTED, atol=tolerance)


def test_no_split_is_the_tail_of_the_file():
    """In medium-expert data the second half is another policy; all splits must hold both."""
    episode = episodes([100] * 200)
    for rows in astuple(split_episodes(episode, seed=0)):
        assert 0.25 < (rows >= 10_000).mean() < 0.75


def test_long_episodes_are_in_each_split_alike():
    lengths = np.array([10, 1000] * 100)
    totals = np.zeros(4)
    for seed in range(50):
        splits = split_episodes(episodes(lengths), seed=seed)
        totals += [(lengths[episodes(lengths)[rows]] == 1000).mean() for rows in astuple(splits)]
    np.testing.assert_allclose(totals / 50, 1000 / 1010, atol=0.003)


def test_a_ratio_of_zero_leaves_a_split_empty():
    splits = split_episodes(np.arange(10), val_ratio=0.2, cal_ratio=0, test_ratio=0.2, seed=0)
    assert [len(rows) for rows in astuple(splits)] == [6, 2, 0, 2]


@pytest.mark.parametrize("lengths", [[4000], [3000, 900, 100]])
def test_too_few_episodes_are_split_by_blocks_with_a_warning(lengths, caplog):
    episode = episodes(lengths)
    splits = split_episodes(episode, seed=0)
    assert f"{len(lengths)} episodes cannot fill 4 splits" in caplog.text
    np.testing.assert_allclose(shares(splits), EXPECTED, atol=0.03)
    owner = np.empty(len(episode), dtype=int)
    for number, rows in enumerate(astuple(splits)):
        owner[rows] = number
    borders = np.flatnonzero(np.diff(owner)) + 1
    starts = np.cumsum([0, *lengths[:-1]])
    assert all((border - starts[episode[border]]) % 100 == 0 for border in borders)


def test_four_rows_are_enough(caplog):
    splits = split_episodes(np.zeros(4), seed=0)
    assert [len(rows) for rows in astuple(splits)] == [1, 1, 1, 1]


def test_fewer_rows_than_splits_are_an_error():
    with pytest.raises(DataError, match="3 rows cannot fill 4 splits"):
        split_episodes(np.arange(3), seed=0)


@pytest.mark.parametrize(
    "ratios",
    [{"val_ratio": -0.1}, {"val_ratio": 0.8}, {"val_ratio": 1.2}, {"cal_ratio": float("nan")}],
)
def test_ratios_must_leave_rows_to_train_on(ratios):
    with pytest.raises(ConfigError, match=r"val_ratio .* leave rows to train on"):
        split_episodes(np.arange(100), seed=0, **ratios)

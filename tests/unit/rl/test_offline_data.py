import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gormpo_density.config import DataConfig
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError
from rl.offline_data import OfflineData, load_offline_data, to_device

CPU = torch.device("cpu")


def offline(
    reward: list[float], lengths: list[int], *, ends: set[int] = frozenset(), split: int = 0
) -> OfflineData:
    """Return episodes of the given lengths; those numbered in `ends` terminate."""
    n = len(reward)
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    last = np.append(np.diff(episode) != 0, True)
    terminated = last & np.isin(episode, list(ends))
    transitions = Transitions(
        obs=rng.normal(size=(n, 2)).astype(np.float32),
        action=rng.normal(size=(n, 1)).astype(np.float32),
        reward=np.array(reward, np.float32),
        next_obs=rng.normal(size=(n, 2)).astype(np.float32),
        terminated=terminated,
        truncated=last & ~terminated,
        episode=episode,
    )
    rows = np.arange(n)
    return to_device(transitions, {"train": rows[split:], "val": rows[:split]}, CPU)


def test_actions_outside_the_bounds_are_counted_but_for_rounding() -> None:
    data = offline([0.0] * 4, [4])
    data.action[:, 0] = torch.tensor([1.0, 1.0001, -1.01, 7.0])
    assert data.share_outside(-torch.ones(1), torch.ones(1)) == 0.5
    assert data.share_outside(torch.tensor([-2.0]), torch.tensor([8.0])) == 0


def test_discounted_returns_by_hand() -> None:
    """The second episode was cut: its reward is taken to have gone on."""
    data = offline([1.0, 2.0, 4.0, 8.0], [3, 1], ends={0})
    returns, known = data.discounted_returns(0.5)
    assert returns.tolist() == [1 + 1 + 1, 2 + 2, 4, 8 / (1 - 0.5)]
    assert known.all()
    assert data.discounted_returns(0.6)[1].tolist() == [True, True, True, False]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    gamma=st.sampled_from([0.1, 0.6, 0.8, 0.99]),
    ends=st.sets(st.integers(0, 4)),
    seed=st.integers(0, 9),
)
def test_discounted_returns_are_those_of_brute_force(lengths, gamma, ends, seed) -> None:
    """What a cut episode hides repeats the rows that are left, and is known if it weighs less."""
    reward = np.random.default_rng(seed).normal(size=sum(lengths))
    returns, known = offline(reward.tolist(), lengths, ends=ends).discounted_returns(gamma)
    start = 0
    for number, length in enumerate(lengths):
        for t in range(length):
            left = reward[start + t : start + length]
            repeats = 1 if number in ends else 4000 // len(left)
            total = gamma ** np.arange(repeats * len(left)) @ np.tile(left, repeats)
            assert returns[start + t].item() == pytest.approx(total, rel=1e-4, abs=1e-5)
            assert known[start + t].item() == (number in ends or gamma ** len(left) <= 0.5)
        start += length


def test_episode_returns_are_undiscounted_sums() -> None:
    data = offline([1.0, 2.0, 4.0, 8.0, 16.0], [3, 2])
    assert data.episode_returns.tolist() == [7, 24]


def test_units_of_rewards_are_those_of_training_rows() -> None:
    data = offline([100.0, 1.0, -1.0, 3.0, -3.0], [1, 4], split=1)
    assert data.reward_std == pytest.approx(math.sqrt(5))
    assert data.reward_scale == pytest.approx(2)
    assert data.reward_range == (-3, 100)


def test_rewards_without_spread_have_unit_one() -> None:
    assert offline([3.0] * 4, [4]).reward_std == 1
    assert offline([-1.7] * 1000, [1000]).reward_std == 1  # whose mean is rounded
    assert offline([0.0] * 4, [4]).reward_scale == 1


@pytest.mark.parametrize(("kind", "first"), [("state_action", "obs"), ("next_state_action", None)])
def test_rows_are_those_a_density_model_scores(kind, first) -> None:
    data = offline([0.0] * 6, [6], split=2)
    source = data.obs if first else data.next_obs
    assert torch.equal(data.rows(kind, "train"), torch.cat([source, data.action], 1)[2:])


def test_other_rows_cannot_be_scored_in_a_rollout() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.rows 'transition' cannot be scored in a rollout"
    ):
        offline([0.0] * 2, [2]).rows("transition", "train")


# The fingerprint, by which trained parts are found again ----------------------------------


def changed(value: Tensor) -> Tensor:
    other = value.clone()
    other[-1] = ~other[-1] if other.dtype == torch.bool else other[-1] + 1
    return other


@pytest.mark.parametrize("name", ["obs", "action", "reward", "next_obs", "terminated", "episode"])
def test_the_fingerprint_changes_with_any_value(name) -> None:
    data = offline([0.0] * 5, [2, 3])
    other = dataclasses.replace(data, **{name: changed(getattr(data, name))})
    assert other.fingerprint != data.fingerprint


def test_the_fingerprint_changes_with_the_splits() -> None:
    ours, same, other = (offline([0.0] * 5, [2, 3], split=n) for n in (2, 2, 0))
    assert ours.fingerprint == same.fingerprint != other.fingerprint


# Loading ----------------------------------------------------------------------------------


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(400, w)) for name, w in (("obs", 3), ("action", 2))}
    episode = np.repeat(np.arange(40), 10)
    path = tmp_path / "own.npz"
    np.savez(path, **arrays, reward=np.ones(400), next_obs=arrays["obs"] + 1, episode=episode)
    return path


def test_splits_are_by_whole_episodes_and_by_the_seed(npz) -> None:
    config = DataConfig(data_path=npz, val_ratio=0.2, cal_ratio=0.1, test_ratio=0.1)
    data, same, other = (load_offline_data(config, s, CPU, progress=False) for s in (3, 3, 4))
    sizes = {name: len(rows) for name, rows in data.splits.items()}
    assert sizes == {"train": 240, "val": 80, "cal": 40, "test": 40}
    assert data.n_episodes("val") == 8
    owners = [set(data.episode[rows].tolist()) for rows in data.splits.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 40
    assert data.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"obs_dim": 4}, "data.obs_dim is 4, but own.npz has 3"),
        ({"action_dim": 1}, "data.action_dim is 1, but own.npz has 2"),
        ({"input_dim": 6}, "data.input_dim is 6, but own.npz has 5"),
    ],
)
def test_stated_widths_must_be_those_of_the_data(npz, stated, text) -> None:
    config = DataConfig(data_path=npz, **stated)
    with pytest.raises(ConfigError) as caught:
        load_offline_data(config, 0, CPU, progress=False)
    assert list(caught.value.problems) == [text]


def test_data_with_a_nan_is_refused_by_place(tmp_path) -> None:
    obs = np.zeros((40, 2))
    obs[7, 1] = math.nan
    np.savez(tmp_path / "bad.npz", obs=obs, action=np.zeros((40, 1)), next_obs=np.zeros((40, 2)))
    with pytest.raises(DataError, match=r"bad\.npz: obs .*7"):
        load_offline_data(DataConfig(data_path=tmp_path / "bad.npz"), 0, CPU, progress=False)


def test_data_too_small_to_split_is_named(tmp_path) -> None:
    np.savez(tmp_path / "few.npz", obs=np.zeros((2, 2)), action=np.zeros((2, 1)), reward=[0, 0])
    with pytest.raises(DataError, match=r"few\.npz: .* rows cannot fill 4 splits"):
        load_offline_data(DataConfig(data_path=tmp_path / "few.npz"), 0, CPU, progress=False)


def test_where_data_came_from_is_kept() -> None:
    assert offline([0.0], [1]).info == DatasetInfo("arrays", "arrays")

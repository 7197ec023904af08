"""The range of critic targets: it must hold every value that a policy can have."""

import math

import numpy as np
import pytest
import torch

from gormpo_density.data.transitions import Transitions
from rl.assembly import reward_units
from rl.config import MOPOConfig
from rl.offline_data import OfflineData, to_device

GAMMA = 0.9


def offline(rewards: list[list[float]], terminated: bool) -> OfflineData:
    """Return an episode for each list of rewards."""
    episode = np.concatenate([np.full(len(r), i) for i, r in enumerate(rewards)])
    last = np.append(np.diff(episode) != 0, True)
    zeros = np.zeros((len(episode), 1), np.float32)
    ends = last if terminated else np.zeros_like(last)
    reward = np.concatenate(rewards).astype(np.float32)
    data = Transitions(zeros, zeros, reward, zeros, ends, last & ~ends, episode)
    return to_device(data, {"train": np.arange(len(episode))}, torch.device("cpu"))


def config(coef: float | str = 1.0) -> MOPOConfig:
    return MOPOConfig(data={"data_path": "own.npz"}, sac={"gamma": GAMMA}, penalty={"coef": coef})


def test_a_fall_is_worth_its_last_reward_even_if_no_reward_is_negative() -> None:
    """For ever, the least reward gives 5; but the episode ends there."""
    data = offline([[2.0] * 30 + [0.5]], terminated=True)
    assert reward_units(config(), data, 0.0).lowest_q == pytest.approx(0.5)


def test_an_end_can_be_better_than_any_reward_for_ever() -> None:
    """Every step costs: who ends at once loses 1, who never ends 10."""
    data = offline([[-1.0], [-1.0] * 20], terminated=True)
    units = reward_units(config(), data, 0.0)
    assert units.highest_q == pytest.approx(-1)
    assert units.lowest_q == pytest.approx(-10)


@pytest.mark.parametrize("coef", [0.0, 1.0, 4.0])
def test_the_largest_penalty_for_ever_is_within_the_range(coef: float) -> None:
    data = offline([[1.0, 3.0] * 10], terminated=True)
    assert data.reward_std == pytest.approx(1.0)
    worst = 1.0 - coef * 5.0
    expected = worst / (1 - GAMMA) if worst < 0 else worst
    assert reward_units(config(coef), data, 5.0).lowest_q == pytest.approx(expected)


def test_an_automatic_coefficient_may_grow_to_its_largest() -> None:
    data = offline([[1.0, 3.0] * 10], terminated=True)
    assert reward_units(config("auto"), data, 5.0).lowest_q == pytest.approx((1 - 5e3) * 10)


def test_above_is_the_best_return_of_the_data_and_a_fifth_of_their_range() -> None:
    data = offline([[0.0] * 9 + [1.0], [0.0, -1.0]], terminated=True)
    returns, _ = data.discounted_returns(GAMMA)
    assert returns.aminmax() == (-1, 1)
    assert reward_units(config(), data, 0.0).highest_q == pytest.approx(1 + 0.2 * 2)


def test_above_is_never_more_than_the_best_reward_for_ever() -> None:
    data = offline([[1.0] * 200, [0.0]], terminated=True)
    assert reward_units(config(), data, 0.0).highest_q == pytest.approx(10)


@pytest.mark.parametrize("length", [2, 5, 40])
def test_time_limits_do_not_lower_the_range(length: int) -> None:
    """A cut episode bootstraps, so its rows are worth 10 however early it was cut."""
    data = offline([[1.0] * length] * 3, terminated=False)
    assert reward_units(config(), data, 0.0).highest_q == pytest.approx(10)


def test_units_are_those_of_the_training_rewards() -> None:
    units = reward_units(config(), offline([[2.0, -4.0]], terminated=True), 0.0)
    assert units.scale == pytest.approx(3)
    assert units.penalty_unit == pytest.approx(3)
    assert not math.isnan(units.lowest_q)

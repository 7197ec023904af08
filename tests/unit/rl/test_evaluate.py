import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import ConfigError, DataError, ShapeError
from rl.config import NoiseConfig
from rl.evaluate import (
    Evaluation,
    check_environment,
    evaluate_policy,
    normalized_score,
    normalized_std,
    summarise_curve,
)


class Walk(gym.Env[Any, Any]):
    """A walk along a line: the reward is the action; the end is at 3 or at the seed's step."""

    def __init__(self, ends_by_itself: bool = True) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,))
        self.ends_by_itself = ends_by_itself

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        self.place, self.left = 0.0, 2 + seed % 5
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.left > 0, "stepped after the end"
        assert self.action_space.contains(action)
        self.place += float(action[0])
        self.left -= self.ends_by_itself
        return self._obs(), float(action[0]), self.place >= 3, self.left == 0, {}

    def _obs(self) -> Any:
        return np.array([self.place, self.left], dtype=np.float32)


@pytest.fixture(autouse=True)
def _walks() -> Iterator[None]:
    gym.register("Walk-v0", Walk, max_episode_steps=100)
    gym.register("EndlessWalk-v0", Walk, kwargs={"ends_by_itself": False})
    yield
    del gym.registry["Walk-v0"], gym.registry["EndlessWalk-v0"]


def constant(value: float) -> Any:
    return lambda obs: torch.full((len(obs), 1), value)


def test_each_episode_has_its_own_seed_and_ends_when_it_ends() -> None:
    result = evaluate_policy(constant(0.5), "Walk-v0", 7, seed=10, keep=2)
    assert result.lengths.tolist() == [2, 3, 4, 5, 6, 2, 3]
    assert result.returns.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0, 1.0, 1.5]
    assert result.returns.dtype == np.float64
    first, second = result.visited
    np.testing.assert_array_equal(first, [[0, 2], [0.5, 1], [1, 0]])
    assert second.shape == (4, 2)
    assert second.dtype == np.float32


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_noise_is_an_episodes_own_however_many_run_at_once(at_once: int) -> None:
    noise = NoiseConfig(action_rate=0.5, action_scale=0.2, obs_rate=0.5, obs_scale=0.3)

    def act(obs: Tensor) -> Tensor:
        return obs[:, :1].clamp(-0.5, 0.5)

    result = evaluate_policy(act, "Walk-v0", 7, at_once=at_once, keep=7, noise=noise)
    reference = evaluate_policy(act, "Walk-v0", 7, keep=7, noise=noise)
    np.testing.assert_array_equal(result.returns, reference.returns)
    for ours, theirs in zip(result.visited, reference.visited, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (result.returns != evaluate_policy(act, "Walk-v0", 7).returns).any()


@pytest.mark.parametrize("at_once", [1, 2, 3, 20])
def test_results_do_not_depend_on_how_many_run_at_once(at_once: int) -> None:
    batches = []

    def act(obs: Tensor) -> Tensor:
        batches.append(len(obs))
        return (obs.sum(1, keepdim=True) / 4).cos()

    result = evaluate_policy(act, "Walk-v0", 12, at_once=at_once, keep=12)
    assert max(batches) == min(at_once, 12)
    reference = evaluate_policy(act, "Walk-v0", 12, keep=12)
    np.testing.assert_array_equal(result.returns, reference.returns)
    np.testing.assert_array_equal(result.lengths, reference.lengths)
    for found, expected in zip(result.visited, reference.visited, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_episodes_that_are_over_cost_nothing() -> None:
    asked = []

    def act(obs: Tensor) -> Tensor:
        asked.append(len(obs))
        return torch.zeros(len(obs), 1)

    result = evaluate_policy(act, "Walk-v0", 12, at_once=5)
    assert sum(asked) == result.lengths.sum()


def test_a_mujoco_environment_used_twice_starts_afresh() -> None:
    def act(obs: Tensor) -> Tensor:
        return obs[:, :3].sin()  # entry by entry, so the size of the batch changes no bit

    together = evaluate_policy(act, "Hopper-v5", 4, seed=5)
    one_by_one = evaluate_policy(act, "Hopper-v5", 4, seed=5, at_once=1)
    np.testing.assert_array_equal(together.returns, one_by_one.returns)
    assert len(set(together.returns)) == 4


def test_actions_are_clipped_to_the_action_space() -> None:
    result = evaluate_policy(constant(5.0), "Walk-v0", 3, seed=3)
    assert result.returns.tolist() == [3.0, 3.0, 2.0]  # 1 a step; the third ends after two


def test_an_environment_without_a_limit_is_cut_at_a_thousand_steps() -> None:
    result = evaluate_policy(constant(0.0), "EndlessWalk-v0", 2)
    assert result.lengths.tolist() == [1000, 1000]


def test_the_policy_gets_float32_without_gradients_and_may_use_a_network() -> None:
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 2, 1)
    torch.nn.init.constant_(layer.weight, 0.1)
    torch.nn.init.zeros_(layer.bias)

    def act(obs: Tensor) -> Tensor:
        assert obs.dtype == torch.float32
        assert not torch.is_grad_enabled()
        action: Tensor = layer(obs)
        return action

    assert evaluate_policy(act, "Walk-v0", 1).returns[0] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_action_that_is_not_finite_is_named(value: float) -> None:
    def act(obs: Tensor) -> Tensor:
        action = torch.zeros(len(obs), 1)
        if obs[0, 1] == 2:  # the second step of the second episode
            action[1] = value
        return action

    text = f"action 0 of the policy is {value} in step 1 of episode 2"
    with pytest.raises(DataError, match=text):
        evaluate_policy(act, "Walk-v0", 3)


def test_actions_of_another_shape_and_no_episodes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"actions must have shape \(3, 1\), got \(3, 2\)"):
        evaluate_policy(lambda obs: obs, "Walk-v0", 3)
    with pytest.raises(ConfigError, match="an evaluation needs an episode, got 0"):
        evaluate_policy(constant(0.0), "Walk-v0", 0)
    with pytest.raises(ConfigError, match=r"cannot act in action space Discrete\(2\)"):
        evaluate_policy(constant(0.0), "CartPole-v1", 1)


# Mean and spread ---------------------------------------------------------------------------


def test_the_interval_is_students() -> None:
    returns = np.array([100.0, 120.0, 90.0, 150.0, 110.0])
    result = Evaluation(returns, np.full(5, 10))
    assert result.return_mean == 114
    assert result.return_std == pytest.approx(np.sqrt(np.mean((returns - 114) ** 2)))
    expected = stats.ttest_1samp(returns, 0.0).confidence_interval(0.95)
    assert result.interval == pytest.approx((114, expected.low, expected.high))


def test_one_episode_tells_nothing_and_equal_ones_leave_no_doubt() -> None:
    estimate, low, high = Evaluation(np.ones(1), np.ones(1, int)).interval
    assert estimate == 1
    assert math.isnan(low)
    assert math.isnan(high)
    assert Evaluation(np.full(9, 7.0), np.ones(9, int)).interval == (7, 7, 7)


# Normalised scores -------------------------------------------------------------------------

D4RL_HOPPER = DatasetInfo("mine.npz", "file", env_id="Hopper-v5")


@pytest.mark.parametrize(("return_", "score"), [(-20.272305, 0), (3234.3, 100), (1607.01, 50.0)])
def test_scores_of_hopper_are_d4rls(return_: float, score: float) -> None:
    assert normalized_score(return_, D4RL_HOPPER) == pytest.approx(score, abs=1e-3)
    result = Evaluation(np.array([return_]), np.ones(1, int))
    assert result.normalized(D4RL_HOPPER) == pytest.approx(score, abs=1e-3)


def test_a_spread_is_scaled_and_never_shifted() -> None:
    """Subtracting the random policy's return from a standard deviation is a known mistake."""
    info = DatasetInfo("a", "minari", env_id="X-v0", ref_min_score=-100.0, ref_max_score=300.0)
    low, high = normalized_score(40.0, info), normalized_score(60.0, info)
    assert low is not None
    assert high is not None
    assert normalized_std(20.0, info) == pytest.approx(high - low)
    assert normalized_std(0.0, info) == 0
    assert normalized_std(20.0, D4RL_HOPPER) == pytest.approx(100 * 20 / 3254.572305)


@pytest.mark.parametrize(
    "info",
    [
        DatasetInfo("a", "file"),
        DatasetInfo("a", "file", env_id="Ant-v5"),
        DatasetInfo("a", "file", env_id="TallHopper-v5"),
        DatasetInfo("a", "file", env_id="Ant-v5", ref_min_score=3.0),
        DatasetInfo("a", "file", env_id="Ant-v5", ref_min_score=3.0, ref_max_score=3.0),
    ],
)
def test_without_references_there_is_no_score(info: DatasetInfo) -> None:
    assert normalized_score(1.0, info) is None
    assert normalized_std(1.0, info) is None


def test_references_of_the_data_come_first() -> None:
    info = DatasetInfo("a", "minari", env_id="Hopper-v5", ref_min_score=0.0, ref_max_score=200.0)
    assert normalized_score(50.0, info) == 25


# Before training ---------------------------------------------------------------------------


def test_an_environment_that_fits_the_data_passes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    low, high = check_environment("InvertedPendulum-v5", 4, 1)
    assert (low.tolist(), high.tolist()) == ([-3.0], [3.0])
    check_environment("HalfCheetah-v5", 17, 6)
    assert not any(tmp_path.iterdir())  # MuJoCo would leave a log file


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("Hoper-v5", "'Hoper-v5' cannot be made: .*Did you mean: `Hopper`"),
        ("no_such_module:Env-v0", "cannot be made: No module named 'no_such_module'"),
        ("not an id", "'not an id' cannot be made: Malformed"),
        ("CartPole-v1", r"has action space Discrete\(2\), the data's actions have 3 entries"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named_in_one_line(env_id: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        check_environment(env_id, 4, 3)
    assert all("\n" not in problem for problem in caught.value.problems)


def test_actions_without_bounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space = property(lambda _: gym.spaces.Box(-np.inf, np.inf, (1,)), lambda *_: None)
    monkeypatch.setattr(Walk, "action_space", space, raising=False)
    with pytest.raises(ConfigError, match="environment 'Walk-v0' has actions without bounds"):
        check_environment("Walk-v0", 2, 1)


def test_every_space_of_another_width_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_environment("Hopper-v5", 17, 6)
    assert caught.value.problems == (
        "environment 'Hopper-v5' has observation space Box(11,), "
        "the data's observations have 17 entries",
        "environment 'Hopper-v5' has action space Box(3,), the data's actions have 6 entries",
    )


# Learning curves ---------------------------------------------------------------------------


def test_last_mean_of_ten_and_best_are_told_apart() -> None:
    curve = [900.0, *range(10), 50.0]
    assert summarise_curve(curve) == {
        "return_last": 50.0,
        "return_last10_mean": pytest.approx((sum(range(1, 10)) + 50) / 10),
        "return_best": 900.0,
    }
    assert set(summarise_curve([3.0]).values()) == {3.0}
    with pytest.raises(DataError, match="at least one evaluation, got 0"):
        summarise_curve([])

"""Noise of actuators and sensors: how often, how much, where it is cut, whose seed it follows."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rl.config import NoiseConfig
from rl.noise import NoisyActions, NoisyObservations, add_noise

STEPS = 4000


class Mirror(gym.Env[Any, Any]):
    """Shows the action that it was given."""

    def __init__(self, reach: float = 100.0) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gym.spaces.Box(-reach, reach, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.asarray(action), float(action[0]), False, False, {}


def steps(env: gym.Env[Any, Any], seed: int = 0, value: float = 5.0, n: int = STEPS) -> np.ndarray:
    env.reset(seed=seed)
    return np.stack([env.step(np.full(2, value, np.float32))[0] for _ in range(n)])


@pytest.mark.parametrize("wrapper", [NoisyActions, NoisyObservations])
def test_rate_mean_and_spread_are_those_asked_for(wrapper: type[Any]) -> None:
    noise = steps(wrapper(Mirror(), 0.3, 1.0, 0.5)) - 5.0
    perturbed = noise[(noise != 0).any(axis=1)]
    assert len(perturbed) / STEPS == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(perturbed.mean(axis=0), 1.0, atol=0.06)
    np.testing.assert_allclose(perturbed.std(axis=0), 0.5, rtol=0.08)
    assert abs(np.corrcoef(perturbed.T)[0, 1]) < 0.1  # entries are perturbed independently


def test_actions_stay_within_their_space() -> None:
    seen = steps(NoisyActions(Mirror(reach=1.0), 1.0, 0.0, 3.0), value=0.0, n=200)
    assert seen.min() == -1.0
    assert seen.max() == 1.0
    assert seen.dtype == np.float32


def test_sensors_that_err_leave_rewards_alone_and_show_the_first_state_too() -> None:
    env = NoisyObservations(Mirror(), 1.0, 0.0, 1.0)
    first, _ = env.reset(seed=3)
    assert (first != 0).all()
    obs, reward, *_ = env.step(np.full(2, 5.0, np.float32))
    assert reward == 5.0
    assert (obs != 5.0).all()


def test_a_seed_gives_the_same_noise_and_the_two_noises_differ() -> None:
    def both() -> gym.Env[Any, Any]:
        return add_noise(Mirror(), NoiseConfig(action_rate=1, obs_rate=1, action_scale=1))

    np.testing.assert_array_equal(steps(both(), 7, n=50), steps(both(), 7, n=50))
    assert (steps(both(), 7, n=50) != steps(both(), 8, n=50)).all()
    sensed, acted = (
        steps(wrapper(Mirror(), 1.0, 0.0, 1.0), n=50)
        for wrapper in (NoisyObservations, NoisyActions)
    )
    assert (sensed[1:] != acted[1:]).all()


def test_without_a_rate_an_environment_is_left_as_it_is() -> None:
    env = Mirror()
    assert add_noise(env, None) is env
    assert add_noise(env, NoiseConfig(action_scale=5.0, loc=1.0)) is env
    assert isinstance(add_noise(env, NoiseConfig(action_rate=0.5)), NoisyActions)
    assert isinstance(add_noise(env, NoiseConfig(obs_rate=0.5)), NoisyObservations)

import math
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from gormpo_density.data.behaviour import collect, load_policy, mujoco_warnings_logged
from gormpo_density.errors import ConfigError
from rl.simulator import Simulator, open_simulator

CLIPPED = {"Hopper-v5": "hopper", "Walker2d-v5": "walker2d"}
ENVIRONMENTS = {
    **CLIPPED,
    "HalfCheetah-v5": "halfcheetah",
    "InvertedPendulum-v5": "inverted_pendulum",
}


class Recorded:
    """Steps of the medium policy, whose observations a file would keep in float32."""

    def __init__(self, env_id: str) -> None:
        rng = np.random.default_rng(0)
        policy = load_policy(ENVIRONMENTS[env_id], "medium")
        episodes = collect(env_id, policy, 300, rng, progress=False)
        self.obs = np.concatenate([e.obs[:-1] for e in episodes]).astype(np.float32)
        self.next_obs = np.concatenate([e.obs[1:] for e in episodes]).astype(np.float32)
        self.action = np.concatenate([e.action for e in episodes])


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recorded(env_id: str) -> Recorded:
    return Recorded(env_id)


@pytest.fixture
def simulator(env_id: str) -> Iterator[Simulator]:
    with open_simulator(env_id) as opened:
        yield opened


def test_recorded_steps_are_reproduced(simulator: Simulator, recorded: Recorded) -> None:
    rows = simulator.is_state(recorded.obs)
    assert rows.mean() > 0.5
    found = simulator.observe(simulator.advance(recorded.obs[rows], recorded.action[rows]))
    scale = recorded.obs.std(0)
    error = np.abs(found - recorded.next_obs[rows]) / scale
    assert error.max() < 1e-4


def test_a_clipped_velocity_is_known_and_cannot_be_restored(
    env_id: str, simulator: Simulator, recorded: Recorded
) -> None:
    assert simulator.velocity_limit == (10 if env_id in CLIPPED else math.inf)
    rows = ~simulator.is_state(recorded.obs)
    assert rows.any() == (env_id in CLIPPED)
    if rows.any():
        found = simulator.observe(simulator.advance(recorded.obs[rows], recorded.action[rows]))
        error = np.linalg.norm((found - recorded.next_obs[rows]) / recorded.obs.std(0), axis=1)
        assert np.median(error) > 1e-3


def test_a_row_does_not_depend_on_those_before_it(
    simulator: Simulator, recorded: Recorded
) -> None:
    obs, action = recorded.obs[:20], recorded.action[:20]
    forward = simulator.advance(obs, action)
    backward = simulator.advance(obs[::-1], action[::-1])[::-1]
    np.testing.assert_array_equal(forward, backward)
    assert simulator.advance(obs[:0], action[:0]).shape == (0, obs.shape[1])


def test_steps_from_true_states_follow_an_episode(env_id: str, simulator: Simulator) -> None:
    """A state keeps the velocities that an observation would clip, so it can go on and on."""
    policy = load_policy(ENVIRONMENTS[env_id], "medium")
    (episode, *_) = collect(env_id, policy, 40, np.random.default_rng(3), progress=False)
    state = episode.obs[:1]
    for step in range(min(len(episode), 25)):
        assert np.allclose(simulator.observe(state), episode.obs[step], atol=1e-3)
        state = simulator.advance(state, episode.action[step : step + 1])


def test_observe_clips_velocities_alone() -> None:
    with open_simulator("Hopper-v5") as simulator:
        state = np.full((2, 11), 50.0)
        state[1] *= -1
        expected = [50.0] * 5 + [10.0] * 6
        assert simulator.observe(state).tolist() == [expected, [-x for x in expected]]
        assert state[0, -1] == 50
        assert simulator.is_state(np.full((1, 11), 9.99)).all()
        assert not simulator.is_state(np.full((1, 11), -10.0)).any()


@pytest.mark.parametrize(
    "env_id", ["Ant-v5", "Reacher-v5", "InvertedDoublePendulum-v5", "CartPole-v1", "Pendulum-v1"]
)
def test_environments_whose_observations_are_not_their_state_are_refused(env_id: str) -> None:
    text = f"the state of {env_id!r} cannot be set from its observations"
    with pytest.raises(ConfigError, match=text), open_simulator(env_id):
        pass


def test_an_observation_in_another_order_is_noticed() -> None:
    with mujoco_warnings_logged(), gym.make("Hopper-v5") as env:
        hopper: Any = env.unwrapped
        observe = hopper._get_obs
        hopper._get_obs = lambda: observe()[::-1].copy()
        with pytest.raises(ConfigError, match="'mine' cannot be set from its observations"):
            Simulator("mine", hopper)

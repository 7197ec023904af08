"""MuJoCo put into the state that an observation shows: what truly follows it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray

from gormpo_density.data.behaviour import mujoco_warnings_logged
from gormpo_density.errors import ConfigError
from rl.evaluate import make_environment

Array = NDArray[np.floating[Any]]

_FAST = 30.0  # velocities that an environment which clips them would not show
_TOLERANCE = 1e-4


class Simulator:
    """Steps of an environment from any of its states.

    A state (S,) holds the positions but for those along the track, on which nothing depends, then
    the velocities. An observation is a state whose velocities are clipped, in some environments.

    Args:
        env_id: Gymnasium id of `env`.
        env: A MuJoCo environment whose observations are its positions and velocities.

    Attributes:
        velocity_limit: Largest velocity that an observation shows; inf where none is clipped.
        action_low: (A,) lowest action.
        action_high: (A,) highest action.

    Raises:
        ConfigError: The state cannot be set from an observation.
    """

    def __init__(self, env_id: str, env: Any) -> None:
        self._env = env
        problem = f"the state of {env_id!r} cannot be set from its observations"
        if not isinstance(env, MujocoEnv) or not isinstance(env.action_space, spaces.Box):
            raise ConfigError(problem)
        model = self._env.model
        self._hidden = model.nq + model.nv - self._env.observation_space.shape[0]
        self._n_shown = model.nq - self._hidden
        self.action_low, self.action_high = env.action_space.low, env.action_space.high
        self.velocity_limit = math.inf
        if self._hidden < 0 or not self._shows_its_state():
            raise ConfigError(problem)
        self.velocity_limit = self._find_velocity_limit()

    def advance(self, state: Array, action: Array) -> Array:
        """Return the states (B, S) that follow states (B, S) under actions (B, A)."""
        following = np.empty(state.shape)
        for row, (one, act) in enumerate(zip(state, action, strict=True)):
            following[row], _ = self._step(one, act)
        return following

    def observe(self, state: Array) -> Array:
        """Return what the environment shows of states, both (B, S)."""
        obs: Array = state.copy()
        velocity = obs[:, self._n_shown :]
        np.clip(velocity, -self.velocity_limit, self.velocity_limit, out=velocity)
        return obs

    def is_state(self, obs: Array) -> NDArray[np.bool_]:
        """Return where an observation (B, S) is the state: no velocity may have been clipped."""
        speed = np.abs(obs[:, self._n_shown :])
        return np.asarray((speed < self.velocity_limit).all(axis=1))

    def _step(self, state: Array, action: Array) -> tuple[Array, Array]:
        """Return the next state and the observation of it."""
        env = self._env
        mujoco.mj_resetData(env.model, env.data)  # forget where the solver's last search ended
        position = np.concatenate([np.zeros(self._hidden), state[: self._n_shown]])
        env.set_state(position, state[self._n_shown :])
        obs = env.step(action)[0]
        return np.concatenate([env.data.qpos[self._hidden :], env.data.qvel]), obs

    def _shows_its_state(self) -> bool:
        """Whether setting the state by an observation changes nothing about the next one."""
        obs, _ = self._env.reset(seed=0)
        expected = self._env.step(self.action_high)[0]
        found = self._step(obs, self.action_high)[1]
        return np.allclose(found, expected, atol=_TOLERANCE)

    def _find_velocity_limit(self) -> float:
        """Return the largest velocity shown after a step at velocities that are larger."""
        start = self._env.init_qpos[self._hidden :], np.full(self._env.model.nv, _FAST)
        state, obs = self._step(np.concatenate(start), np.zeros_like(self.action_high))
        is_clipped = np.abs(state - obs) > _TOLERANCE
        return float(np.abs(obs[is_clipped]).max()) if is_clipped.any() else math.inf


@contextmanager
def open_simulator(env_id: str) -> Iterator[Simulator]:
    """Make the simulator of an environment, whose warnings go to the log while it is open.

    Raises:
        ConfigError: The environment cannot be made, or is none whose state can be set.
    """
    with mujoco_warnings_logged(), make_environment(env_id) as env:
        yield Simulator(env_id, env.unwrapped)

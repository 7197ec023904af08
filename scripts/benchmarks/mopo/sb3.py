"""The peer: the update of stable-baselines3's SAC, on a replay buffer with the same rows."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl.offline_data import OfflineData

PACKAGE = "stable_baselines3"


class _Spaces(gym.Env[np.ndarray, np.ndarray]):
    """Widths of states and actions; nobody steps it."""

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (obs_dim,))
        self.action_space = spaces.Box(-1.0, 1.0, (action_dim,))

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(self.observation_space.shape or (), np.float32), {}


def updates(data: OfflineData, n_rows: int, batch_size: int) -> Callable[[int], None]:
    """Return a function that does so many updates of SAC at its defaults, nets [256, 256].

    Args:
        data: Whose first rows fill the replay buffer.
        n_rows: Number of them.
        batch_size: Rows an update.
    """
    env = _Spaces(data.obs_dim, data.action_dim)
    sac = import_module(PACKAGE).SAC("MlpPolicy", env, buffer_size=n_rows, device="cpu")
    sac.set_logger(import_module(f"{PACKAGE}.common.logger").Logger(None, []))
    names = ("obs", "next_obs", "action", "reward", "terminated")
    columns = (getattr(data, name)[:n_rows, None].numpy() for name in names)
    sac.replay_buffer.extend(*columns, [[{}]] * n_rows)

    def update(count: int) -> None:
        sac.train(count, batch_size)

    return update

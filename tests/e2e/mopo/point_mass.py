"""A point on a line that is paid for being near 0; importing this module registers it."""

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

LIMIT = 3.0


class PointMass(gym.Env):
    """x' = x + 0.3 a + noise; the reward is 1 - |x'|, and beyond 3 the episode ends.

    From |x| <= 2, 20 steps: who goes to 0 and stays there gets about 16 on average.
    """

    def __init__(self, n_dims: int = 1) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (n_dims,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-2, 2)
        return self._obs(), {}

    def step(self, action):
        self.x += 0.3 * float(action[0]) + 0.02 * self.np_random.normal()
        return self._obs(), 1 - abs(self.x), abs(self.x) > LIMIT, False, {}

    def _obs(self):
        return np.full(self.observation_space.shape, self.x, np.float32)


def beyond(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return the environment's own rule."""
    return next_obs[:, 0].abs() > LIMIT


def rows_are_ends(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return a rule that is wrong: its result is no bool."""
    return torch.zeros(len(obs))


gym.register("PointMass-v0", PointMass, max_episode_steps=20)
gym.register("WidePointMass-v0", PointMass, max_episode_steps=20, kwargs={"n_dims": 2})


def behave(episodes: int, seed: int) -> tuple[dict[str, np.ndarray], float]:
    """Return the data of a policy that goes to 1 instead, clumsily, and its mean return."""
    env, rng = gym.make("PointMass-v0", disable_env_checker=True), np.random.default_rng(seed)
    columns: dict[str, list] = {}
    for episode in range(episodes):
        obs, _ = env.reset(seed=seed + episode)
        is_over = False
        while not is_over:
            action = np.clip(1 - obs + rng.normal(size=1) * 0.6, -1, 1).astype(np.float32)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            row = {"obs": obs, "action": action, "reward": reward, "next_obs": next_obs}
            row |= {"terminated": terminated, "truncated": truncated, "episode": episode}
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
            obs, is_over = next_obs, terminated or truncated
    arrays = {name: np.array(values) for name, values in columns.items()}
    return arrays, float(arrays["reward"].sum() / episodes)

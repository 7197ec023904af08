"""Behaviour policies shipped as small numpy weights, and rolling them out in Gymnasium.

The weights come from `scripts/train_behaviour.py`; `weights/returns.json` holds their measured
returns. They make the embedded datasets of `gormpo_density.data.minari`.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from tqdm import tqdm

from gormpo_density.errors import ConfigError

logger = logging.getLogger(__name__)

Array = NDArray[np.floating[Any]]
Policy = Callable[[Array, np.random.Generator], Array]

ENV_IDS = {
    "hopper": "Hopper-v5",
    "halfcheetah": "HalfCheetah-v5",
    "walker2d": "Walker2d-v5",
    "inverted_pendulum": "InvertedPendulum-v5",
}
REPLAY = ("replay-0", "replay-1", "replay-2", "replay-3", "medium")
"""The snapshots whose mixture is `medium-replay`: early training up to the medium policy."""

_OBS_CLIP = 10.0  # VecNormalize's default, in force while the policies were trained


@dataclass(frozen=True)
class BehaviourPolicy:
    """A tanh network whose Gaussian noise is truncated to the action space.

    a ~ N(m(s), std^2) restricted to [low, high], with m = W3 tanh(W2 tanh(W1 z)) of the
    standardised observation z; biases are left out here.
    Truncated rather than clipped, because clipping piles actions up on the bounds, where no
    density exists.

    Attributes:
        obs_mean: (O,) mean of the observations seen in training.
        obs_std: (O,) their standard deviation.
        weights: Matrices of shape (inputs, outputs), first layer first.
        biases: One (outputs,) vector for each matrix.
        std: (A,) standard deviation of the noise.
        low: (A,) lower bound of the actions.
        high: (A,) upper bound.
    """

    obs_mean: Array
    obs_std: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    std: Array
    low: Array
    high: Array

    def mean(self, obs: Array) -> Array:
        """Return the centre of the noise, (O,) -> (A,); it may lie outside the bounds."""
        hidden = np.clip((obs - self.obs_mean) / self.obs_std, -_OBS_CLIP, _OBS_CLIP)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.tanh(hidden @ weight + bias)
        mean: Array = hidden @ self.weights[-1] + self.biases[-1]
        return mean

    def __call__(self, obs: Array, rng: np.random.Generator) -> Array:
        """Draw an action, (O,) -> (A,) float32, by inverting the truncated normal's CDF."""
        # Farther out, the normal's mass inside the bounds is lost to rounding.
        mean = np.clip(self.mean(obs), self.low - 5 * self.std, self.high + 5 * self.std)
        lowest, highest = ndtr((self.low - mean) / self.std), ndtr((self.high - mean) / self.std)
        action = mean + self.std * ndtri(rng.uniform(lowest, highest))
        return np.clip(action, self.low, self.high).astype(np.float32)

    def deterministic(self, obs: Array, rng: np.random.Generator) -> Array:
        """Return the mean action, clipped, (O,) -> (A,) float32; `rng` is not used."""
        return np.clip(self.mean(obs), self.low, self.high).astype(np.float32)


@dataclass(frozen=True)
class UniformPolicy:
    """Uniform actions in [low, high], whatever the observation.

    Attributes:
        low: (A,) lower bound of the actions.
        high: (A,) upper bound.
    """

    low: Array
    high: Array

    def __call__(self, obs: Array, rng: np.random.Generator) -> Array:
        """Draw an action, (A,) float32."""
        return rng.uniform(self.low, self.high).astype(np.float32)


@dataclass(frozen=True)
class Episode:
    """One episode of T steps, with the T + 1 observations around them.

    Attributes:
        seed: Given to `env.reset`.
        obs: (T + 1, O).
        action: (T, A) float32.
        reward: (T,).
        terminated: The environment ended the episode.
        truncated: A time limit or the requested number of steps ended it.
    """

    seed: int
    obs: Array
    action: Array
    reward: Array
    terminated: bool
    truncated: bool

    def __len__(self) -> int:
        return len(self.reward)


def load_policy(env: str, level: str) -> BehaviourPolicy | UniformPolicy:
    """Return a behaviour policy.

    Args:
        env: A key of `ENV_IDS`.
        level: "random" (uniform actions), "medium", "expert" or one of `REPLAY`.

    Raises:
        ConfigError: No such environment or level.
    """
    if level == "random" and env in ENV_IDS:
        with mujoco_warnings_logged(), gym.make(ENV_IDS[env]) as made:
            assert isinstance(made.action_space, gym.spaces.Box)
            return UniformPolicy(made.action_space.low, made.action_space.high)
    file = resources.files(__package__) / "weights" / f"{env}-{level}.npz"
    if not file.is_file():
        raise ConfigError(f"no behaviour policy {level!r} for {env!r}")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return policy_from_arrays(arrays)


def policy_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> BehaviourPolicy:
    """Build a policy from a mapping of its array names (w0, b0, w1, ...) to arrays."""
    layers = range(sum(name.startswith("w") for name in arrays))
    vectors = ("obs_mean", "obs_std", "std", "low", "high")
    return BehaviourPolicy(
        weights=tuple(arrays[f"w{i}"].astype(np.float64) for i in layers),
        biases=tuple(arrays[f"b{i}"].astype(np.float64) for i in layers),
        **{name: arrays[name].astype(np.float64) for name in vectors},
    )


def measured_returns() -> list[dict[str, Any]]:
    """Return the rows of `weights/returns.json`: what was measured of each shipped policy."""
    file = resources.files(__package__) / "weights" / "returns.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


def collect(
    env_id: str, policy: Policy, n_steps: int, rng: np.random.Generator, *, progress: bool = True
) -> list[Episode]:
    """Roll a policy out for exactly `n_steps` steps; the last episode may be cut (truncated).

    Args:
        env_id: Gymnasium id.
        policy: Maps an observation and `rng` to an action.
        n_steps: Transitions over all episodes.
        rng: Seeds the environment and draws the policy's noise.
        progress: Show a progress bar.
    """
    episodes = []
    with (
        mujoco_warnings_logged(),
        gym.make(env_id) as env,
        tqdm(total=n_steps, desc=env_id, unit="step", disable=not progress) as bar,
    ):
        left = n_steps
        while left:
            episodes.append(rollout(env, policy, rng, left))
            left -= len(episodes[-1])
            bar.update(len(episodes[-1]))
    return episodes


@contextmanager
def mujoco_warnings_logged() -> Iterator[None]:
    """Send MuJoCo's warnings to the log (DEBUG).

    MuJoCo prints them and writes a file MUJOCO_LOG.TXT into the working folder; its version 4 does
    so whenever a HalfCheetah is made, whose model file uses a deprecated attribute.
    """
    import mujoco

    mujoco.set_mju_user_warning(lambda text: logger.debug("MuJoCo: %s", text))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)


def rollout(
    env: gym.Env[Any, Any], policy: Policy, rng: np.random.Generator, max_steps: int
) -> Episode:
    """Run one episode of at most `max_steps` steps; one that is cut there counts as truncated."""
    seed = int(rng.integers(2**31))
    obs, actions, rewards = [env.reset(seed=seed)[0]], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        actions.append(policy(obs[-1], rng))
        next_obs, reward, terminated, truncated, _ = env.step(actions[-1])
        obs.append(next_obs)
        rewards.append(float(reward))
        truncated = truncated or len(rewards) == max_steps
    ended = terminated, truncated and not terminated
    return Episode(seed, np.stack(obs), np.stack(actions), np.array(rewards), *ended)

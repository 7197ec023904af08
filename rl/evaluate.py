"""Measuring a policy in the environment, and what its returns are called.

Returns are undiscounted. A standard deviation here is one over episodes of one policy; that over
training seeds is another number, see `gormpo_density.aggregate`.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.aggregate import mean_interval
from gormpo_density.data.behaviour import ENV_IDS, mujoco_warnings_logged
from gormpo_density.data.minari import reference_scores
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import ConfigError, DataError, ShapeError
from gormpo_density.metrics import Interval
from rl.config import NoiseConfig
from rl.noise import add_noise
from rl.termination import environment_family

Env = gym.Env[Any, Any]

_STEP_LIMIT = 1000  # of environments that set none themselves


class Actor(Protocol):
    """A policy as the environment sees it."""

    def __call__(self, obs: Tensor, /) -> Tensor:
        """Return actions (B, A) in the environment's units for observations (B, O)."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy did in n episodes.

    Attributes:
        returns: (n,) float64, sum of each episode's rewards, undiscounted.
        lengths: (n,) int64, steps of each episode.
        visited: Observations (length + 1, O) of the first episodes, as many as were asked for.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    visited: tuple[NDArray[np.float32], ...] = ()

    @property
    def return_mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def return_std(self) -> float:
        """Standard deviation of the return over episodes (division by n)."""
        return float(self.returns.std())

    @property
    def interval(self) -> Interval:
        """Mean return with its 95 % interval over episodes (Student t); nan ends for one."""
        return mean_interval(self.returns)

    def normalized(self, info: DatasetInfo) -> float | None:
        """Return the normalised score of the mean return, see `normalized_score`."""
        return normalized_score(self.return_mean, info)


@dataclass
class _Episode:
    """An episode under way in an environment of its own until it is over."""

    number: int
    env: Env
    obs: NDArray[np.floating[Any]]
    keeps: bool
    total: float = 0.0
    length: int = 0
    is_over: bool = False
    visited: list[NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._keep()

    def step(self, action: NDArray[np.floating[Any]]) -> None:
        self.obs, reward, terminated, truncated, _ = self.env.step(action)
        self.total += float(reward)
        self.length += 1
        self.is_over = terminated or truncated
        self._keep()

    def _keep(self) -> None:
        if self.keeps:
            self.visited.append(np.asarray(self.obs, np.float32))


def evaluate_policy(
    act: Actor,
    env_id: str,
    episodes: int = 50,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    at_once: int = 50,
    keep: int = 0,
    noise: NoiseConfig | None = None,
) -> Evaluation:
    """Run a policy for some episodes, many at a time with one call of the policy for all.

    Episode i starts from `env.reset(seed=seed + i)`, so a deterministic policy meets the same
    episodes however many run at once (up to rounding, where a product of matrices depends on the
    number of its rows). An environment that is done takes the next episode or leaves the batch.

    Args:
        act: Maps observations (B, O), float32 on `device`, to actions (B, A) in the environment's
            units; actions are clipped to its action space. Called without gradients.
        env_id: Gymnasium id. Without a step limit of its own, an episode is cut at 1,000 steps.
        episodes: Number of episodes.
        seed: Seed of the first episode.
        device: Where `act` wants its observations.
        at_once: Most environments at a time.
        keep: Number of first episodes whose observations are kept.
        noise: Of actions and observations, drawn anew for every episode from its seed.

    Returns:
        Returns and lengths by episode number.

    Raises:
        ConfigError: The environment cannot be made or its actions are no vectors, or there are
            no episodes.
        ShapeError: The actions have another shape than the environment's.
        DataError: An action is NaN or infinite (entry, step and episode named).
    """
    if min(episodes, at_once) < 1:
        raise ConfigError(f"an evaluation needs an episode, got {episodes}, {at_once} at once")
    finished: list[_Episode] = []
    waiting = deque(range(episodes))
    with mujoco_warnings_logged(), ExitStack() as stack:
        made = (add_noise(make_environment(env_id), noise) for _ in range(min(episodes, at_once)))
        free = [stack.enter_context(env) for env in made]
        running: list[_Episode] = []
        while running or waiting:
            while free and waiting:
                number, env = waiting.popleft(), free.pop()
                obs, _ = env.reset(seed=seed + number)
                running.append(_Episode(number, env, obs, number < keep))
            for episode, action in zip(running, _actions(act, running, device), strict=True):
                episode.step(action)
            over = [episode for episode in running if episode.is_over]
            running = [episode for episode in running if not episode.is_over]
            free += [episode.env for episode in over]
            finished += over
    finished.sort(key=lambda episode: episode.number)
    return Evaluation(
        returns=np.array([episode.total for episode in finished]),
        lengths=np.array([episode.length for episode in finished]),
        visited=tuple(np.stack(episode.visited) for episode in finished[:keep]),
    )


def _actions(
    act: Actor, running: Sequence[_Episode], device: torch.device | str
) -> NDArray[np.floating[Any]]:
    """Return the policy's actions (B, A), checked and clipped."""
    obs = np.stack([episode.obs for episode in running]).astype(np.float32)
    with torch.no_grad():
        actions = act(torch.from_numpy(obs).to(device)).cpu().numpy()
    space = running[0].env.action_space
    if not isinstance(space, gym.spaces.Box):
        raise ConfigError(f"a policy of vectors cannot act in action space {space}")
    if actions.shape != (len(running), *space.shape):
        raise ShapeError(
            f"actions must have shape {(len(running), *space.shape)}, got {actions.shape}"
        )
    if not np.isfinite(actions).all():
        row, column = np.argwhere(~np.isfinite(actions))[0]
        raise DataError(
            f"action {column} of the policy is {actions[row, column]} in step "
            f"{running[row].length + 1} of episode {running[row].number + 1}"
        )
    clipped: NDArray[np.floating[Any]] = np.clip(actions, space.low, space.high)
    return clipped


def check_environment(env_id: str, obs_dim: int, action_dim: int) -> tuple[Tensor, Tensor]:
    """Make sure that an environment exists and has the spaces of the data.

    Args:
        env_id: Gymnasium id.
        obs_dim: Width of the data's observations.
        action_dim: Width of the data's actions.

    Returns:
        Lowest and highest action, each (A,) float32.

    Raises:
        ConfigError: It cannot be made, or a space is not a vector (Box) of the data's width, or
            an action is not bounded.
    """
    with mujoco_warnings_logged(), make_environment(env_id) as env:
        spaces = {
            "observation": (env.observation_space, obs_dim),
            "action": (env.action_space, action_dim),
        }
    problems = [
        f"environment {env_id!r} has {name} space {_describe(space)}, "
        f"the data's {name}s have {width} entries"
        for name, (space, width) in spaces.items()
        if not isinstance(space, gym.spaces.Box) or space.shape != (width,)
    ]
    if problems:
        raise ConfigError(problems)
    assert isinstance(env.action_space, gym.spaces.Box)
    if not env.action_space.is_bounded():
        raise ConfigError(f"environment {env_id!r} has actions without bounds")
    low, high = env.action_space.low, env.action_space.high
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)


def _describe(space: gym.Space[Any]) -> str:
    return f"Box{space.shape}" if isinstance(space, gym.spaces.Box) else str(space)


def make_environment(env_id: str) -> Env:
    """Return an environment whose episodes end, after 1,000 steps where it sets no limit itself.

    MuJoCo's are to be made and used within `mujoco_warnings_logged`.

    Raises:
        ConfigError: The id is unknown, or something that it needs is not installed.
    """
    try:
        env = gym.make(env_id, disable_env_checker=True)
    except (gym.error.Error, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"environment {env_id!r} cannot be made: {reason}") from error
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env
    return gym.wrappers.TimeLimit(env, _STEP_LIMIT)


def normalized_score(return_: float, info: DatasetInfo) -> float | None:
    """Return 100 (R - R_random) / (R_expert - R_random), or None without reference returns.

    A label more than a measure: the references are the data set's own where it has them, else
    D4RL's, which were measured in older versions of the environments.

    Args:
        return_: Mean undiscounted return R.
        info: Where the data came from.

    Source:
        Fu et al. 2020, "D4RL", arXiv:2004.07219.
    """
    if (reference := _reference(info)) is None:
        return None
    low, high = reference
    return 100 * (return_ - low) / (high - low)


def normalized_std(std: float, info: DatasetInfo) -> float | None:
    """Return 100 std / (R_expert - R_random): a spread is scaled, never shifted."""
    if (reference := _reference(info)) is None:
        return None
    low, high = reference
    return 100 * std / (high - low)


def _reference(info: DatasetInfo) -> tuple[float, float] | None:
    """Return (R_random, R_expert) of the data, or of its environment, where they differ."""
    reference = info.ref_min_score, info.ref_max_score
    if None in reference and info.env_id is not None:
        family = environment_family(info.env_id)
        for name, env_id in ENV_IDS.items():
            if environment_family(env_id) == family:
                reference = reference_scores(name)
    low, high = reference
    return None if low is None or high is None or not low < high else (low, high)


def summarise_curve(returns: Sequence[float]) -> dict[str, float]:
    """Return the three numbers that papers take from a learning curve, under their own names.

    Args:
        returns: Mean returns of the evaluations during training, in order.

    Returns:
        return_last: The last evaluation.
        return_last10_mean: Mean of the last ten, or of all where there are fewer.
        return_best: The largest. Chosen with the environment's help, so offline it can only be
            told, never be reported as the result.

    Raises:
        DataError: There are no evaluations.
    """
    if not returns:
        raise DataError("a learning curve needs at least one evaluation, got 0")
    return {
        "return_last": float(returns[-1]),
        "return_last10_mean": float(np.mean(returns[-10:])),
        "return_best": float(np.max(returns)),
    }

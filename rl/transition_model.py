"""The learnt environment: dynamics, termination and penalty in one step."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from rl.dynamics import EnsembleDynamics, Prediction
from rl.history import Memory
from rl.penalties import Penalty
from rl.step_scores import ProposedStep
from rl.termination import Termination


class Step(NamedTuple):
    """A batch of transitions of the model; raw reward and penalty are kept apart.

    Attributes:
        next_obs: (B, O).
        reward: (B,), raw, within the data's range.
        penalty: (B,), without a unit: the learner subtracts coef * std(reward) * penalty.
        terminated: (B,), bool: a terminal state; nothing follows it.
        truncated: (B,), bool: the rollout ends since its row is too far off the data.
        surprise: u (B,); None where no density model takes part.
        memory: For the next step; None where no sequence model takes part.
    """

    next_obs: Tensor
    reward: Tensor
    penalty: Tensor
    terminated: Tensor
    truncated: Tensor
    surprise: Tensor | None
    memory: Memory | None = None


class TransitionModel:
    """A step of the model for every row of a batch, on its device and without waiting for it.

    Each row goes through one elite, drawn at random; only where the penalty needs it, all members
    are asked. What no buffer should hold does not get out: a row whose prediction is not finite
    terminates where it is, with the least reward.

    Args:
        dynamics: The fitted ensemble.
        penalty: Its cost.
        termination: Which transitions end in a terminal state.
        reward_range: Least and largest reward of the data; others are clipped.
        truncate: A rollout ends where u exceeds this; None never.
        generator: Source of elites and noise.

    Raises:
        ConfigError: The range of the reward is none, or truncate is set and there is no u.
    """

    def __init__(
        self,
        dynamics: EnsembleDynamics,
        penalty: Penalty,
        termination: Termination,
        *,
        reward_range: tuple[float, float],
        truncate: float | None = None,
        generator: torch.Generator,
    ) -> None:
        low, high = reward_range
        if not -math.inf < low <= high < math.inf:
            raise ConfigError(
                f"the reward's range must be finite and ascending, got {low}, {high}"
            )
        if truncate is not None and not penalty.has_surprise:
            raise ConfigError(f"penalty.truncate {truncate:g} needs a density model's surprise")
        self.dynamics = dynamics
        self.penalty = penalty
        self.termination = termination
        self.reward_range = reward_range
        self.truncate = truncate
        self.generator = generator

    @torch.no_grad()
    def step(self, obs: Tensor, action: Tensor, memory: Memory | None = None) -> Step:
        """Return a transition from each state (B, O) under each action (B, A).

        Args:
            obs: The states.
            action: The actions.
            memory: Of what went before each state, for a sequence model; None of nothing.
        """
        next_obs, reward, prediction = self._sample(obs, action)
        proposed = ProposedStep(obs, action, next_obs, prediction, memory)
        penalty, surprise, memory = self.penalty(proposed)
        is_finite = next_obs.isfinite().all(dim=1) & reward.isfinite()
        stay = obs.nan_to_num(0.0, 0.0, 0.0)
        next_obs = torch.where(is_finite[:, None], next_obs, stay)
        low, high = self.reward_range
        reward = torch.where(is_finite, reward, low).clamp(low, high)
        terminated = self.termination(obs, action, next_obs) | ~is_finite
        truncated = torch.zeros_like(terminated)
        if self.truncate is not None and surprise is not None:
            truncated = surprise > self.truncate
        return Step(next_obs, reward, penalty, terminated, truncated, surprise, memory)

    def _sample(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Prediction | None]:
        if not self.penalty.needs_all_members:
            return *self.dynamics.sample(obs, action, self.generator), None
        prediction = self.dynamics.predict(obs, action)
        return *self.dynamics.sample_from(prediction, self.generator), prediction

"""Model rollouts: short, many at a time, from real states, under the present policy."""

import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rl.buffer import Layout
from rl.config import RolloutConfig
from rl.history import Memory, Recall, picked
from rl.policy import TanhGaussianPolicy
from rl.transition_model import TransitionModel


@dataclass(frozen=True)
class Generation:
    """The rows of one generation of rollouts.

    Attributes:
        rows: (n, width) packed.
        penalty: (n,) before its coefficient.
        surprise: u (n,); None without a density model.
        reward: Mean raw reward.
        terminated: Share of rows that ended in a terminal state.
        truncated: Share of rows that were cut for being too far off the data.
        seconds: What it took.
    """

    rows: Tensor
    penalty: Tensor
    surprise: Tensor | None
    reward: float
    terminated: float
    truncated: float
    seconds: float


class _Transition(NamedTuple):
    rows: Tensor
    reward: Tensor
    penalty: Tensor
    terminated: Tensor
    truncated: Tensor
    surprise: Tensor | None


class Rollouts:
    """Branched rollouts: `starts` real states, `length` steps of the model from each.

    A branch goes on until it terminates, is truncated for its surprise, or reaches the length.

    Args:
        model: The transition model.
        starts: States (N, O) to start from: those of the training rows.
        reference: The cloned policy, whose Gaussian is kept beside every row.
        config: Number of starts and length.
        layout: Of the packed rows.
        generator: Draws starts and actions.
        recall: Gives the memory of what went before starts of given numbers, for a penalty of
            paths; None where there is no such.

    Source:
        Janner et al. 2019, arXiv:1906.08253, algorithm 2 (branched rollouts).
    """

    def __init__(
        self,
        model: TransitionModel,
        starts: Tensor,
        reference: TanhGaussianPolicy,
        config: RolloutConfig,
        layout: Layout,
        generator: torch.Generator,
        recall: Recall | None = None,
    ) -> None:
        self.model = model
        self.starts = starts
        self.reference = reference
        self.config = config
        self.layout = layout
        self.generator = generator
        self.recall = recall

    @torch.no_grad()
    def generate(self, actor: TanhGaussianPolicy) -> Generation:
        """Return the rows of one generation under a stochastic policy."""
        started = time.perf_counter()
        n, device = len(self.starts), self.starts.device
        chosen = torch.randint(n, (self.config.starts,), generator=self.generator, device=device)
        obs, steps = self.starts[chosen], []
        memory = None if self.recall is None else self.recall(chosen)
        for _ in range(self.config.length):
            transition, next_obs, memory = self._step(obs, memory, actor)
            steps.append(transition)
            goes_on = ~(transition.terminated | transition.truncated)
            obs, memory = next_obs[goes_on], picked(memory, goes_on)
            if not len(obs):
                break
        rows, reward, penalty, terminated, truncated = (
            torch.cat([getattr(step, name) for step in steps])
            for name in ("rows", "reward", "penalty", "terminated", "truncated")
        )
        surprises = [step.surprise for step in steps if step.surprise is not None]
        return Generation(
            rows=rows,
            penalty=penalty,
            surprise=torch.cat(surprises) if surprises else None,
            reward=reward.mean().item(),
            terminated=terminated.float().mean().item(),
            truncated=truncated.float().mean().item(),
            seconds=time.perf_counter() - started,
        )

    def _step(
        self, obs: Tensor, memory: Memory | None, actor: TanhGaussianPolicy
    ) -> tuple[_Transition, Tensor, Memory | None]:
        action = actor.act(obs, self.generator)
        step = self.model.step(obs, action, memory)
        rows = self.layout.pack(
            torch.cat([obs, action], 1),
            step.next_obs,
            step.reward,
            step.penalty,
            step.terminated,
            self.reference(obs),
        )
        parts = (step.reward, step.penalty, step.terminated, step.truncated, step.surprise)
        return _Transition(rows, *parts), step.next_obs, step.memory

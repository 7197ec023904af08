"""The true error of a dynamics model where its rollouts go, and what each penalty says there.

The model is rolled out as in training. At each of its states the simulator is put into that
state, and tells what would truly have followed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.errors import DataError
from rl.evaluate import Actor
from rl.history import Memory, picked
from rl.simulator import Array, Simulator
from rl.termination import Termination

Floats = NDArray[np.float64]
Scores = Callable[
    [Tensor, Tensor, Tensor, Memory | None], tuple[Mapping[str, Tensor], Memory | None]
]

_LARGEST_ENTRY = 100.0  # of a state that the simulator is put into


class Dynamics(Protocol):
    """What is asked of a dynamics model; `EnsembleDynamics` is one."""

    @property
    def obs_std(self) -> Tensor:
        """Standard deviation of the training observations (O,)."""

    def elite_mean(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected next_obs (B, O) and reward (B,)."""

    def sample(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw next_obs (B, O) and reward (B,)."""


@dataclass(frozen=True, eq=False)
class ModelErrors:
    """Errors of N steps of a model: distances in standard deviations of the observations.

    Attributes:
        policy: (N,) name of the policy that acted.
        start: (N,) row of the start state.
        step: (N,) number of the step in its rollout, from 1.
        error: (N,) ||(m - s') / std||_2: the model's mean m against what truly follows the
            state that the model is in.
        drift: (N,) ||(x - s) / std||_2: the rollout's next state x, noise included, against the
            simulator's after the same actions from the same start.
        penalties: By name, (N,) each.
    """

    policy: NDArray[np.str_]
    start: NDArray[np.int64]
    step: NDArray[np.int64]
    error: Floats
    drift: Floats
    penalties: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.error)

    def select(self, rows: NDArray[Any]) -> "ModelErrors":
        """Return the rows at `rows`, a boolean or integer array."""
        return ModelErrors(
            self.policy[rows],
            self.start[rows],
            self.step[rows],
            self.error[rows],
            self.drift[rows],
            {name: values[rows] for name, values in self.penalties.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence["ModelErrors"]) -> "ModelErrors":
        """Return the rows of all parts, one after the other; they have the same penalties."""
        return cls(
            np.concatenate([part.policy for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.step for part in parts]),
            np.concatenate([part.error for part in parts]),
            np.concatenate([part.drift for part in parts]),
            {
                name: np.concatenate([part.penalties[name] for part in parts])
                for name in parts[0].penalties
            },
        )


@dataclass(frozen=True)
class ModelProbe:
    """A model beside the simulator of what it models.

    Attributes:
        dynamics: The model.
        simulator: Of its environment.
        penalties: Function of (obs, action, next_obs, memory) that gives penalties (B,) by name,
            always the same names, and the memory for the next step; each is high where a large
            error is expected. next_obs is the rollout's.
        termination: Which transitions end in a terminal state.
        generator: Source of the model's noise, on its device.
    """

    dynamics: Dynamics
    simulator: Simulator
    penalties: Scores
    termination: Termination
    generator: torch.Generator

    @torch.no_grad()
    def measure(
        self,
        starts: Tensor,
        policies: Mapping[str, Actor],
        *,
        horizon: int,
        memory: Memory | None = None,
    ) -> ModelErrors:
        """Roll the model out under each policy and compare every step with the simulator.

        Left out are starts with a velocity that the environment clipped, since nobody knows how
        fast it was, and later states that are as fast. A rollout ends where the model's state is
        terminal or has an entry beyond +-100.

        Args:
            starts: Observations (N, O), on the model's device.
            policies: By name; actions are clipped to the action space.
            horizon: Steps of a rollout, at least 1.
            memory: Of what went before each start, where a penalty is of paths.

        Raises:
            DataError: No start can be restored, or a measured value is NaN or infinite.
        """
        number = np.flatnonzero(self.simulator.is_state(_numpy(starts)))
        if len(number) == 0:
            raise DataError(f"none of {len(starts)} start states can be set in the simulator")
        known = torch.from_numpy(number).to(starts.device)
        start = starts[known], picked(memory, known)
        parts = [
            step
            for name, act in policies.items()
            for step in self._follow(name, act, number, start, horizon)
        ]
        errors = ModelErrors.joined(parts)
        _check(errors)
        return errors

    def _follow(
        self,
        name: str,
        act: Actor,
        number: NDArray[np.int64],
        start: tuple[Tensor, Memory | None],
        horizon: int,
    ) -> Iterator[ModelErrors]:
        """Yield the errors of each step from starts of these numbers, states and memories."""
        obs, memory = start
        low, high = self._action_bounds(obs)
        truth: Array = _numpy(obs)
        for step in range(1, horizon + 1):
            action = act(obs).clamp(low, high)
            next_obs, _ = self.dynamics.sample(obs, action, self.generator)
            truth = self.simulator.advance(truth, _numpy(action))
            penalties, memory = self.penalties(obs, action, next_obs, memory)
            errors = ModelErrors(
                np.full(len(number), name),
                number,
                np.full(len(number), step),
                self._error(obs, action),
                self._distance(next_obs, self.simulator.observe(truth)),
                {key: _numpy(values) for key, values in penalties.items()},
            )
            yield errors.select(self.simulator.is_state(_numpy(obs)))
            goes_on = ~self.termination(obs, action, next_obs)
            goes_on &= (next_obs.abs() < _LARGEST_ENTRY).all(1)
            kept = goes_on.cpu().numpy()
            obs, memory = next_obs[goes_on], picked(memory, goes_on)
            number, truth = number[kept], truth[kept]

    def _error(self, obs: Tensor, action: Tensor) -> Floats:
        """Distance of the model's mean from what truly follows (B,)."""
        expected, _ = self.dynamics.elite_mean(obs, action)
        following = self.simulator.advance(_numpy(obs), _numpy(action))
        return self._distance(expected, self.simulator.observe(following))

    def _distance(self, obs: Tensor, truth: Array) -> Floats:
        difference = (_numpy(obs) - truth) / _numpy(self.dynamics.obs_std)
        return np.asarray(np.linalg.norm(difference, axis=1))

    def _action_bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        bounds = self.simulator.action_low, self.simulator.action_high
        low, high = (torch.as_tensor(b, dtype=like.dtype, device=like.device) for b in bounds)
        return low, high


def _numpy(x: Tensor) -> Floats:
    return np.asarray(x.double().cpu().numpy())


def _check(errors: ModelErrors) -> None:
    """Raise DataError naming the first value that is not finite."""
    columns = {"error": errors.error, "drift": errors.drift, **errors.penalties}
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            i = bad[0]
            place = (
                f"step {errors.step[i]} from start {errors.start[i]}, policy {errors.policy[i]}"
            )
            raise DataError(f"{name} is {values[i]} in {place} ({len(bad)} such values)")

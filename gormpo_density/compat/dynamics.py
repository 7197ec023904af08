"""Our penalty on the dynamics of OfflineRL-Kit, or of any code that steps a model as it does."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.errors import ConfigError

Array = NDArray[Any]
Step = tuple[Array, Array, Array, dict[str, Any]]

#: What is scored of a step (obs, action, next_obs), by the kind of rows the model was fitted on.
_ROWS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "state_action": lambda obs, action, next_obs: np.concatenate([obs, action], axis=-1),
    "next_state_action": lambda obs, action, next_obs: np.concatenate([next_obs, action], axis=-1),
}


class Dynamics(Protocol):
    """What `penalise` needs of a model of the environment."""

    def step(self, obs: Array, action: Array) -> Step:
        """Return next_obs (B, O), reward (B, 1), terminal (B, 1) and info."""


class PenalisedDynamics:
    """A model of the environment whose rewards pay for rows off the data; see `penalise`.

    Every other attribute is that of the wrapped model, to read and to set.
    """

    _own = frozenset({"_dynamics", "_penalty", "_coef", "_rows"})

    def __init__(
        self, dynamics: Dynamics, penalty: Callable[[Tensor], Tensor], coef: float, rows: str
    ) -> None:
        self._dynamics = dynamics
        self._penalty = penalty
        self._coef = coef
        self._rows = _ROWS[rows]

    def step(self, obs: Array, action: Array) -> Step:
        """Step the wrapped model and lower its reward by coef * penalty.

        Returns:
            next_obs, reward, terminal and info as the wrapped model gives them. info has
            "raw_reward", without a penalty (the wrapped model's own word for it, where it has
            one), and "penalty", before the factor, of the reward's shape.
        """
        next_obs, reward, terminal, info = self._dynamics.step(obs, action)
        rows = torch.from_numpy(self._rows(obs, action, next_obs).astype(np.float32))
        penalty = torch.as_tensor(self._penalty(rows)).cpu().numpy()
        penalty = penalty.reshape(reward.shape).astype(reward.dtype)
        info = {"raw_reward": reward, **info, "penalty": penalty}
        return next_obs, reward - self._coef * penalty, terminal, info

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped model."""
        if name in self._own:  # while a copy is being made there is no wrapped model yet
            raise AttributeError(name)
        return getattr(self._dynamics, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the wrapped model."""
        if name in self._own:
            super().__setattr__(name, value)
        else:
            setattr(self._dynamics, name, value)


def penalise(
    dynamics: Dynamics,
    penalty: Callable[[Tensor], Tensor],
    coef: float = 1.0,
    rows: str = "state_action",
) -> PenalisedDynamics:
    """Make a model of the environment pay for leaving the data: reward - coef * penalty(row).

    With OfflineRL-Kit, one line is changed: `MOPOPolicy(penalise(dynamics, penalty), ...)`. Its
    own penalty stays on beside ours unless its `penalty_coef` is 0.

    Args:
        dynamics: Has `step(obs, action) -> (next_obs, reward, terminal, info)` on arrays.
        penalty: An `OODPenalty`, or another function of rows (B, D) that gives (B,).
        coef: Factor, not negative, in units of the reward (`OODPenalty` has one of its own).
        rows: What the density model was fitted on: "state_action" or "next_state_action".

    Returns:
        What takes the place of dynamics.

    Raises:
        ConfigError: coef is negative or not finite, or rows is none of the two.
    """
    problems = []
    if not 0 <= coef < math.inf:
        problems.append(f"coef must be finite and not negative, got {coef}")
    if rows not in _ROWS:
        problems.append(f"rows must be one of {', '.join(_ROWS)}, got {rows!r}")
    if problems:
        raise ConfigError(problems)
    return PenalisedDynamics(dynamics, penalty, coef, rows)

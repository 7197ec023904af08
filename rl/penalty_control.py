"""What sets a penalty before a run and watches it in one.

The threshold that u is 0 at, the share of rollout rows above it, and the coefficient.
"""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from gormpo_density import Calibration, DensityModel
from gormpo_density.errors import ConfigError
from rl.dynamics import EnsembleDynamics
from rl.history import Memory
from rl.policy import TanhGaussianPolicy
from rl.rollout import Rollouts
from rl.step_scores import ROWS, ProposedStep, calibrate_steps, row_problems

logger = logging.getLogger(__name__)

#: Least and largest automatic coefficient.
COEFFICIENTS = (1e-3, 1e3)


def calibrate_on_policy(
    density: DensityModel,
    row_kind: str,
    obs: Tensor,
    act: Callable[[Tensor, torch.Generator], Tensor],
    dynamics: EnsembleDynamics,
    generator: torch.Generator,
    *,
    alpha: float = 0.05,
    score: str | None = None,
    n_episodes: int | None = None,
    memory: Memory | None = None,
) -> Calibration:
    """Set the threshold on held-out states with a policy's actions in place of the data's.

    Even a cloned policy does not act as the data do: a threshold at level alpha of the data flags
    more than alpha of the policy's first steps. This one flags alpha of them. For a sequence model
    the paths before are the data's, as they are before a rollout; the last action is the policy's.

    Args:
        density: The fitted model; its calibration of that score is replaced.
        row_kind: What it was fitted on. For "next_state_action" the next states are sampled from
            the dynamics, as they are in rollouts.
        obs: States (n, O) that the density model was not fitted on.
        act: Actions (n, A) of the stochastic policy, drawn with a generator.
        dynamics: The fitted ensemble.
        generator: Source of actions and next states.
        alpha: Share of the policy's rows below the threshold.
        score: The score to calibrate; the default one when absent.
        n_episodes: Number of episodes the states come from.
        memory: Of what went before each state; needed for a sequence model, and only there.

    Returns:
        The calibration, also kept in the model.

    Raises:
        ConfigError: The density model scores other rows, has no such score, or is a sequence
            model and no memory is given.
        DataError: A row is not finite, or there is none.
    """
    action = act(obs, generator)
    if problems := row_problems(density, row_kind, obs.shape[1], action.shape[1]):
        raise ConfigError(problems)
    next_obs, _ = dynamics.sample(obs, action, generator)
    rows = ROWS[row_kind](ProposedStep(obs, action, next_obs))
    return calibrate_steps(density, rows, memory, alpha, score, n_episodes)


class FlaggedShare:
    """The share of rollout rows that are off the support, with a warning when it runs away.

    Args:
        limit: Share above which the warning is given, once until it has been below again.

    Attributes:
        share: That of the newest generation of rollouts; nan before the first.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.share = math.nan

    def update(self, surprise: Tensor) -> float:
        """Take u (N,) of a generation of rollouts and return the share of rows with u > 0."""
        was_above = self.share > self.limit
        self.share = (surprise > 0).float().mean().item()
        if self.share > self.limit and not was_above:
            logger.warning(
                "%.0f %% of the rollout rows are off the data's support (u > 0), more than "
                "penalty.warn_flagged = %g: the policy leaves the data",
                *(100 * self.share, self.limit),
            )
        return self.share


class AutoCoefficient:
    """A penalty coefficient that keeps the mean penalty of rollouts at a target.

    The dual variable of: maximise the return subject to E[penalty] / unit <= target. After each
    generation of rollouts it takes a step of dual ascent, in its logarithm,

        log coef <- log coef + lr (mean penalty / unit - target), coef within [1e-3, 1e3].

    Args:
        target: Mean penalty in units, before the coefficient.
        unit: Of the penalty.
        lr: Rate.
        coef: The first value.

    Attributes:
        coef: The present value.

    Source:
        Haarnoja et al. 2018, arXiv:1812.05905, eq. 17 (the temperature of SAC), with the mean
        penalty in place of the entropy.
    """

    def __init__(
        self, target: float, *, unit: float = 1.0, lr: float = 0.5, coef: float = 1.0
    ) -> None:
        self.target = target
        self.unit = unit
        self.lr = lr
        self.coef = coef

    def update(self, mean_penalty: float) -> float:
        """Take the mean penalty of a generation of rollouts and return the new coefficient."""
        log_coef = math.log(self.coef) + self.lr * (mean_penalty / self.unit - self.target)
        lowest, highest = map(math.log, COEFFICIENTS)
        self.coef = math.exp(min(max(log_coef, lowest), highest))
        return self.coef

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run goes on with."""
        return {"coef": self.coef}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over the state of another."""
        self.coef = state["coef"]


def auto_coefficient(
    target: float, rollouts: Rollouts, clone: TanhGaussianPolicy
) -> AutoCoefficient:
    """Return the automatic coefficient of a penalty, by what is free of it.

    A density penalty is 0 on the data's support, so its target counts from there (GORMPO's
    softplus is nowhere 0: under it the coefficient only grows). An uncertainty of the ensemble is
    nowhere 0 either, and its mean lies far above its median where it has a heavy tail: it is held
    against the mean of rollouts under the cloned policy, which it may exceed by the share
    `target`, so the clone itself always satisfies the constraint.

    Args:
        target: `penalty.target`.
        rollouts: Whose penalty it is; one generation of them is made where it is the ensemble's.
        clone: The cloned policy.
    """
    if not rollouts.model.penalty.needs_all_members:
        return AutoCoefficient(target)
    return AutoCoefficient(1 + target, unit=rollouts.generate(clone).penalty.mean().item())

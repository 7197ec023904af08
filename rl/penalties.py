"""Penalties: what a transition of the model costs for being uncertain or off the data.

A penalty has no unit; the learner subtracts coef * std(reward) * penalty from the raw reward. With
x an uncertainty of the ensemble (`rl.uncertainty`), med(x) its median over held-out rows, so that
one coefficient means about the same for all, and u the surprise of a calibrated density model:

    name                           penalty
    none                           0 (MBPO)
    mopo, disagreement, total_std  x / med(x), x of that name
    density                        kind(u), see `gormpo_density.penalty`
    combination                    x / med(x) * e^(weight min(u, cap)), x = total_std

Each is at least 0 and depends on its row alone, but for two of GORMPO's kinds: "gormpo-linear"
depends on the batch and, like "gormpo-tanh_reg", can be negative.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from gormpo_density import DensityModel, OODPenalty
from gormpo_density.errors import ConfigError
from gormpo_density.penalty import GORMPO_KINDS
from rl.config import PenaltyConfig
from rl.dynamics import EnsembleDynamics, Prediction
from rl.uncertainty import Uncertainty

#: Largest penalty where no cap says another: a hundred typical rows.
LARGEST = 100.0
#: Largest u there is: that of a row that cannot be scored.
LARGEST_SURPRISE = 1e6


class ProposedStep(NamedTuple):
    """A batch of transitions that the model proposes.

    Attributes:
        obs: (B, O).
        action: (B, A).
        next_obs: (B, O), sampled from the model.
        prediction: Of all members; None where the penalty does not need it.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    prediction: Prediction | None = None


class PenaltyValue(NamedTuple):
    """What a batch of transitions costs.

    Attributes:
        penalty: (B,), without a unit, before the coefficient.
        surprise: u (B,), not clipped to [0, cap]; None where no density model takes part.
    """

    penalty: Tensor
    surprise: Tensor | None


#: What a density model scores of a step, by the kind of rows it was fitted on.
ROWS: dict[str, Callable[[ProposedStep], Tensor]] = {
    "state_action": lambda step: torch.cat([step.obs, step.action], dim=1),
    "next_state_action": lambda step: torch.cat([step.next_obs, step.action], dim=1),
}


def row_problems(density: DensityModel, row_kind: str, obs_dim: int, action_dim: int) -> list[str]:
    """Return a line for each reason why a density model cannot score steps of the model."""
    problems = []
    if row_kind not in ROWS:
        problems.append(
            f"a penalty scores rows of kind {' or '.join(ROWS)}; the density model was fitted on "
            f"{row_kind!r}"
        )
    if density.event_shape != (obs_dim + action_dim,):
        problems.append(
            f"the density model scores rows of shape {density.event_shape}; state and action "
            f"are {obs_dim} + {action_dim} = {obs_dim + action_dim} wide"
        )
    return problems


class StepScorer:
    """A density penalty on the rows that steps of the model make.

    Args:
        penalty: Of a calibrated density model, with coefficient 1.
        row_kind: A name of `ROWS`.
        width: Width of a row.

    Attributes:
        limit: Penalty of a row that cannot be scored; for GORMPO's kinds, which have no cap,
            `LARGEST` if that is less.
    """

    def __init__(self, penalty: OODPenalty, row_kind: str, width: int) -> None:
        self.penalty = penalty
        self.rows = ROWS[row_kind]
        worst = penalty(torch.full((1, width), math.nan)).item()
        self.limit = min(worst, LARGEST) if penalty.kind in GORMPO_KINDS else worst

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of each row, which is scored once."""
        penalty, u = self.penalty.with_surprise(self.rows(step))
        dtype = step.obs.dtype  # the density model's own may be another
        return PenaltyValue(penalty.to(dtype), u.to(dtype))

    def surprise(self, step: ProposedStep) -> Tensor:
        """Return u (B,) of each row."""
        return self.penalty.surprise(self.rows(step)).to(step.obs.dtype)


class Penalty(ABC):
    """A penalty of proposed steps; see the table of this module.

    A row whose state, action or next state is not finite gets the largest penalty and the largest
    u that there are. Nothing waits for the device.

    Args:
        scorer: Gives u; None where no density model takes part.
        limit: Largest penalty.

    Attributes:
        needs_all_members: Whether steps must carry the prediction of every member.
    """

    needs_all_members: ClassVar[bool] = False

    def __init__(self, scorer: StepScorer | None, limit: float) -> None:
        self.scorer = scorer
        self.limit = limit

    @property
    def has_surprise(self) -> bool:
        """Whether u comes with the penalty."""
        return self.scorer is not None

    @torch.no_grad()
    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return the penalty of each row, and u where a density model takes part."""
        penalty, surprise = self._evaluate(step)
        is_finite = torch.cat([step.obs, step.action, step.next_obs], dim=1).isfinite().all(dim=1)
        if surprise is not None:
            surprise = _bounded(surprise, is_finite, LARGEST_SURPRISE)
        return PenaltyValue(_bounded(penalty, is_finite, self.limit), surprise)

    @abstractmethod
    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of rows that are finite; any value for others."""

    def _surprise(self, step: ProposedStep) -> Tensor | None:
        return None if self.scorer is None else self.scorer.surprise(step)


class NoPenalty(Penalty):
    """No penalty at all.

    Source:
        Janner et al. 2019, arXiv:1906.08253 (MBPO).
    """

    def __init__(self, scorer: StepScorer | None = None) -> None:
        super().__init__(scorer, 0.0)

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        return PenaltyValue(step.obs.new_zeros(len(step.obs)), self._surprise(step))


class EnsemblePenalty(Penalty):
    """An uncertainty of the ensemble, at most a hundred times a typical row's."""

    needs_all_members = True

    def __init__(self, uncertainty: Uncertainty, scorer: StepScorer | None = None) -> None:
        super().__init__(scorer, LARGEST)
        self.uncertainty = uncertainty

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        assert step.prediction is not None
        return PenaltyValue(self.uncertainty(step.prediction), self._surprise(step))


class DensityPenalty(Penalty):
    """A function of the density model's surprise; one of GORMPO's kinds: of its raw score."""

    def __init__(self, scorer: StepScorer) -> None:
        super().__init__(scorer, scorer.limit)
        self.score_step = scorer

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        return self.score_step(step)


class Combination(EnsemblePenalty):
    """An uncertainty times e^(weight min(u, cap)): less inside the support, more off it."""

    def __init__(
        self, uncertainty: Uncertainty, scorer: StepScorer, weight: float, cap: float
    ) -> None:
        super().__init__(uncertainty, scorer)
        self.weight = weight
        self.cap = cap

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        uncertainty, u = super()._evaluate(step)
        assert u is not None
        known = u.nan_to_num(nan=self.cap).clamp(max=self.cap)
        return PenaltyValue(uncertainty * (self.weight * known).exp(), u)


def make_penalty(
    config: PenaltyConfig,
    *,
    density: DensityModel | None,
    row_kind: str,
    dynamics: EnsembleDynamics,
    held_out: tuple[Tensor, Tensor],
) -> Penalty:
    """Build the penalty that a configuration names.

    Args:
        config: The penalty section.
        density: A calibrated model; only used where the configuration needs one.
        row_kind: What it was fitted on.
        dynamics: The fitted ensemble.
        held_out: States (n, O) and actions (n, A) that the ensemble was not fitted on.

    Raises:
        ConfigError: There is no density model, it scores other rows, or the kind or the score is
            unknown, all told at once; or the ensemble's uncertainty has no scale.
        NotCalibratedError: The density model is not calibrated, or its surprise has no scale.
    """
    scorer = None
    if config.needs_density:
        scorer = _scorer(config, density, row_kind, *(part.shape[1] for part in held_out))
    if config.name == "none":
        return NoPenalty(scorer)
    if config.name == "density":
        assert scorer is not None
        return DensityPenalty(scorer)
    if config.name == "combination":
        assert scorer is not None
        uncertainty = Uncertainty("total_std", dynamics, *held_out)
        return Combination(uncertainty, scorer, config.weight, config.cap)
    return EnsemblePenalty(Uncertainty(config.name, dynamics, *held_out), scorer)


def _scorer(
    config: PenaltyConfig,
    density: DensityModel | None,
    row_kind: str,
    obs_dim: int,
    action_dim: int,
) -> StepScorer:
    if density is None:
        truncates = "" if config.truncate is None else f" with truncate {config.truncate:g}"
        raise ConfigError(
            f"penalty {config.name!r}{truncates} needs a density model, and there is none"
        )
    problems = row_problems(density, row_kind, obs_dim, action_dim)
    try:
        score = density.score_name(config.score)
        penalty = OODPenalty(density, config.kind, 1.0, config.cap, score)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return StepScorer(penalty, row_kind, obs_dim + action_dim)


def _bounded(value: Tensor, is_finite: Tensor, limit: float) -> Tensor:
    """Return value within [-limit, limit]; limit where it is NaN or its row is not finite."""
    return torch.where(is_finite, value, limit).nan_to_num(nan=limit).clamp(-limit, limit)

"""Penalties: what a transition of the model costs for being uncertain or off the data.

A penalty has no unit; the learner subtracts coef * std(reward) * penalty from the raw reward. With
x an uncertainty of the ensemble (`rl.uncertainty`), med(x) its median over held-out rows, so that
one coefficient means about the same for all, and u the surprise of a calibrated density model:

    name                           penalty
    none                           0 (MBPO)
    mopo, disagreement, total_std  x / med(x), x of that name
    density                        kind(u), see `gormpo_density.penalty`
    combination                    x / med(x) * e^(weight min(u, cap)), x = total_std

u is of the row alone, of the path that led to it, or the larger of both; see `rl.step_scores`.
Each is at least 0 and depends on its row, and on what went before it, alone, but for two of
GORMPO's kinds: "gormpo-linear" depends on the batch and, like "gormpo-tanh_reg", can be negative.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from gormpo_density import DensityModel, OODPenalty, SequenceModel
from gormpo_density.errors import ConfigError, NotCalibratedError
from rl.config import PenaltyConfig
from rl.dynamics import EnsembleDynamics
from rl.step_scores import (
    LARGEST,
    HistoryScorer,
    LargestScorer,
    PenaltyValue,
    ProposedStep,
    Scorer,
    StepScorer,
    row_problems,
    step_score,
)
from rl.uncertainty import Uncertainty

#: Largest u there is: that of a row that cannot be scored.
LARGEST_SURPRISE = 1e6


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

    def __init__(self, scorer: Scorer | None, limit: float) -> None:
        self.scorer = scorer
        self.limit = limit

    @property
    def has_surprise(self) -> bool:
        """Whether u comes with the penalty."""
        return self.scorer is not None

    @torch.no_grad()
    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return the penalty of each row, and u and memory where density models take part."""
        penalty, surprise, memory = self._evaluate(step)
        is_finite = torch.cat([step.obs, step.action, step.next_obs], dim=1).isfinite().all(dim=1)
        if surprise is not None:
            surprise = _bounded(surprise, is_finite, LARGEST_SURPRISE)
        return PenaltyValue(_bounded(penalty, is_finite, self.limit), surprise, memory)

    @abstractmethod
    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of rows that are finite; any value for others."""

    def _with(self, penalty: Tensor, step: ProposedStep) -> PenaltyValue:
        """Return a penalty with u and memory of the step, if there is a scorer."""
        if self.scorer is None:
            return PenaltyValue(penalty, None)
        return self.scorer(step)._replace(penalty=penalty)


class NoPenalty(Penalty):
    """No penalty at all.

    Source:
        Janner et al. 2019, arXiv:1906.08253 (MBPO).
    """

    def __init__(self, scorer: Scorer | None = None) -> None:
        super().__init__(scorer, 0.0)

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        return self._with(step.obs.new_zeros(len(step.obs)), step)


class EnsemblePenalty(Penalty):
    """An uncertainty of the ensemble, at most a hundred times a typical row's."""

    needs_all_members = True

    def __init__(self, uncertainty: Uncertainty, scorer: Scorer | None = None) -> None:
        super().__init__(scorer, LARGEST)
        self.uncertainty = uncertainty

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        assert step.prediction is not None
        return self._with(self.uncertainty(step.prediction), step)


class DensityPenalty(Penalty):
    """A function of the density model's surprise; one of GORMPO's kinds: of its raw score."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer, scorer.limit)
        self.score_step = scorer

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        return self.score_step(step)


class Combination(EnsemblePenalty):
    """An uncertainty times e^(weight min(u, cap)): less inside the support, more off it."""

    def __init__(
        self, uncertainty: Uncertainty, scorer: Scorer, weight: float, cap: float
    ) -> None:
        super().__init__(uncertainty, scorer)
        self.weight = weight
        self.cap = cap

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        value = super()._evaluate(step)
        assert value.surprise is not None
        known = value.surprise.nan_to_num(nan=self.cap).clamp(max=self.cap)
        return value._replace(penalty=value.penalty * (self.weight * known).exp())


def make_penalty(
    config: PenaltyConfig,
    *,
    density: DensityModel | None,
    row_kind: str,
    dynamics: EnsembleDynamics,
    held_out: tuple[Tensor, Tensor],
    beside: SequenceModel[Any] | None = None,
) -> Penalty:
    """Build the penalty that a configuration names.

    Args:
        config: The penalty section.
        density: A calibrated model, of rows or of paths; only used where the configuration needs
            one.
        row_kind: What it was fitted on.
        dynamics: The fitted ensemble.
        held_out: States (n, O) and actions (n, A) that the ensemble was not fitted on.
        beside: A calibrated model of paths of the same rows; the larger penalty and u count.

    Raises:
        ConfigError: There is no density model, it scores other rows, or the kind or the score is
            unknown, all told at once; or the ensemble's uncertainty has no scale.
        NotCalibratedError: The density model is not calibrated, or its surprise has no scale.
    """
    scorer: Scorer | None = None
    if config.needs_density:
        widths = held_out[0].shape[1], held_out[1].shape[1]
        scorer = _scorer(config, density, row_kind, *widths)
        if beside is not None:
            own = config.model_copy(update={"score": None})
            scorer = LargestScorer(scorer, _scorer(own, beside, row_kind, *widths))
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
) -> Scorer:
    if density is None:
        truncates = "" if config.truncate is None else f" with truncate {config.truncate:g}"
        raise ConfigError(
            f"penalty {config.name!r}{truncates} needs a density model, and there is none"
        )
    problems = row_problems(density, row_kind, obs_dim, action_dim)
    try:
        penalty = OODPenalty(density, config.kind, 1.0, config.cap, _score(config, density))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    if isinstance(density, SequenceModel):
        first = OODPenalty(density, config.kind, 1.0, config.cap, density.FIRST_STEP)
        return HistoryScorer(density, penalty, first, row_kind)
    return StepScorer(penalty, row_kind, obs_dim + action_dim)


def _score(config: PenaltyConfig, density: DensityModel) -> str:
    """Return the name of the calibration that u is of."""
    score = step_score(density, config.score)
    if not isinstance(density, SequenceModel):
        return score
    if density.STEP not in density.calibrations:
        raise NotCalibratedError("single steps are not calibrated: call calibrate_steps first")
    return density.STEP


def _bounded(value: Tensor, is_finite: Tensor, limit: float) -> Tensor:
    """Return value within [-limit, limit]; limit where it is NaN or its row is not finite."""
    return torch.where(is_finite, value, limit).nan_to_num(nan=limit).clamp(-limit, limit)

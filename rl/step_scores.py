"""What density models say of a proposed step: of its row alone, or of the path that led to it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gormpo_density import Calibration, DensityModel, OODPenalty, SequenceModel
from gormpo_density.errors import ConfigError
from gormpo_density.penalty import GORMPO_KINDS
from rl.dynamics import Prediction
from rl.history import Memory, go_on, no_memory, picked

#: Largest penalty where no cap says another: a hundred typical rows.
LARGEST = 100.0


class ProposedStep(NamedTuple):
    """A batch of transitions that the model proposes.

    Attributes:
        obs: (B, O).
        action: (B, A).
        next_obs: (B, O), sampled from the model.
        prediction: Of all members; None where the penalty does not need it.
        memory: Of what went before, for a sequence model; None stands for nothing.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    prediction: Prediction | None = None
    memory: Memory | None = None


class PenaltyValue(NamedTuple):
    """What a batch of transitions costs.

    Attributes:
        penalty: (B,), without a unit, before the coefficient.
        surprise: u (B,), not clipped to [0, cap]; None where no density model takes part.
        memory: For the next step; None where no sequence model takes part.
    """

    penalty: Tensor
    surprise: Tensor | None
    memory: Memory | None = None


class Scorer(Protocol):
    """A density penalty of steps.

    Attributes:
        limit: Largest penalty.
    """

    limit: float

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty, u and memory of each row, which is scored once."""


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
    shape = density.event_shape
    if isinstance(density, SequenceModel):
        if density.window != 1:
            problems.append(
                f"a rollout goes on by single steps; model.window is {density.window}, must be 1"
            )
        shape = shape[1:]
    if shape != (obs_dim + action_dim,):
        problems.append(
            f"the density model scores rows of shape {shape}; state and action "
            f"are {obs_dim} + {action_dim} = {obs_dim + action_dim} wide"
        )
    return problems


def step_score(density: DensityModel, score: str | None) -> str:
    """Return the name of a score of steps; the default one for None.

    Raises:
        ConfigError: The model has no such score, or not of single steps.
    """
    name = density.score_name(score)
    if isinstance(density, SequenceModel) and name != density.default_score:
        raise ConfigError(
            f"penalty.score {name!r}: of single steps there is {density.default_score!r} only"
        )
    return name


def calibrate_steps(
    density: DensityModel,
    rows: Tensor,
    memory: Memory | None,
    alpha: float,
    score: str | None,
    n_episodes: int | None,
) -> Calibration:
    """Set the threshold of what a density model says of steps.

    Args:
        density: The fitted model.
        rows: (n, D), of steps that it was not fitted on.
        memory: Of what went before each row; needed for a sequence model, whose default score is
            taken. Rows before which there was nothing do not count there.
        alpha: Share of such steps below the threshold.
        score: The score to calibrate; the default one when absent.
        n_episodes: Number of episodes the steps come from.

    Raises:
        ConfigError: There is no such score, or no memory for a sequence model.
        DataError: A row is not finite, or there is none.
    """
    if not isinstance(density, SequenceModel):
        return density.calibrate(rows, alpha, score, n_episodes)
    if memory is None:
        raise ConfigError("steps of a sequence model are calibrated with what went before them")
    has_past = memory.seen > 0
    known = picked(memory, has_past)
    assert known is not None
    return density.calibrate_steps(rows[has_past][:, None], known.state, alpha, n_episodes)


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
        self.limit = _limit(penalty, penalty(torch.full((1, width), math.nan)))

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of each row, which is scored once."""
        penalty, u = self.penalty.with_surprise(self.rows(step))
        dtype = step.obs.dtype  # the density model's own may be another
        return PenaltyValue(penalty.to(dtype), u.to(dtype))


class HistoryScorer:
    """A density penalty on the paths that steps of the model go on with: on log p(x_t | x_<t).

    Args:
        model: A sequence model of single rows x_t.
        later: Of its calibrated scores of steps after others, with coefficient 1.
        first: The same of first steps, before which nothing was seen.
        row_kind: A name of `ROWS`.

    Attributes:
        limit: As for `StepScorer`.
    """

    @torch.no_grad()
    def __init__(
        self, model: SequenceModel[Any], later: OODPenalty, first: OODPenalty, row_kind: str
    ) -> None:
        self.model = model
        self.later, self.first = later, first
        self.rows = ROWS[row_kind]
        unscorable = torch.full((1, model.n_features), math.nan, device=model.device)
        worst, _ = go_on(model, unscorable, no_memory(model, 1))
        self.limit = max(_limit(one, one.of_score(worst)[0]) for one in (later, first))

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of each row after its own past, and the memory after it."""
        rows, before = self.rows(step), step.memory
        if before is None:
            before = no_memory(self.model, len(rows))
        score, memory = go_on(self.model, rows, before)
        has_past, dtype = before.seen > 0, step.obs.dtype
        penalty, u = (
            torch.where(has_past, later, first).to(dtype)
            for later, first in zip(
                self.later.of_score(score), self.first.of_score(score), strict=True
            )
        )
        return PenaltyValue(penalty, u, memory)


class LargestScorer:
    """The larger of two penalties and the larger u, row by row.

    Each has a threshold of its own: normal rows are above one of the two at up to twice the rate.

    Args:
        row: A penalty of the row alone.
        path: A penalty of the path, whose memory is carried.
    """

    def __init__(self, row: Scorer, path: Scorer) -> None:
        self.row, self.path = row, path
        self.limit = max(row.limit, path.limit)

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        """Return penalty and u of each row, and the memory after it."""
        row, path = self.row(step), self.path(step)
        assert row.surprise is not None
        assert path.surprise is not None
        # A NaN, of a row that cannot be scored, is the largest of all.
        penalty = row.penalty.maximum(path.penalty)
        return PenaltyValue(penalty, row.surprise.maximum(path.surprise), path.memory)


def _limit(penalty: OODPenalty, worst: Tensor) -> float:
    """Return the largest penalty, given that of a row that cannot be scored."""
    return min(worst.item(), LARGEST) if penalty.kind in GORMPO_KINDS else worst.item()

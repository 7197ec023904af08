"""A termination rule learned from data, for environments whose own rule nobody wrote down."""

import copy
import itertools
import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gormpo_density.errors import DataError, FitError

logger = logging.getLogger(__name__)

_BATCH_SIZE = 256
_STEPS_BETWEEN_CHECKS = 100
_WEIGHT_DECAY = 0.1

#: How many false ends cost as much as a missed one. What a model says after a fall is made up,
#: and a policy can learn to live there; a rollout cut short loses a few rows.
_COST_OF_A_MISS = 10.0


class Outcomes(NamedTuple):
    """Transitions, and whether the environment ended with them; all on one device.

    Attributes:
        obs: (N, O) float32.
        action: (N, A) float32.
        next_obs: (N, O) float32.
        terminated: (N,) bool.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    terminated: Tensor


class LearnedTermination(nn.Module):
    """Classifier of transitions: a row ends where p(terminated | s, a, s') > 1/11.

    From there on, missing an end costs more in expectation if that is ten times as bad as a false
    one. p = sigmoid(f(z) + prior_logit), z = standardised [s, a, s'], f a network trained on
    batches with as many ends as other rows. Adding the log odds of an end in the data undoes what
    the batches did to p. A row that is not finite always ends.

    Args:
        obs_dim: O.
        action_dim: A.
        hidden_dims: Width of each hidden layer.

    Attributes:
        prior_logit: log(pi / (1 - pi)), pi the share of ends; -inf, so never, before fitting.

    Source:
        King & Zeng 2001, "Logistic regression in rare events data", sec. 4.1 (prior correction).
    """

    mean: Tensor
    std: Tensor
    prior_logit: Tensor

    def __init__(self, obs_dim: int, action_dim: int, hidden_dims: Sequence[int] = (256, 256)):
        super().__init__()
        widths = [2 * obs_dim + action_dim, *hidden_dims, 1]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.utils.skip_init(nn.Linear, inputs, outputs), nn.SiLU()]
        self.net = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.zeros(widths[0]))
        self.register_buffer("std", torch.ones(widths[0]))
        self.register_buffer("prior_logit", torch.tensor(-math.inf))

    def reset(self, train: Outcomes, generator: torch.Generator) -> None:
        """Draw new weights, and take units and the share of ends from training rows."""
        rows = torch.cat([train.obs, train.action, train.next_obs], 1).double()
        mean, std = rows.mean(0), rows.std(0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6 * mean.abs(), std, 1.0))
        self.prior_logit.copy_(train.terminated.float().mean().logit())
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)

    def balanced_logit(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return f (B,): the log odds of an end where half the rows are ends."""
        rows = torch.cat([obs, action, next_obs], 1)
        logit: Tensor = self.net((rows - self.mean) / self.std).squeeze(1)
        return logit

    def logit(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the log odds of an end among rows like those of the data (B,)."""
        return self.balanced_logit(obs, action, next_obs) + self.prior_logit

    @torch.no_grad()
    def forward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return terminated (B,) bool of obs (B, O), action (B, A), next_obs (B, O)."""
        ended = self.logit(obs, action, next_obs) > -math.log(_COST_OF_A_MISS)
        return ended | ~next_obs.isfinite().all(1)


def fit_termination(
    train: Outcomes, val: Outcomes, *, seed: int, steps: int = 2000, lr: float = 3e-3
) -> LearnedTermination:
    """Fit a classifier of the rows that end an episode.

    Every hundred steps the log loss of the corrected p on all validation rows is taken; the
    weights with the least one are kept.

    Args:
        train: Training rows. Without an end among them the result never ends; a warning says so.
        val: Validation rows, of other episodes.
        seed: Of weights and batches.
        steps: Gradient steps of AdamW.
        lr: Its learning rate, falling to zero along a half cosine.

    Raises:
        DataError: There are no training or no validation rows.
        FitError: No validation loss was finite.
    """
    for name, rows in (("training", train), ("validation", val)):
        if len(rows.obs) == 0:
            raise DataError(f"a learned termination needs {name} rows, got 0")
    device = train.obs.device
    generator = torch.Generator(device).manual_seed(seed)
    model = LearnedTermination(train.obs.shape[1], train.action.shape[1]).to(device)
    model.reset(train, generator)
    if not train.terminated.any():
        logger.warning("no training row is terminated: the learned termination never ends")
    elif not train.terminated.all():
        _train(model, train, val, generator, steps, lr)
    return model


def _train(
    model: LearnedTermination,
    train: Outcomes,
    val: Outcomes,
    generator: torch.Generator,
    steps: int,
    lr: float,
) -> None:
    """Minimise the log loss on balanced batches; leave the best weights on `val`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    ends, others = (flag.nonzero()[:, 0] for flag in (train.terminated, ~train.terminated))
    best_loss, best = math.inf, copy.deepcopy(model.state_dict())
    for step in range(1, steps + 1):
        rows = torch.cat([_draw(ends, generator), _draw(others, generator)])
        obs, action, next_obs, terminated = (part[rows] for part in train)
        logit = model.balanced_logit(obs, action, next_obs)
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logit, terminated.float()).backward()
        optimizer.step()
        schedule.step()
        if step % _STEPS_BETWEEN_CHECKS == 0 or step == steps:
            loss = _log_loss(model, val)
            if loss < best_loss:
                best_loss, best = loss, copy.deepcopy(model.state_dict())
    if math.isinf(best_loss):
        raise FitError(f"learned termination: no validation loss in {steps} steps was finite")
    model.load_state_dict(best)


def _draw(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw half a batch of row numbers with replacement."""
    drawn = torch.randint(
        len(rows), (_BATCH_SIZE // 2,), generator=generator, device=generator.device
    )
    return rows[drawn]


@torch.no_grad()
def _log_loss(model: LearnedTermination, rows: Outcomes) -> float:
    logit = model.logit(rows.obs, rows.action, rows.next_obs)
    return functional.binary_cross_entropy_with_logits(logit, rows.terminated.float()).item()

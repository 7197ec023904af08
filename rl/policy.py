"""The policy: a Gaussian squashed by tanh into the action bounds."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_LOG_STD_RANGE = (-5.0, 2.0)
_SQUASHED_LIMIT = 0.999  # share of the reach up to which tanh is inverted
#: Where actions were clipped: the share of the reach from which one counts as on the bound, the
#: distance from a bound that is rounding, and the share of actions on bounds that tells clipping.
_CENSORED_FROM, _ROUNDING, _CLIPPED_SHARE = 0.95, 1e-6, 0.01


def column_scale(rows: Tensor) -> Tensor:
    """Return the standard deviation (D,) of columns (N, D); 1 if constant but for rounding."""
    mean, std = rows.mean(0), rows.std(0, correction=0)
    return std.masked_fill(std <= 1e-6 * mean.abs().clamp(min=1e-6), 1.0)


class Gaussian(NamedTuple):
    """A diagonal Gaussian over actions before tanh.

    Attributes:
        mean: (B, A).
        log_std: (B, A).
    """

    mean: Tensor
    log_std: Tensor

    def rsample(self, generator: torch.Generator | None) -> Tensor:
        """Draw (B, A), differentiable in mean and log_std."""
        return self.at(torch.empty_like(self.mean).normal_(generator=generator))

    def at(self, noise: Tensor) -> Tensor:
        """Return mean + std * noise, (B, A), differentiable in mean and log_std."""
        return torch.addcmul(self.mean, noise, self.log_std.exp())

    def log_prob(self, raw: Tensor) -> Tensor:
        """Return the log-density (B,) of a = tanh(raw) in (-1, 1)^A.

        log p(a) = sum_d log N(raw_d; mean_d, std_d) - log(1 - tanh(raw_d)^2), the last term as
        2 (log 2 - raw - softplus(-2 raw)), which does not overflow.
        """
        return self._log_density(raw).sum(-1)

    def censored_log_prob(self, raw: Tensor, is_beyond: Tensor) -> Tensor:
        """Return the log-likelihood (B,) of raw (B, A) known only as a bound in some places.

        Where is_beyond (B, A), raw is known to be at or beyond the given value, seen from 0, and
        counts with the mass there, log Phi((sign(raw) mean - |raw|) / std) (Tobin 1958).
        """
        reached = raw.sign() * self.mean - raw.abs()
        mass = torch.special.log_ndtr(reached * (-self.log_std).exp())
        return torch.where(is_beyond, mass, self._log_density(raw)).sum(-1)

    def _log_density(self, raw: Tensor) -> Tensor:
        error = (raw - self.mean) * (-self.log_std).exp()
        normal = -0.5 * error.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return normal - slope

    def kl(self, other: "Gaussian") -> Tensor:
        """Return KL(self || other), (B,), in nats; the same after tanh, which is one to one.

        sum_d log s2/s1 + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2.
        """
        precision = (-2 * other.log_std).exp()
        spread = (2 * self.log_std).exp() + (self.mean - other.mean).square()
        return (other.log_std - self.log_std + 0.5 * spread * precision - 0.5).sum(-1)


class TanhGaussianPolicy(nn.Module):
    """pi(a | s): raw ~ N(mean(s), std(s)^2), a = middle + reach * tanh(raw).

    Args:
        obs_dim: O.
        action_low: (A,) lower bound of the actions.
        action_high: (A,) upper bound.
        hidden_dims: Width of each hidden layer (ReLU).

    Source:
        Haarnoja et al. 2018, arXiv:1812.05905, appendix C.
    """

    __call__: Callable[..., Gaussian]
    obs_mean: Tensor
    obs_std: Tensor
    middle: Tensor
    reach: Tensor

    def __init__(
        self,
        obs_dim: int,
        action_low: Tensor,
        action_high: Tensor,
        hidden_dims: Sequence[int] = (256, 256),
    ) -> None:
        super().__init__()
        self.register_buffer("obs_mean", torch.zeros(obs_dim))
        self.register_buffer("obs_std", torch.ones(obs_dim))
        self.register_buffer("middle", (action_high + action_low) / 2)
        self.register_buffer("reach", (action_high - action_low) / 2)
        self.net = nn.Sequential()
        width = obs_dim
        for hidden in hidden_dims:
            self.net.append(nn.Linear(width, hidden)).append(nn.ReLU(inplace=True))
            width = hidden
        self.net.append(nn.Linear(width, 2 * len(action_low)))

    def standardise(self, obs: Tensor) -> None:
        """Take the mean and the standard deviation of training observations (N, O)."""
        self.obs_mean.copy_(obs.mean(0))
        self.obs_std.copy_(column_scale(obs))

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the Gaussian before tanh, (B, A), for observations (B, O)."""
        out: Tensor = self.net((obs - self.obs_mean) / self.obs_std)
        mean, log_std = out.chunk(2, -1)
        return Gaussian(mean, log_std.clamp(*_LOG_STD_RANGE))

    def squash(self, raw: Tensor) -> Tensor:
        """Return the action (B, A), in the environment's units, of raw (B, A)."""
        return torch.addcmul(self.middle, self.reach, raw.tanh())

    def clipped_dims(self, action: Tensor) -> Tensor:
        """Return which of the dimensions (A,) of actions (N, A) were clipped to the bounds.

        More than one in a hundred lies on a bound there; a squashed Gaussian's never do, however
        near they come.
        """
        is_on_bound = self._unit(action).abs() >= 1 - _ROUNDING
        return is_on_bound.float().mean(0) > _CLIPPED_SHARE

    def log_likelihood(self, obs: Tensor, action: Tensor, is_clipped: Tensor) -> Tensor:
        """Return the log-likelihood (B,) of actions (B, A), some dimensions of which were clipped.

        In a clipped dimension, an action within a twentieth of the reach of a bound tells only
        that raw was so large or larger. Taken for a value, it would be an outlier where tanh is
        flat, and the policy would learn a mean and a spread that no action needs.

        Args:
            obs: (B, O).
            action: (B, A), the environment's units.
            is_clipped: (A,) bool, see `clipped_dims`.
        """
        unit = self._unit(action)
        limit = torch.where(is_clipped, _CENSORED_FROM, _SQUASHED_LIMIT)
        raw = unit.clamp(-limit, limit).atanh()
        return self(obs).censored_log_prob(raw, is_clipped & (unit.abs() >= limit))

    def _unit(self, action: Tensor) -> Tensor:
        return (action - self.middle) / self.reach

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return actions (B, A): drawn with a generator, the tanh of the mean without one."""
        gaussian = self(obs)
        return self.squash(gaussian.mean if generator is None else gaussian.rsample(generator))

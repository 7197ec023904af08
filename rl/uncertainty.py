"""Uncertainty of an ensemble's prediction, by formula, and in units of a typical row.

mu_i and sigma_i (E, B, O + 1) are mean and standard deviation of member i for the next observation
and the reward; s (O,) is the standard deviation of the training observations. Variances over
members divide by their number.

    name          formula                                       of
    mopo          max_i ||sigma_i||                             observation and reward, raw units
    disagreement  ||sqrt(var_i mu_i) / s||                      observation
    total_std     ||sqrt(mean_i sigma_i^2 + var_i mu_i) / s||   observation
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from rl.dynamics import EnsembleDynamics, Prediction

_TYPICAL_ROWS = 10_000
_CHUNK_ROWS = 2048


def max_aleatoric(prediction: Prediction, obs_std: Tensor) -> Tensor:
    """Return the largest norm (B,) of the standard deviations that a member predicts.

    Source:
        Yu et al. 2020, arXiv:2005.13239 (MOPO), section 4.3; norm, units and reward as in its
        code.
    """
    return _norm(prediction.std).amax(dim=0)


def disagreement(prediction: Prediction, obs_std: Tensor) -> Tensor:
    """Return the norm (B,) of the standard deviation between the members' means."""
    return _norm(_epistemic(prediction).sqrt() / obs_std)


def total_std(prediction: Prediction, obs_std: Tensor) -> Tensor:
    """Return the norm (B,) of the standard deviation of the mixture that the members make.

    Source:
        Lu et al. 2022, arXiv:2110.04135 ("ensemble standard deviation"). Differs: each dimension
        in standard deviations of the data.
    """
    aleatoric = prediction.std[:, :, :-1].square().mean(dim=0)
    return _norm((aleatoric + _epistemic(prediction)).sqrt() / obs_std)


Formula = Callable[[Prediction, Tensor], Tensor]

#: Functions of (prediction, obs_std).
UNCERTAINTIES: dict[str, Formula] = {
    "mopo": max_aleatoric,
    "disagreement": disagreement,
    "total_std": total_std,
}


class Uncertainty:
    """An uncertainty of one ensemble, divided by its median over rows it was not fitted on.

    Args:
        name: A name of `UNCERTAINTIES`.
        dynamics: The fitted ensemble.
        obs: Held-out states (n, O); the median is taken over at most 10,000 of them.
        action: Their actions (n, A).

    Attributes:
        unit: The median, in the formula's own unit.

    Raises:
        ConfigError: The median is no unit: a single member never disagrees, for instance.
    """

    def __init__(self, name: str, dynamics: EnsembleDynamics, obs: Tensor, action: Tensor) -> None:
        self.name = name
        self.obs_std = dynamics.obs_std
        self.unit = self._median(dynamics, obs, action)
        if not 0 < self.unit < math.inf:
            raise ConfigError(
                f"the ensemble's {name} has no scale: its median on {len(obs)} held-out rows is "
                f"{self.unit:g} with {dynamics.members} members"
            )

    def __call__(self, prediction: Prediction) -> Tensor:
        """Return the uncertainty (B,): 1 is a typical row's."""
        return self.raw(prediction) / self.unit

    def raw(self, prediction: Prediction) -> Tensor:
        """Return the uncertainty (B,) in the formula's own unit."""
        return UNCERTAINTIES[self.name](prediction, self.obs_std)

    @torch.no_grad()
    def _median(self, dynamics: EnsembleDynamics, obs: Tensor, action: Tensor) -> float:
        n = len(obs)
        count = min(n, _TYPICAL_ROWS)
        rows = torch.arange(count, device=obs.device) * n // count
        chunks = rows.split(_CHUNK_ROWS)
        values = [self.raw(dynamics.predict(obs[chunk], action[chunk])) for chunk in chunks]
        return torch.cat(values).median().item()


def _epistemic(prediction: Prediction) -> Tensor:
    """Return var_i mu_i (B, O); `Tensor.var` warns of an empty batch."""
    mean = prediction.mean[:, :, :-1]
    return (mean - mean.mean(dim=0)).square().mean(dim=0)


def _norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm (...) of the last dimension of x (..., D)."""
    return x.square().sum(-1).sqrt()

"""How a diffusion mixes data with noise, and what each of its steps is worth in nats."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gormpo_density.errors import ConfigError

BetaSchedule = Literal["linear", "cosine"]
_LARGEST_BETA = 0.999


class NoiseSchedule(nn.Module):
    """x_t = alpha_t x + sigma_t noise for t = 1 ... T, held at index t - 1.

    One step adds noise of variance beta_t: alpha_t^2 = prod (1 - beta_s), sigma_t^2 = 1 -
    alpha_t^2. With the reverse steps' variance beta_t as well, a step's term of the bound is
    weight_t |v - guess|^2 and a constant, where v = alpha_t noise - sigma_t x and
    weight_t = beta_t alpha_{t-1}^2 / (2 sigma_t^2).

    Steps are drawn in proportion to weight_t sqrt(sigma_t), since what there is to be gained in a
    step vanishes with sigma_t; `coefficient` undoes it.

    Args:
        timesteps: T.
        kind: "linear", beta from .1/T to 20/T; or "cosine".

    Raises:
        ConfigError: kind is none of the two.

    Source:
        Ho et al. 2020, arXiv:2006.11239, eq. 4, 7 and 12 with sigma_t^2 = beta_t (linear); Nichol
        & Dhariwal 2021, arXiv:2102.09672, eq. 17 (cosine) and 19 (draws by importance); Salimans
        & Ho 2022, arXiv:2202.00512 (v).
    """

    alpha: Tensor
    sigma: Tensor
    beta: Tensor
    weight: Tensor
    coefficient: Tensor
    cumulative: Tensor

    def __init__(self, timesteps: int, kind: BetaSchedule) -> None:
        super().__init__()
        if kind not in get_args(BetaSchedule):
            raise ConfigError(f"beta_schedule must be 'linear' or 'cosine', got {kind!r}")
        betas = _BETAS[kind](timesteps).clip(max=_LARGEST_BETA)
        kept = np.cumprod(1 - betas)  # alpha^2
        kept_before = np.concatenate([[1.0], kept[:-1]])
        weight = 0.5 * betas * kept_before / (1 - kept)
        chance = weight * (1 - kept) ** 0.25
        chance /= chance.sum()
        for name, values in {
            "alpha": np.sqrt(kept),
            "sigma": np.sqrt(1 - kept),
            "beta": betas,
            "weight": weight,
            "coefficient": weight / chance,
            "cumulative": chance.cumsum(),
        }.items():
            tensor = torch.tensor(values, dtype=torch.get_default_dtype())
            self.register_buffer(name, tensor, persistent=False)

    def at(self, share: Tensor) -> Tensor:
        """Return the index of the step at each share, in [0, 1), of the cumulative chance."""
        return torch.searchsorted(self.cumulative, share).clamp(max=len(self.cumulative) - 1)


def _linear(timesteps: int) -> NDArray[np.float64]:
    return np.linspace(0.1, 20.0, timesteps) / timesteps


def _cosine(timesteps: int) -> NDArray[np.float64]:
    share = np.linspace(0, 1, timesteps + 1)
    kept = np.cos((share + 0.008) / 1.008 * np.pi / 2) ** 2
    betas: NDArray[np.float64] = 1 - kept[1:] / kept[:-1]
    return betas


_BETAS = {"linear": _linear, "cosine": _cosine}

"""Standardisation inside the model, so that scores keep the units of the data."""

import logging
import math

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Standardizer(nn.Module):
    """Map data to zero mean and unit variance per feature: z = (x - mean) / scale.

    Statistics are per feature (the last axis), over rows and, for windows, over time. The change
    of variables gives log p(x) = log p(z) + log|det dz/dx| with
    log|det dz/dx| = -T sum_d log scale_d (T = 1 for rows).

    Args:
        event_shape: (D,) for rows or (T, D) for windows.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self._steps = math.prod(event_shape[:-1])
        self.register_buffer("mean", torch.zeros(event_shape[-1]))
        self.register_buffer("scale", torch.ones(event_shape[-1]))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation of training data x, shape (B, *event_shape).

        A constant feature gets scale 1, with a warning that names it.
        """
        rows = x.reshape(-1, x.shape[-1]).double()
        mean, std = rows.mean(0), rows.std(0, correction=0)
        constant = std <= 1e-6 * mean.abs().clamp(min=1e-6)
        if constant.any():
            columns = constant.nonzero().flatten().tolist()
            logger.warning("constant columns %s: their scale is set to 1", columns)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 1.0, std))

    def forward(self, x: Tensor) -> Tensor:
        """Return z, the standardised x, of the same shape."""
        return (x - self.mean) / self.scale

    def inverse(self, z: Tensor) -> Tensor:
        """Return x in data units, of the same shape as z."""
        return z * self.scale + self.mean

    @property
    def log_abs_det(self) -> Tensor:
        """log|det dz/dx| of one event, a scalar tensor."""
        return -self._steps * self.scale.log().sum()

"""Linear whitening, so that a network starts from the Gaussian that fits best."""

import math

import torch
from torch import Tensor, nn

#: Variances, of standardised data, below this count as this.
_SMALLEST_VARIANCE = 1e-4


class Whitener(nn.Module):
    """Map standardised events to uncorrelated ones of unit variance: w = C^(-1/2) z, flattened.

    C is the covariance of the training rows, with the variance of the training's noise added, so
    N(w; 0, I) det C^(-1/2) is the best Gaussian (of mean zero) for what a network is shown. The
    symmetric root keeps each w near the feature it came from.

    Args:
        event_shape: (D,) for rows or (T, D) for windows.
    """

    matrix: Tensor
    inverse_matrix: Tensor
    log_abs_det: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self._event_shape = event_shape
        dim = math.prod(event_shape)
        self.register_buffer("matrix", torch.eye(dim))
        self.register_buffer("inverse_matrix", torch.eye(dim))
        self.register_buffer("log_abs_det", torch.zeros(()))

    @torch.no_grad()
    def fit(self, z: Tensor, noise: float) -> None:
        """Take the covariance of z (B, *event_shape) and the standard deviation of the noise."""
        covariance = torch.atleast_2d(z.flatten(1).T.double().cov(correction=0))
        values, vectors = torch.linalg.eigh(covariance)
        values = (values + noise**2).clamp(min=_SMALLEST_VARIANCE)
        self.matrix.copy_((vectors * values.rsqrt()) @ vectors.T)
        self.inverse_matrix.copy_((vectors * values.sqrt()) @ vectors.T)
        self.log_abs_det.copy_(-0.5 * values.log().sum())

    def forward(self, z: Tensor) -> Tensor:
        """Return w (B, D) of z (B, *event_shape)."""
        return z.flatten(1) @ self.matrix

    def inverse(self, w: Tensor) -> Tensor:
        """Return z (B, *event_shape) of w (B, D)."""
        return (w @ self.inverse_matrix).reshape(-1, *self._event_shape)

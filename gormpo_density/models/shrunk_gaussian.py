"""A full Gaussian of anything, from however few rows: reconstruction errors, latents."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Added to every variance, so that a value that never varies does not divide by 0.
_LEAST_VARIANCE = 1e-6


class ShrunkGaussian(nn.Module):
    """N(x; mu, S), S shrunk towards a multiple of the identity as the rows themselves advise.

    S = (1 - r) C + r (tr C / K) I + 1e-6 I, with C the covariance of the rows and r Ledoit and
    Wolf's estimate of the best share, near 0 when rows are many and near 1 when they are few.

    Args:
        dim: Length K of a row.

    Source:
        Ledoit & Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
        matrices", as `sklearn.covariance.ledoit_wolf`.
    """

    __call__: Callable[..., Tensor]
    mean: Tensor
    whitener: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("whitener", torch.eye(dim))

    def fit(self, x: Tensor) -> None:
        """Estimate mu and S from rows (N, K), N at least 2."""
        from sklearn.covariance import ledoit_wolf

        rows = x.double().cpu()
        mean = rows.mean(0)
        covariance = torch.as_tensor(ledoit_wolf((rows - mean).numpy(), assume_centered=True)[0])
        root = torch.linalg.cholesky(covariance + _LEAST_VARIANCE * torch.eye(len(mean)))
        identity = torch.eye(len(mean), dtype=root.dtype)
        self.mean.copy_(mean)
        self.whitener.copy_(torch.linalg.solve_triangular(root, identity, upper=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return log N(x; mu, S) of rows (..., K), shape (...), in nats."""
        whitened = (x - self.mean) @ self.whitener.T
        log_det = self.whitener.diagonal().log().sum()
        return log_det - 0.5 * (whitened.square() + math.log(2 * math.pi)).sum(-1)

"""A density model and a penalty for gormpo_density, in a package of their own."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gormpo_density import DensityModel


class StudentT(DensityModel):
    """Multivariate Student's t: a Gaussian with tails heavy enough for stray rows.

    log p(z) = log G((v + D) / 2) - log G(v / 2) - D/2 log(v pi) + log|det L|
               - (v + D) / 2 log(1 + |L^T (z - m)|^2 / v)

    with the gamma function G, D the width, L lower triangular. Mean m, L and the degrees of
    freedom v > 1 are learnt by the training loop that all models share.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        device: Where to put the model.

    Source:
        Kotz & Nadarajah 2004, "Multivariate t distributions and their applications", eq. 1.1.
    """

    def __init__(self, input_dim: int | Sequence[int], device: str = "cpu") -> None:
        super().__init__(input_dim)
        dim = math.prod(self.event_shape)
        self.mean = nn.Parameter(torch.zeros(dim))
        self.factor = nn.Parameter(torch.zeros(dim, dim))  # log of its diagonal on the diagonal
        self.freedom = nn.Parameter(torch.zeros(()))
        self.to(device)

    def reset_parameters(self) -> None:
        """Start as the standard t with five degrees of freedom."""
        nn.init.zeros_(self.mean)
        nn.init.zeros_(self.factor)
        nn.init.constant_(self.freedom, 4.0)

    def _log_prob(self, z: Tensor) -> Tensor:
        """Log-density (B,) of standardised z (B, *event_shape); the base class does the rest."""
        dim, v = len(self.mean), 1 + functional.softplus(self.freedom)
        log_diagonal = self.factor.diagonal()
        lower = self.factor.tril(-1) + log_diagonal.exp().diag()
        distance = ((z.flatten(1) - self.mean) @ lower).square().sum(1)
        log_norm = torch.lgamma((v + dim) / 2) - torch.lgamma(v / 2)
        log_norm = log_norm - dim / 2 * torch.log(v * math.pi) + log_diagonal.sum()
        return log_norm - (v + dim) / 2 * torch.log1p(distance / v)


def quadratic(u: Tensor, cap: float) -> Tensor:
    """Return v^2 / cap, v = u clipped to [0, cap]: lenient near the threshold, strict far out."""
    return u.nan_to_num(nan=cap).clamp(0, cap).square() / cap

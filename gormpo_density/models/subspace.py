"""The principal subspace of rows, and a Gaussian of what it leaves out."""

import torch
from torch import Tensor, nn

from gormpo_density.models.gaussians import LOG_2PI

#: Directions whose singular value is below this share of the largest are of no use.
_LEAST_SHARE = 1e-5
#: Parts of the rows that are in turn held out to measure the residual.
_FOLDS = 5
#: Variance of the residual that a row exactly in the subspace would otherwise make 0.
_LEAST_VARIANCE = 1e-6


class Subspace(nn.Module):
    """x = centre + c U^T + r with U orthonormal (P, K), and r ~ N(0, s^2 I) orthogonal to U.

    U holds the first principal directions of the training rows. Since (c, r) is x rotated,
    log p(x) = log p(c) + log N(r; 0, s^2 I), the second of P - K dimensions. s^2 is
    cross-fitted, from rows that did not choose U: of as many directions as rows, nothing would be
    left of the rows themselves.

    Args:
        dim: Length P of a row.

    Source:
        Tipping & Bishop 1999, "Probabilistic principal component analysis", eq. 12-13. Differs:
        s^2 is cross-fitted, and p(c) is anything.
    """

    centre: Tensor
    basis: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("basis", torch.eye(dim))
        self.register_buffer("variance", torch.ones(()))

    @torch.no_grad()
    def fit(self, rows: Tensor, n_components: int, seed: int = 0) -> None:
        """Take U from rows (N, P), N at least 2, and s^2 from what each fold leaves of it.

        K is n_components or what the rows have: at most P, at most N - 1, and no direction in
        which the rows do not vary; at least 1.
        """
        centre, basis = _principal(rows, n_components)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        squares = rows.new_zeros(())
        for fold in order.chunk(min(_FOLDS, len(rows))):
            others = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            others[fold] = False
            self.centre, self.basis = _principal(rows[others], n_components)
            squares += self(rows[fold])[1].sum()
        self.centre, self.basis = centre, basis
        left_out = max(1, basis.shape[0] - basis.shape[1])
        self.variance.copy_(squares / (len(rows) * left_out)).clamp_(_LEAST_VARIANCE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return c (B, K) and the squared length of r (B,) of rows (B, P)."""
        deviations = x - self.centre
        c = deviations @ self.basis
        return c, (deviations - c @ self.basis.T).square().sum(1)

    def log_residual(self, squared: Tensor) -> Tensor:
        """Return log N(r; 0, s^2 I) of residuals with these squared lengths, in nats."""
        left_out = self.basis.shape[0] - self.basis.shape[1]
        if left_out == 0:
            return torch.zeros_like(squared)
        log_det = left_out * (LOG_2PI + self.variance.log())
        return -0.5 * (squared / self.variance + log_det)

    def draw_residual(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Draw residuals (num_samples, P)."""
        noise = self.centre.new_empty(num_samples, len(self.centre)).normal_(generator=generator)
        noise = noise * self.variance.sqrt()
        return noise - noise @ self.basis @ self.basis.T

    def inverse(self, c: Tensor) -> Tensor:
        """Return rows (B, P) of coefficients (B, K), the residual zero."""
        return self.centre + c @ self.basis.T


def _principal(rows: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Return the mean (P,) and the first directions (P, K), the sign of each fixed."""
    mean = rows.double().mean(0)
    _, values, directions = torch.linalg.svd(rows.double() - mean, full_matrices=False)
    rank = int((values > _LEAST_SHARE * values[0]).sum())
    basis = directions[: max(1, min(n_components, rank))].T
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    basis = basis * torch.where(largest < 0, -1.0, 1.0)
    return mean.to(rows.dtype), basis.to(rows.dtype).contiguous()

"""A Gaussian of each class in a small space, for classes of however few rows."""

import torch
from torch import Tensor

from gormpo_density.models.shrunk_gaussian import ShrunkGaussian


class ClassGaussians:
    """log p(x | c) = log N(x; mu_c, S_c), S_c the shrunk covariance of the class.

    A class with fewer rows than `own_from` takes the covariance of all classes' deviations from
    their means, so one row is enough, and nothing is ever NaN.

    Args:
        own_from: Rows from which a class has a covariance of its own, at least 2.

    Source:
        The covariance: `ShrunkGaussian`.
    """

    def __init__(self, own_from: int = 2) -> None:
        self.own_from = own_from

    def fit(self, x: Tensor, y: Tensor) -> "ClassGaussians":
        """Estimate every class from rows (n, K), n at least 2, and classes (n,)."""
        self.classes, position = y.unique(return_inverse=True)
        means = torch.stack([x[position == c].mean(0) for c in range(len(self.classes))])
        pooled = x - means[position]
        self._gaussians: list[ShrunkGaussian] = []
        for c, mean in enumerate(means):
            own = pooled[position == c]
            gaussian = ShrunkGaussian(x.shape[1]).to(x)
            gaussian.fit(own if len(own) >= self.own_from else pooled)
            gaussian.mean.copy_(mean)
            self._gaussians.append(gaussian)
        return self

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x | c) of rows (B, K) for every class that was seen: (B, C), in nats."""
        return torch.stack([gaussian(x) for gaussian in self._gaussians], 1)

    def position(self, y: Tensor) -> Tensor:
        """Return the column of each class of y (B,); -1 for a class that was not seen."""
        column = torch.searchsorted(self.classes, y).clamp(max=len(self.classes) - 1)
        return torch.where(self.classes[column] == y, column, -1)

    def draw(self, y: Tensor, spread: float, generator: torch.Generator) -> Tensor:
        """Draw a row of each class of y (B,), the deviations from the means times `spread`."""
        whitener = torch.stack([gaussian.whitener for gaussian in self._gaussians])
        mean = torch.stack([gaussian.mean for gaussian in self._gaussians])
        noise = torch.empty_like(mean[self.position(y)]).normal_(generator=generator)
        # x = mean + L e with L^-1 the whitener
        deviation = torch.linalg.solve_triangular(
            whitener[self.position(y)], noise[..., None], upper=False
        )
        drawn: Tensor = mean[self.position(y)] + spread * deviation[..., 0]
        return drawn

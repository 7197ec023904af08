"""Whether a synthetic row is a likely one of its class, by densities of the real rows."""

import math

import torch
from torch import Tensor

from gormpo_density.augmentation.class_gaussians import ClassGaussians
from gormpo_density.calibration import Calibration
from gormpo_density.errors import ConfigError, DataError, NotFittedError
from gormpo_density.models.subspace import Subspace

_FOLDS = 5
_COMPONENTS = 16


class _Density:
    """log p(x | c) = log N(components; mu_c, S_c) + log N(residual; 0, s^2 I), see `Subspace`."""

    def __init__(self, x: Tensor, y: Tensor, own_from: int, seed: int) -> None:
        self.subspace = Subspace(x.shape[1]).to(x)
        self.subspace.fit(x, min(_COMPONENTS, max(1, len(x) // 2)), seed)
        self.gaussians = ClassGaussians(own_from).fit(self.subspace(x)[0], y)

    def log_prob(self, x: Tensor) -> Tensor:
        components, squared = self.subspace(x)
        return self.gaussians.log_prob(components) + self.subspace.log_residual(squared)[:, None]


class Acceptance:
    """Accepts a synthetic row of class c unless p < alpha or another class's density is higher.

    Densities are shrunk Gaussians of the classes in the first principal components of the real
    rows. p is the conformal p-value of log p(x | c) among the scores of real rows, each scored by
    a density that was fitted without it (5 folds). A class of more than 1/alpha - 1 rows has a
    covariance and a calibration of its own; smaller ones share theirs, since so few scores could
    never give a p below alpha. Where all classes together are so few, nothing is rejected by p.

    Args:
        alpha: Share of real rows, at most, that would be rejected by p.

    Raises:
        ConfigError: alpha is not in (0, 1).

    Source:
        Bates et al. 2023, arXiv:2104.08279 (p-values), and see `ClassGaussians`, `Subspace`.
    """

    def __init__(self, alpha: float = 0.05) -> None:
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha must be in (0, 1), is {alpha}")
        self.alpha = alpha
        self._density: _Density | None = None

    def fit(self, x: Tensor, y: Tensor, *, seed: int = 0) -> "Acceptance":
        """Learn from real rows (n, T, D), n at least 4, and their classes (n,).

        Raises:
            DataError: There are fewer than four rows.
        """
        if len(x) < 4:
            raise DataError(f"accepting rows needs four real ones at least, got {len(x)}")
        rows, own_from = x.flatten(1), max(2, math.floor(1 / self.alpha))
        self._density = _Density(rows, y, own_from, seed)
        scores, labels = self._held_out_scores(rows, y, own_from, seed)
        counts = torch.bincount(labels, minlength=int(y.max()) + 1)
        is_small = counts < own_from
        shared = scores[is_small[labels]]
        shared = shared if len(shared) else scores  # small classes of one row each
        self._calibrations = {
            int(c): _calibration(shared if is_small[c] else scores[labels == c], self.alpha)
            for c in y.unique()
        }
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return which rows (m, T, D) of classes y (m,) are accepted, (m,) bool.

        Raises:
            NotFittedError: `fit` was not called.
        """
        claims = self.log_prob(x)
        own = claims.gather(1, self._fitted.gaussians.position(y)[:, None])[:, 0]
        return (claims <= own[:, None]).all(1) & (self.p_value(x, y) >= self.alpha)

    def p_value(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the p-value (m,) of rows (m, T, D) as ones of classes y (m,)."""
        column = self._fitted.gaussians.position(y)
        own = self.log_prob(x).gather(1, column[:, None])[:, 0]
        p = torch.ones_like(own)
        for c, calibration in self._calibrations.items():
            p = torch.where(y == c, calibration.p_value(own), p)
        return p

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x | c) of rows (m, T, D) for every class, (m, C), in nats."""
        return self._fitted.log_prob(x.flatten(1))

    @property
    def _fitted(self) -> _Density:
        if self._density is None:
            raise NotFittedError("Acceptance: call fit first")
        return self._density

    def _held_out_scores(
        self, x: Tensor, y: Tensor, own_from: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return log p(x | c) of real rows under densities without them, and their classes.

        A row that is alone in its class has none.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(x), generator=generator).to(x.device)
        scores, labels = [], []
        for fold in order.chunk(min(_FOLDS, len(x))):
            others = torch.ones(len(x), dtype=torch.bool, device=x.device)
            others[fold] = False
            density = _Density(x[others], y[others], own_from, seed)
            column = density.gaussians.position(y[fold])
            known, column = fold[column >= 0], column[column >= 0]
            scores.append(density.log_prob(x[known]).gather(1, column[:, None])[:, 0])
            labels.append(y[known])
        return torch.cat(scores), torch.cat(labels)


def _calibration(scores: Tensor, alpha: float) -> Calibration:
    if not len(scores):
        raise DataError("accepting rows needs a class of two real ones at least")
    # p-values alone are used: there is no threshold to warn of
    return Calibration(scores.sort().values.cpu(), alpha, float(scores.min()))

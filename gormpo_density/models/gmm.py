"""Gaussian mixture: an exact density from a few full covariances, fitted by scikit-learn."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.errors import DataError
from gormpo_density.models.closed_form import ClosedForm

Rows = NDArray[np.float64]

#: What "held_out" chooses from.
MOST_COMPONENTS = 32
REG_COVARS = (1e-4, 1e-3, 1e-2)


class GMM(ClosedForm):
    """Mixture of Gaussians with full covariances on standardised rows.

    log p(z) = log sum_k w_k N(z; m_k, S_k), where S_k^-1 = R_k R_k^T, R_k upper triangular.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        n_components: Number of Gaussians; "held_out" doubles it from 1, to 32 at most, as long
            as the validation rows become likelier.
        reg_covar: Added to the diagonal of every covariance, standardised units; "held_out" tries
            1e-4, 1e-3 and 1e-2.
        max_rows: Most training rows used, drawn at random.
        device: Where to put the model.

    Raises:
        DataError: `fit` has fewer training rows than components.

    Source:
        Dempster et al. 1977 (expectation maximisation), as in `sklearn.mixture.GaussianMixture`.
    """

    sized_by_fit: ClassVar[frozenset[str]] = frozenset({"log_weights", "means", "roots"})
    log_weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        n_components: Literal["held_out"] | Annotated[int, Ge(1)] = "held_out",
        reg_covar: Literal["held_out"] | Annotated[float, Gt(0)] = "held_out",
        max_rows: Annotated[int, Ge(2)] = 20_000,
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim, max_rows)
        self.n_components = n_components
        self.reg_covar = reg_covar
        dim = math.prod(self.event_shape)
        self.register_buffer("log_weights", torch.zeros(1))
        self.register_buffer("means", torch.zeros(1, dim))
        self.register_buffer("roots", torch.eye(dim)[None])
        self.to(device)

    def _estimate(self, train: Tensor, val: Tensor, seed: int) -> None:
        rows, held_out = (z.double().cpu().numpy() for z in (train, val))
        if self.n_components != "held_out" and self.n_components > len(rows):
            raise DataError(f"{self.n_components} components for {len(rows)} training rows")
        constants = REG_COVARS if self.reg_covar == "held_out" else (self.reg_covar,)
        found = [self._choose_size(rows, held_out, constant, seed) for constant in constants]
        mixture = max(found, key=lambda mixture: mixture.score(held_out))
        self.log_weights = train.new_tensor(np.log(mixture.weights_))
        self.means = train.new_tensor(mixture.means_)
        self.roots = train.new_tensor(mixture.precisions_cholesky_)

    def _choose_size(self, rows: Rows, held_out: Rows, reg_covar: float, seed: int) -> Any:
        if self.n_components != "held_out":
            return _mixture(rows, self.n_components, reg_covar, seed)
        best = _mixture(rows, 1, reg_covar, seed)
        while 2 * best.n_components <= min(MOST_COMPONENTS, len(rows)):
            larger = _mixture(rows, 2 * best.n_components, reg_covar, seed)
            if larger.score(held_out) <= best.score(held_out):
                break
            best = larger
        return best

    def _log_prob(self, z: Tensor) -> Tensor:
        offsets = z.flatten(1).unsqueeze(1) - self.means
        whitened = torch.einsum("bkd,kde->bke", offsets, self.roots)
        log_2pi = self.means.shape[1] * math.log(2 * math.pi)
        log_det = self.roots.diagonal(dim1=1, dim2=2).log().sum(1)
        log_normal = log_det - 0.5 * (whitened.square().sum(2) + log_2pi)
        return (self.log_weights + log_normal).logsumexp(1)

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        weights = self.log_weights.exp()
        n = max(1, num_samples)  # multinomial refuses 0, an ensemble's member may be asked for it
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)[:num_samples]
        samples = self.means.new_empty(num_samples, self.means.shape[1])
        samples.normal_(generator=generator)
        for k, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            noise = samples[chosen == k]
            deviation = torch.linalg.solve_triangular(root, noise, upper=True, left=False)
            samples[chosen == k] = mean + deviation
        return samples.reshape(-1, *self.event_shape)


def _mixture(rows: Rows, n_components: int, reg_covar: float, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        n_components,
        reg_covar=reg_covar,
        init_params="k-means++",  # full k-means sums in the order its threads happen to finish
        random_state=seed,
    )
    return mixture.fit(rows)

"""A flow of principal components: an exact density of long windows from few of them."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gormpo_density.base import LatentModel, PositiveInt
from gormpo_density.fitting import FitOptions, History, Hooks
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.subspace import Subspace


class PCAFlow(LatentModel):
    """log p(x) = log p_flow(c) + log N(r; 0, s^2 I): a flow in a subspace, noise outside it.

    c are the first principal components of the standardised, flattened row, r is what they leave
    out (see `Subspace`), and p_flow a `RealNVP`. The rotation x -> (c, r) changes no volume, so
    the density is exact. The latent is the flow's: decoding puts r = 0, hence
    decode(encode(x)) is x's projection on the subspace.

    There are never more components than training rows less one, nor than the row is long; `fit`
    decides, so that the size of the latent is known after it.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        n_components: Most components.
        num_layers: Couplings of the flow.
        hidden_dims: Widths of each coupling's net.
        device: Where to put the model.

    Source:
        Tipping & Bishop 1999, "Probabilistic principal component analysis" (the split into
        subspace and noise); Dinh et al. 2017, arXiv:1605.08803 (the flow).
    """

    def __init__(
        self,
        input_dim: int | Sequence[int],
        n_components: PositiveInt = 16,
        num_layers: PositiveInt = 4,
        hidden_dims: Sequence[PositiveInt] = (64, 64),
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim)
        self.n_components = n_components
        self.num_layers = num_layers
        self.hidden_dims = list(hidden_dims)
        dim = math.prod(self.event_shape)
        self.subspace = Subspace(dim)
        self._build(min(n_components, dim))
        self._reset(seed=0)
        self.to(device)

    def _build(self, n_components: int) -> None:
        """Make a flow for as many components as there are."""
        with torch.random.fork_rng(devices=[]):  # new layers draw weights, dropped in a moment
            flow = RealNVP(n_components, self.num_layers, self.hidden_dims)
        self.flow = flow.to(self.standardizer.mean)
        self.subspace.basis = self.subspace.basis[:, :n_components]

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        rows = splits["train"].flatten(1)
        self.subspace.fit(rows, self.n_components, options.seed)
        self._build(self.subspace.basis.shape[1])
        self.flow._reset(options.seed)
        self.flow.standardizer.fit(self.subspace(rows)[0])
        return super()._fit(splits, options, hooks)

    def _log_prob(self, z: Tensor) -> Tensor:
        c, squared = self.subspace(z.flatten(1))
        return self.flow.log_prob(c) + self.subspace.log_residual(squared)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flow's latent (B, K) of x, standard normal under the model."""
        c, _ = self.subspace(self.standardizer(x).flatten(1))
        return self.flow.encode(c)

    def decode(self, z: Tensor) -> Tensor:
        """Return the x (B, *event_shape) of a latent that lies in the subspace, data units."""
        return self._in_shape(self.subspace.inverse(self.flow.decode(z)))

    def _in_shape(self, flat: Tensor) -> Tensor:
        return self.standardizer.inverse(flat.reshape(-1, *self.event_shape))

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        c = self.flow.standardizer.inverse(self.flow._sample(num_samples, generator))
        residual = self.subspace.draw_residual(num_samples, generator)
        return (self.subspace.inverse(c) + residual).reshape(-1, *self.event_shape)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved state dict, which says how many components there are."""
        self._build(state["subspace.basis"].shape[1])
        super().restore(state)

"""RealNVP: an exact density from invertible affine couplings."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gormpo_density.base import LatentModel
from gormpo_density.errors import ConfigError
from gormpo_density.models.nets import MLP

#: |log scale| of one coupling stays below this, so no row can blow up training or scoring.
LOG_SCALE_BOUND = 2.0


class Mixing(nn.Module):
    """Permute the dimensions, then mix them linearly: y = L U x[perm].

    L is lower triangular with ones on its diagonal, U upper triangular with the diagonal exp(d),
    so log|det dy/dx| = sum d and the inverse is two triangular solves. Both start as the
    identity. Without learning, y = x[perm].

    Source:
        Kingma & Dhariwal 2018, "Glow", arXiv:1807.03039, sec. 3.2.
    """

    perm: Tensor

    def __init__(self, dim: int, learned: bool) -> None:
        super().__init__()
        self.register_buffer("perm", torch.arange(dim))
        self.weight = nn.Parameter(torch.zeros(dim, dim)) if learned else None

    def reset_parameters(self) -> None:
        """Start as the bare permutation."""
        if self.weight is not None:
            nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (B, D) and log|det dy/dx|, a scalar."""
        if self.weight is None:
            return x[:, self.perm], x.new_zeros(())
        lower, upper = _triangles(self.weight)
        matrix = (lower @ upper)[:, self.perm.argsort()]  # permutes few columns, not many rows
        return x @ matrix.T, self.weight.diagonal().sum()

    def inverse(self, y: Tensor) -> Tensor:
        """Return x (B, D) from y (B, D)."""
        if self.weight is not None:
            lower, upper = _triangles(self.weight)
            y = torch.linalg.solve_triangular(lower.T, y, upper=True, left=False)
            y = torch.linalg.solve_triangular(upper.T, y, upper=False, left=False)
        return y[:, self.perm.argsort()]


def _triangles(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return L and U from the one matrix that holds both."""
    identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
    return weight.tril(-1) + identity, weight.triu(1) + weight.diagonal().exp().diag()


class Coupling(nn.Module):
    """Scale and shift the second half b of a row by what the first half a says.

    y = (a, b * exp(s(a)) + t(a));  log|det dy/dx| = sum s(a), where
    s = LOG_SCALE_BOUND * tanh(raw / LOG_SCALE_BOUND). One net gives raw and t; its last layer
    starts at zero, so a new coupling is the identity.
    """

    def __init__(self, dim: int, hidden_dims: Sequence[int], use_bfloat16: bool = False) -> None:
        super().__init__()
        self.split = [dim // 2, dim - dim // 2]
        self.use_bfloat16 = use_bfloat16
        self.net = MLP(max(1, self.split[0]), hidden_dims, 2 * self.split[1])

    def reset_parameters(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(self.net.out.weight)
        nn.init.zeros_(self.net.out.bias)

    def _scale_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        context = a if self.split[0] else a.new_ones(len(a), 1)  # one dimension: nothing to read
        with torch.autocast(a.device.type, torch.bfloat16, self.use_bfloat16):
            raw, shift = self.net(context).to(a.dtype).chunk(2, dim=1)
        return LOG_SCALE_BOUND * torch.tanh(raw / LOG_SCALE_BOUND), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (B, D) and log|det dy/dx| (B,)."""
        a, b = x.split(self.split, dim=1)
        log_scale, shift = self._scale_shift(a)
        return torch.cat([a, b * log_scale.exp() + shift], dim=1), log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x (B, D) from y (B, D)."""
        a, b = y.split(self.split, dim=1)
        log_scale, shift = self._scale_shift(a)
        return torch.cat([a, (b - shift) * (-log_scale).exp()], dim=1)


class RealNVP(LatentModel):
    """Real-valued non-volume-preserving flow: log p(x) = log N(f(x); 0, I) + log|det df/dx|.

    f is a chain of layers on standardised data, each a `Mixing` and a `Coupling`. Permutations
    are random and reversed in turn, so every two layers change every dimension.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        num_layers: Number of couplings.
        hidden_dims: Widths of each coupling's net.
        device: Where to put the model.
        mixing: "linear" learns a linear map after each permutation (better fits, D^2 parameters
            a layer); "permutation" does not.
        precision: "bfloat16" runs the nets (not the couplings' arithmetic) in bfloat16, faster on
            processors that have it, at an error of about .02 nats (median).

    Raises:
        ConfigError: mixing or precision is none of the two.

    Source:
        Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803, eq. 3-8.
        Differs: bounded log-scale, mixing in place of masks, no batch normalisation.
    """

    def __init__(
        self,
        input_dim: int | Sequence[int],
        num_layers: Annotated[int, Ge(1)] = 8,
        hidden_dims: Sequence[Annotated[int, Ge(1)]] = (96, 96),
        device: str = "cpu",
        mixing: Literal["linear", "permutation"] = "linear",
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__(input_dim)
        if mixing not in ("linear", "permutation"):
            raise ConfigError(f"mixing must be 'linear' or 'permutation', got {mixing!r}")
        if precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
        self.num_layers = num_layers
        self.hidden_dims = list(hidden_dims)
        self.mixing = mixing
        self.precision = precision
        self._dim = math.prod(self.event_shape)
        learned = mixing == "linear"
        self.mixings = nn.ModuleList(Mixing(self._dim, learned) for _ in range(num_layers))
        self.couplings = nn.ModuleList(
            Coupling(self._dim, hidden_dims, precision == "bfloat16") for _ in range(num_layers)
        )
        self._reset(seed=0)
        self.to(device)

    @property
    def _layers(self) -> list[tuple[Mixing, Coupling]]:
        pairs = zip(self.mixings, self.couplings, strict=True)
        return [(cast(Mixing, mixing), cast(Coupling, coupling)) for mixing, coupling in pairs]

    def reset_parameters(self) -> None:
        """Draw the permutations: random, then reversed, in turn."""
        for number, (mixing, _) in enumerate(self._layers):
            even = number % 2 == 0
            perm = torch.randperm(self._dim) if even else torch.arange(self._dim).flip(0)
            mixing.perm.copy_(perm)

    def _log_prob(self, z: Tensor) -> Tensor:
        u, log_det = self._forward(z)
        return -0.5 * (u.square().sum(1) + self._dim * math.log(2 * math.pi)) + log_det

    def _forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return u = f(z) (B, D) and log|det du/dz| (B,)."""
        u, log_det = z.flatten(1), z.new_zeros(len(z))
        for mixing, coupling in self._layers:
            u, mixed = mixing(u)
            u, coupled = coupling(u)
            log_det = log_det + mixed + coupled
        return u, log_det

    def _inverse(self, u: Tensor) -> Tensor:
        for mixing, coupling in reversed(self._layers):
            u = mixing.inverse(coupling.inverse(u))
        return u.reshape(-1, *self.event_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the exact latent u = f(x), shape (B, D), standard normal under the model."""
        return self._forward(self.standardizer(x))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return x = f^-1(z), shape (B, *event_shape), data units."""
        return self.standardizer.inverse(self._inverse(z))

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        u = self.standardizer.mean.new_empty(num_samples, self._dim)
        return self._inverse(u.normal_(generator=generator))

"""A velocity given by a network, with its divergence in closed form."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gormpo_density.errors import ConfigError


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    y = a * gate
    return y, gate + y * (1 - gate)


def _softplus(a: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(a), torch.sigmoid(a)


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.tanh(a)
    return y, 1 - y.square()


#: Smooth activations by name: pre-activation -> value and slope, each of its shape.
ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "silu": _silu,
    "softplus": _softplus,
    "tanh": _tanh,
}


class VectorField(nn.Module):
    """Velocity f(z, t) of an MLP, and the trace of its Jacobian df/dz, exact or estimated.

    With weights W1, W2, W3 and slopes s1, s2 of the activations at z, the Jacobian is
    W3 diag(s2) W2 diag(s1) W1 and its trace s2' (W2 * (W1 W3)') s1, where * is elementwise: one
    product with a matrix of W2's size, whatever D is. With one hidden layer or none it is simpler
    still; with more, the D unit vectors are pushed through the layers. Every layer reads the time
    as one more input. The last layer starts at zero, so at first nothing moves.

    Args:
        dim: D.
        hidden_dims: Widths of the hidden layers; none gives a linear field.
        activation: A name in `ACTIVATIONS`.
        time_dependent: Whether the field reads the time.

    Raises:
        ConfigError: There is no such activation.
    """

    __call__: Callable[..., tuple[Tensor, list[Tensor]]]

    def __init__(
        self, dim: int, hidden_dims: Sequence[int], activation: str, time_dependent: bool
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ConfigError(f"activation must be one of {names}, got {activation!r}")
        self.activate = ACTIVATIONS[activation]
        widths = [dim, *hidden_dims, dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.time_weights = nn.ParameterList(
            nn.Parameter(torch.zeros(width)) for width in widths[1:] if time_dependent
        )

    def reset_parameters(self) -> None:
        """Start at rest."""
        for weight in self.time_weights:
            nn.init.normal_(weight)
        *_, last = self.layers
        for weight in (*last.parameters(), *list(self.time_weights)[-1:]):
            nn.init.zeros_(weight)

    def forward(self, z: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the velocity (B, D) at z (B, D), and each hidden layer's slopes (B, width)."""
        slopes = []
        *hidden, last = range(len(self.layers))
        for number in hidden:
            z, slope = self.activate(self._linear(number, z, t))
            slopes.append(slope)
        return self._linear(last, z, t), slopes

    def _linear(self, number: int, z: Tensor, t: Tensor) -> Tensor:
        y: Tensor = self.layers[number](z)
        return y + t * self.time_weights[number] if len(self.time_weights) else y

    @property
    def _weights(self) -> list[Tensor]:
        return [cast(Tensor, layer.weight) for layer in self.layers]

    def divergence(self, slopes: list[Tensor]) -> Tensor:
        """Return the trace of df/dz, (B,) or for a linear field a scalar, from the slopes."""
        weights = self._weights
        first, last = weights[0], weights[-1]
        match slopes:
            case []:
                return first.diagonal().sum()
            case [slope]:
                return slope @ (first * last.T).sum(1)
            case [slope1, slope2]:
                mixed = weights[1] * (first @ last).T
                return ((slope1 @ mixed.T) * slope2).sum(1)
        units = torch.eye(first.shape[1], dtype=first.dtype, device=first.device)
        return self.curvature(slopes, units[:, None]).sum(0)

    def curvature(self, slopes: list[Tensor], probes: Tensor) -> Tensor:
        """Return e' (df/dz) e for every probe e, shape (K, B), of probes (K, 1 or B, D).

        Over probes of mean 0 and covariance I its mean is the trace (Hutchinson 1990).
        """
        *weights, last = self._weights
        pushed = probes
        for weight, slope in zip(weights, slopes, strict=True):
            pushed = (pushed @ weight.T) * slope
        return (pushed @ last.T * probes).sum(-1)

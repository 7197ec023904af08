"""Probabilistic networks side by side: each layer of all of them is one batched product."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

_MAX_LOG_VAR, _MIN_LOG_VAR = 0.5, -10.0  # where the learnt bounds start


class GaussianEnsemble(nn.Module):
    """E networks with parameters of their own: x -> N(mean(x), diag(exp(log_var(x)))).

    Linear layers with SiLU between them. The log-variance is kept between bounds that are learnt,
    for each member and output: v = max - softplus(max - v), then v = min + softplus(v - min).
    Every parameter has the members as its first axis.

    Args:
        members: E.
        in_dim: Width of the input, D.
        hidden_dims: Widths of the hidden layers.
        out_dim: Width of the output, T.
        generator: Draws the weights, uniformly within 1 / sqrt(width of the layer's input).

    Source:
        Chua et al. 2018, "PETS", arXiv:1805.12114, sec. 4 and app. A.1. Differs: bounds of their
        own for each member, so that a member can be kept or put back alone.
    """

    def __init__(
        self,
        members: int,
        in_dim: int,
        hidden_dims: Sequence[int],
        out_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.members = members
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise([in_dim, *hidden_dims, 2 * out_dim]):
            for shape, parameters in ((fan_in, self.weights), (1, self.biases)):
                values = torch.empty(members, shape, fan_out)
                bound = fan_in**-0.5
                parameters.append(values.uniform_(-bound, bound, generator=generator))
        self.max_log_var = nn.Parameter(torch.full((members, 1, out_dim), _MAX_LOG_VAR))
        self.min_log_var = nn.Parameter(torch.full((members, 1, out_dim), _MIN_LOG_VAR))

    def forward(self, x: Tensor, members: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, each (M, B, T).

        Args:
            x: A batch for each member, (M, B, D), or one for all of them, (B, D).
            members: Numbers (M,) of those that take part; None is all.
        """

        def own(parameter: Tensor) -> Tensor:
            return parameter if members is None else parameter.index_select(0, members)

        h = x.expand(self.members if members is None else len(members), *x.shape[-2:])
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight is not self.weights[0]:
                h = silu(h)
            h = torch.baddbmm(own(bias), h, own(weight))
        mean, log_var = h.chunk(2, dim=2)
        upper, lower = own(self.max_log_var), own(self.min_log_var)
        log_var = upper - softplus(upper - log_var)
        return mean, lower + softplus(log_var - lower)

    def bound_width(self, members: Tensor) -> Tensor:
        """Return the sum over outputs of max - min log-variance, (M,)."""
        return (self.max_log_var - self.min_log_var)[members].sum((1, 2))


def gaussian_nll(mean: Tensor, log_var: Tensor, y: Tensor) -> Tensor:
    """Return -log N(y; mean, exp(log_var)) of each element, in nats, without log(2 pi) / 2."""
    return 0.5 * ((y - mean).square() * (-log_var).exp() + log_var)

"""Twin critics as one stacked network."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from rl.policy import column_scale


class TwinCritic(nn.Module):
    """Q_1 and Q_2 of (s, a): two ReLU networks whose layers are one batched matmul each.

    Args:
        obs_dim: O.
        action_dim: A.
        hidden_dims: Width of each hidden layer.
    """

    __call__: Callable[..., Tensor]
    mean: Tensor
    std: Tensor

    def __init__(
        self, obs_dim: int, action_dim: int, hidden_dims: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(obs_dim + action_dim))
        self.register_buffer("std", torch.ones(obs_dim + action_dim))
        widths = [obs_dim + action_dim, *hidden_dims, 1]
        self.weights = nn.ParameterList(torch.empty(2, *pair) for pair in pairwise(widths))
        self.biases = nn.ParameterList(torch.empty(2, 1, width) for width in widths[1:])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly in +-1 / sqrt(inputs), as `nn.Linear` does."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def standardise(self, rows: Tensor) -> None:
        """Take the mean and the standard deviation of training rows [s, a], (N, O + A)."""
        self.mean.copy_(rows.mean(0))
        self.std.copy_(column_scale(rows))

    def forward(self, rows: Tensor) -> Tensor:
        """Return Q_1 and Q_2, (2, B), of rows [s, a], (B, O + A)."""
        hidden = ((rows - self.mean) / self.std).expand(2, -1, -1)
        *inner, (last_weight, last_bias) = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            hidden = torch.baddbmm(bias, hidden, weight).relu_()
        # To one output, a product and a sum take a fraction of a batched matmul's time.
        values: Tensor = (hidden * last_weight.mT).sum(-1) + last_bias.squeeze(-1)
        return values

    def loss(self, rows: Tensor, goal: Tensor) -> Tensor:
        """Return sum_i mean (Q_i - goal)^2 of rows (B, O + A); goal is (B,), or (2, B)."""
        return (self(rows) - goal).square().mean(1).sum()

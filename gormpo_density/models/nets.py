"""The one network that all models are built from."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected net: linear layers with ReLU between them.

    Args:
        in_dim: Width of the input, the last axis.
        hidden_dims: Widths of the hidden layers; none gives a linear map.
        out_dim: Width of the output.
    """

    __call__: Callable[..., Tensor]

    def __init__(self, in_dim: int, hidden_dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        widths = [in_dim, *hidden_dims]
        self.hidden = nn.Sequential()
        for narrow, wide in pairwise(widths):
            self.hidden.append(nn.Linear(narrow, wide)).append(nn.ReLU(inplace=True))
        self.out = nn.Linear(widths[-1], out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., out_dim) for x (..., in_dim)."""
        y: Tensor = self.out(self.hidden(x))
        return y

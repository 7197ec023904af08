"""Between a transition's own units and those in which the dynamics networks work."""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_CHUNK_ROWS = 4096


class TransitionUnits(nn.Module):
    """Standardise inputs [obs, action] and targets [next_obs - obs, reward], per column.

    A constant input is only shifted. A constant target gets scale 0: whatever is predicted for
    it, in data units it is that constant without noise.

    Args:
        obs_dim: O.
        action_dim: A.
    """

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        super().__init__()
        for name, width in (("input", obs_dim + action_dim), ("target", obs_dim + 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))

    @torch.no_grad()
    def fit(
        self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor, rows: Tensor
    ) -> None:
        """Take mean and standard deviation of the rows with the given numbers, in chunks."""
        chunks = rows.split(_CHUNK_ROWS)
        mean, std = _moments(torch.cat([obs[i], action[i]], 1) for i in chunks)
        self.input_mean.copy_(mean)
        self.input_scale.copy_(std.masked_fill(std == 0, 1.0))
        mean, std = _moments(
            torch.cat([next_obs[i] - obs[i], reward[i][:, None]], 1) for i in chunks
        )
        self.target_mean.copy_(mean)
        self.target_scale.copy_(std)

    def inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the standardised inputs (..., O + A)."""
        return (torch.cat([obs, action], -1) - self.input_mean) / self.input_scale

    def targets(self, obs: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """Return the standardised targets (..., O + 1)."""
        scale = self.target_scale.masked_fill(self.target_scale == 0, 1.0)
        target = torch.cat([next_obs - obs, reward[..., None]], -1)
        return (target - self.target_mean) / scale

    def predicted(self, obs: Tensor, z: Tensor) -> Tensor:
        """Return [next_obs, reward] (..., O + 1) of standardised targets z."""
        change = z * self.target_scale + self.target_mean
        return torch.cat([obs + change[..., :-1], change[..., -1:]], -1)


def _moments(chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, 0 where it is constant but for rounding.

    Sums are of differences to the first row, which keeps a small spread about a large mean.
    """
    chunks = iter(chunks)
    rows = next(chunks).double()
    origin, n = rows[0], 0
    total, squares = torch.zeros_like(origin), torch.zeros_like(origin)
    for chunk in itertools.chain([rows], chunks):
        difference = chunk.double() - origin
        n += len(difference)
        total += difference.sum(0)
        squares += difference.square().sum(0)
    shift = total / n
    mean = origin + shift
    std = (squares / n - shift.square()).clamp(min=0).sqrt()
    constant = std <= 1e-6 * mean.abs().clamp(min=1e-6)
    return mean, std.masked_fill(constant, 0.0)

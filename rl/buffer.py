"""Real and model transitions as packed rows on the device, and batches mixed from both."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rl.policy import Gaussian


class Batch(NamedTuple):
    """Transitions to learn from.

    Attributes:
        state_action: (B, O + A).
        obs: (B, O), a view of the above.
        next_obs: (B, O).
        reward: (B,) raw.
        penalty: (B,) before its coefficient; 0 for real rows.
        alive: (B,) 0 where the episode terminated, else 1.
        reference: The cloned policy's Gaussian at obs.
    """

    state_action: Tensor
    obs: Tensor
    next_obs: Tensor
    reward: Tensor
    penalty: Tensor
    alive: Tensor
    reference: Gaussian

    def draw_noise(self, generator: torch.Generator, std: float = 1.0) -> Tensor:
        """Draw normal noise for the action of each row, (B, A)."""
        return torch.empty_like(self.reference.mean).normal_(std=std, generator=generator)


class Layout:
    """Columns of a packed row: s, a, s', reference mean and log std, reward, penalty, alive.

    Packed, a batch is one gather, and [s, a] needs no concatenation.

    Args:
        obs_dim: O.
        action_dim: A.
    """

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        self.obs_dim = obs_dim
        self._widths = (obs_dim + action_dim, obs_dim, action_dim, action_dim, 3)

    def pack(
        self,
        state_action: Tensor,
        next_obs: Tensor,
        reward: Tensor,
        penalty: Tensor,
        terminated: Tensor,
        reference: Gaussian,
    ) -> Tensor:
        """Return rows (B, width) of transitions; see `Batch` for the shapes."""
        scalars = torch.stack([reward, penalty, (~terminated).to(reward.dtype)], 1)
        return torch.cat([state_action, next_obs, *reference, scalars], 1)

    def unpack(self, rows: Tensor) -> Batch:
        """Return views of packed rows."""
        state_action, next_obs, mean, log_std, scalars = rows.split(self._widths, dim=1)
        obs, reference = state_action[:, : self.obs_dim], Gaussian(mean, log_std)
        reward, penalty, alive = scalars.unbind(1)
        return Batch(state_action, obs, next_obs, reward, penalty, alive, reference)


class MixedBuffer:
    """Real rows, and the model rows of the newest generations of rollouts.

    Args:
        real: (N, width) packed real rows.
        layout: Their layout.
        retain: Generations of model rows that are kept.
        generator: Draws the batches; on the rows' device.
    """

    def __init__(
        self, real: Tensor, layout: Layout, *, retain: int, generator: torch.Generator
    ) -> None:
        self.real = real
        self.layout = layout
        self.retain = retain
        self.generator = generator
        self.generations: dict[int, Tensor] = {}
        self._model = real[:0]

    def add(self, number: int, rows: Tensor) -> None:
        """Add generation `number` of model rows (n, width) and drop those that are too old."""
        self.generations[number] = rows
        for old in [n for n in self.generations if n <= number - self.retain]:
            del self.generations[old]
        self._model = torch.cat(list(self.generations.values()))

    def batches(self, count: int, batch_size: int, real_ratio: float) -> Iterator[Batch]:
        """Yield batches of which `real_ratio` (rounded) is real; all of it without model rows.

        Rows are drawn with replacement, all indices at once.
        """
        n_real = round(batch_size * real_ratio) if len(self._model) else batch_size
        sources = [(self.real, n_real), (self._model, batch_size - n_real)]
        parts = [(rows, self._draw(len(rows), (count, n))) for rows, n in sources if n]
        for i in range(count):
            yield self.layout.unpack(
                torch.cat([rows.index_select(0, index[i]) for rows, index in parts])
            )

    def _draw(self, n_rows: int, shape: tuple[int, int]) -> Tensor:
        return torch.randint(n_rows, shape, generator=self.generator, device=self.generator.device)

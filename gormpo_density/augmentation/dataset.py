"""Real and synthetic series as one torch Dataset, drawn anew each epoch yet reproducible."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gormpo_density.arrays import Data
from gormpo_density.augmentation.augmenter import Augmenter, labelled_tensors
from gormpo_density.errors import ConfigError


class AugmentedDataset(Dataset[tuple[Tensor, Tensor]]):
    """The real rows, and after them the synthetic rows of an epoch.

        dataset = AugmentedDataset(x, y, Jitter(), seed=1)
        loader = DataLoader(dataset, batch_size=16, shuffle=True, num_workers=2)
        for epoch in range(100):
            dataset.set_epoch(epoch)
            for batch_x, batch_y in loader: ...

    The synthetic rows are those of `augmenter.augment(x, y, seed=epoch_seed(seed, epoch))`: each
    epoch has its own, and (seed, epoch) alone decides which, whatever was drawn before and
    however many workers load them. The number of the epoch is in shared memory, so that persistent
    workers learn of it too; each of those then draws the epoch for itself.

    Args:
        x: (n, T) or (n, T, D), numpy or tensor; items are tensors (T,) or (T, D) of its dtype.
        y: (n,) integer class positions; items are int64 tensors ().
        augmenter: Fitted, if it needs that.
        seed: An integer of at least 0.

    Raises:
        ConfigError: The seed is negative.
        DataError, ShapeError: What `Augmenter.augment` raises.
    """

    def __init__(self, x: Data, y: Data, augmenter: Augmenter, seed: int = 0) -> None:
        series, labels = labelled_tensors(x, y)
        self._real = (series.reshape(x.shape), labels)
        self._augmenter = augmenter
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._drawn, self._rows = 0, self._draw(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the synthetic rows of an epoch; epoch 0 is drawn at the start.

        Raises:
            ConfigError: The epoch is negative.
        """
        self._drawn, self._rows = epoch, self._draw(epoch)
        self._epoch.fill_(epoch)

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """All rows (m, T) or (m, T, D) and labels (m,) of this epoch."""
        epoch = int(self._epoch)
        if epoch != self._drawn:  # a worker that outlived the epoch before
            self._drawn, self._rows = epoch, self._draw(epoch)
        return self._rows

    def __len__(self) -> int:
        """Return the number of rows of this epoch, real and synthetic."""
        return len(self.rows[1])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one series and its label."""
        x, y = self.rows
        return x[index], y[index]

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        x, y = self._real
        made = self._augmenter.augment(x, y, seed=epoch_seed(self._seed, epoch))
        return torch.cat([x, made.x]), torch.cat([y, made.y])


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's draws: a hash of both, so that no two epochs share draws.

    Raises:
        ConfigError: One of them is negative.
    """
    if seed < 0 or epoch < 0:
        raise ConfigError(f"seed and epoch must be at least 0, are {seed} and {epoch}")
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]) >> 1

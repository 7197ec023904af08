"""What the classical baselines share: one step of fitting on a bounded number of rows."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from gormpo_density.base import DensityModel
from gormpo_density.fitting import FitOptions, History, Hooks

#: Most rows of a split that the history is a mean of, and most that choose a hyper-parameter.
MEASURED_ROWS = 10_000
#: Stored rows compared at a time, so memory does not grow with their number.
BLOCK_ROWS = 1024


class ClosedForm(DensityModel):
    """A model fitted at once, by a formula or by scikit-learn, instead of epoch by epoch.

    Of the options of `fit` only `seed` and `on_epoch` matter. The history has one entry: minus
    the mean score of at most 10,000 rows of each split. On training rows it flatters, since they
    are part of the model.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        max_rows: Most training rows used, drawn at random.
    """

    chunk_rows: ClassVar[int] = 512  # with a block of stored rows, a matrix of 4 MB

    def __init__(self, input_dim: int | Sequence[int], max_rows: int) -> None:
        super().__init__(input_dim)
        self.max_rows = max_rows

    @abstractmethod
    def _estimate(self, train: Tensor, val: Tensor, seed: int) -> None:
        """Set the buffers from standardised rows (N, D) and (M, D)."""

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        generator = torch.Generator(self.device)
        generator.manual_seed(options.seed)
        used = {}
        for name, rows in splits.items():
            most = self.max_rows if name == "train" else MEASURED_ROWS
            used[name] = _at_most(most, rows, generator)
        self._estimate(used["train"].flatten(1), used["val"].flatten(1), options.seed)
        measured = {name: _at_most(MEASURED_ROWS, rows, generator) for name, rows in used.items()}
        row = {f"{name}_loss": -self._mean_score(rows) for name, rows in measured.items()}
        if hooks.on_epoch is not None:
            hooks.on_epoch(1, row)
        return {name: [loss] for name, loss in row.items()}

    @torch.no_grad()
    def _mean_score(self, z: Tensor) -> float:
        chunks = [self._log_prob(chunk) for chunk in z.split(self.chunk_rows)]
        return torch.cat(chunks).mean().item()


def _at_most(most: int, rows: Tensor, generator: torch.Generator) -> Tensor:
    if len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows), generator=generator, device=rows.device)[:most]]

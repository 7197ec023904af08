"""Distance to the nearest training rows: a score that ranks, with no density behind it."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import DataError
from gormpo_density.models.closed_form import BLOCK_ROWS, ClosedForm


class KNN(ClosedForm):
    """Minus the Euclidean distance to the k-th nearest training row, standardised units.

    A training row is its own first neighbour: scored again, it looks closer than a new row does.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        k: Which neighbour, counted from 1.
        max_rows: Most training rows kept, drawn at random; scoring costs as many distances.
        device: Where to put the model.

    Raises:
        DataError: `fit` has fewer training rows than k.

    Source:
        Ramaswamy et al. 2000, "Efficient algorithms for mining outliers from large data sets".
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"neighbour_distance": "surrogate"}
    sized_by_fit: ClassVar[frozenset[str]] = frozenset({"rows"})
    rows: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        k: Annotated[int, Ge(1)] = 5,
        max_rows: Annotated[int, Ge(2)] = 40_000,
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim, max_rows)
        self.k = k
        self.register_buffer("rows", torch.zeros(k, math.prod(self.event_shape)))
        self.to(device)

    def _estimate(self, train: Tensor, val: Tensor, seed: int) -> None:
        if len(train) < self.k:
            raise DataError(f"k = {self.k} neighbours among {len(train)} training rows")
        self.rows = train

    def _log_prob(self, z: Tensor) -> Tensor:
        z = z.flatten(1)
        distance: Tensor = torch.linalg.vector_norm(z - self.rows[self._kth_nearest(z)], dim=1)
        return -distance

    @torch.no_grad()
    def _kth_nearest(self, z: Tensor) -> Tensor:
        """Index (B,) of the k-th nearest stored row.

        |z - r|^2 ranks the rows r as |r|^2 - 2 z.r does, one matrix product, in float64 so that
        no order is lost. Every block of rows hands in its k nearest.
        """
        z = z.double()
        keys, indices = [], []
        for start in range(0, len(self.rows), BLOCK_ROWS):
            rows = self.rows[start : start + BLOCK_ROWS].double()
            key = torch.addmm(rows.square().sum(1), z, rows.T, alpha=-2)
            nearest = key.topk(min(self.k, len(rows)), largest=False)
            keys.append(nearest.values)
            indices.append(nearest.indices + start)
        kth = torch.cat(keys, 1).topk(self.k, largest=False).indices[:, -1:]
        return torch.cat(indices, 1).gather(1, kth).squeeze(1)

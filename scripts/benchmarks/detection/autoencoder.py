"""The plain autoencoder that others are held against."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from gormpo_density import DensityModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.fitting import Losses

MLP_AE = "benchmarks.detection.autoencoder:Autoencoder"
"""What `make_model` finds it by."""


class Autoencoder(DensityModel):
    """Minus the squared error of a fully connected autoencoder, trained on that error.

    Its layers are those of the benchmark TSB-AD: T * D - 128 - 64 - 128 - T * D, with ReLU.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"reconstruction": "surrogate"}

    def __init__(self, input_dim: int | Sequence[int]) -> None:
        super().__init__(input_dim)
        width = self.event_shape[0] * (self.event_shape[1] if len(self.event_shape) > 1 else 1)
        sizes = (width, 128, 64, 128, width)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])

    def losses(self, z: Tensor, generator: object = None, progress: float = 1.0) -> Losses:
        """Return the mean squared error."""
        return {"loss": -self._log_prob(z).mean()}

    def _log_prob(self, z: Tensor) -> Tensor:
        rows = z.flatten(1)
        return -(rows - self.net(rows)).square().mean(1)

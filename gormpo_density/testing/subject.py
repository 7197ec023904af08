"""The model under test and data for it."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.arrays import Data
from gormpo_density.base import DensityModel
from gormpo_density.fitting import History

Shape = int | tuple[int, ...]
Factory = Callable[[Shape], DensityModel]
Rows = NDArray[np.float32]


class Subject:
    """The model under test, fitted once and copied for every check, and data for it."""

    def __init__(
        self, factory: Factory, shapes: Sequence[Shape], fit_options: Mapping[str, Any]
    ) -> None:
        self.factory = factory
        self.shapes = shapes
        self.fit_options = fit_options
        self.train, self.val, self.rows = (normal_rows(shapes[0], seed) for seed in range(3))

    def new(self) -> DensityModel:
        """Build an unfitted model of the first shape."""
        return self.factory(self.shapes[0])

    def fit(self, model: DensityModel, train: Data, val: Data) -> History:
        """Fit quickly, under a fixed seed."""
        return model.fit(train, val, seed=0, **self.fit_options)

    @functools.cached_property
    def _fitted(self) -> tuple[DensityModel, History]:
        model = self.new()
        return model, self.fit(model, self.train, self.val)

    @property
    def fitted(self) -> DensityModel:
        """A copy of the fitted model, the check's own."""
        return copy.deepcopy(self._fitted[0])

    @property
    def history(self) -> History:
        """What fit returned."""
        return self._fitted[1]

    def far(self, deviations: float) -> Rows:
        """One row, this many standard deviations off in every feature."""
        row = self.train.mean(0) + deviations * self.train.std(0)
        return np.asarray(row[None], dtype=np.float32)


def normal_rows(shape: Shape, seed: int, n: int = 200) -> Rows:
    """Draw (n, *shape) Gaussian rows; neighbours correlate, feature j has mean 10 j, scale 2^j."""
    shape = (shape,) if isinstance(shape, int) else shape
    noise = np.random.default_rng(seed).normal(size=(n, *shape))
    noise[..., 1:] += 0.5 * noise[..., :-1]
    feature = np.arange(shape[-1])
    return (10.0 * feature + 2.0**feature * noise).astype(np.float32)

"""Scaling per channel, learnt from the training part only."""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import DataError

logger = logging.getLogger(__name__)

ScalerKind = Literal["standard", "minmax"]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Scaler:
    """z = (x - offset) / scale per channel, in float64 before anything is rounded to float32.

    Standard: offset is the mean, scale the standard deviation. Min-max: offset is the smallest
    value, scale the range, so training data lies in [0, 1] and later data may lie outside. None:
    offset 0 and scale 1.

    Attributes:
        kind: "standard", "minmax" or None.
        offset: (D,), data units.
        scale: (D,), data units, above 0; 1 for a channel that is constant.
        mean: (D,) mean of the training data, data units: the typical value of a channel.
    """

    kind: ScalerKind | None
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    mean: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64], kind: ScalerKind | None) -> "Scaler":
        """Learn from training values (..., D); NaN is left out, a constant channel is told.

        Raises:
            DataError: A channel has no value at all.
        """
        rows = values.reshape(-1, values.shape[-1])
        empty = np.isnan(rows).all(0)
        if empty.any():
            channels = np.flatnonzero(empty).tolist()
            raise DataError(f"channels {channels} hold nothing but NaN in the training part")
        mean = np.nanmean(rows, 0)
        if kind is None:
            return cls(kind, np.zeros_like(mean), np.ones_like(mean), mean)
        low = np.nanmin(rows, 0)
        offset, scale = (
            (mean, np.nanstd(rows, 0)) if kind == "standard" else (low, np.nanmax(rows, 0) - low)
        )
        constant = scale <= 1e-12 * np.maximum(np.abs(mean), 1.0)
        if constant.any():
            channels = np.flatnonzero(constant).tolist()
            logger.warning("constant channels %s: their scale is set to 1", channels)
        return cls(kind, offset, np.where(constant, 1.0, scale), mean)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return scaled values (..., D), as float32 holds them: none becomes infinite."""
        scaled = (values - self.offset) / self.scale
        return scaled.clip(-_LARGEST, _LARGEST).astype(np.float32)

    def log_abs_det(self, steps: int) -> float:
        """log|det dz/dx| of a window of so many steps: -T sum_d log scale_d."""
        return float(-steps * np.log(self.scale).sum())

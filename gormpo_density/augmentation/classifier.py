"""The interface of classifiers of time series, by which an augmentation is judged."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.arrays import Data, check_finite
from gormpo_density.augmentation.augmenter import Augmenter, labelled_tensors
from gormpo_density.errors import DataError, NotFittedError, ShapeError

C = TypeVar("C", bound="Classifier")
OnStep = Callable[[int, float], None]
Labels = NDArray[np.int64]


class Classifier(ABC):
    """Learns the classes of labelled series (n, T) or (n, T, D) and predicts those of others.

    Series are taken as they are: scale them before, each by itself or all alike.
    """

    _shape: tuple[int, int] | None = None

    def fit(
        self: C,
        x: Data,
        y: Data,
        *,
        augmenter: Augmenter | None = None,
        seed: int = 0,
        on_step: OnStep | None = None,
    ) -> C:
        """Learn from real rows, and from synthetic ones where there is an augmenter.

        Args:
            x: (n, T) or (n, T, D), numpy or tensor.
            y: (n,) integer class positions.
            augmenter: Makes the synthetic rows; it must be fitted already.
            seed: Fixes weights, order and synthetic rows.
            on_step: Called now and then with the step (from 1) and its loss, by classifiers that
                are trained in steps.

        Returns:
            This classifier.

        Raises:
            ShapeError: x or y has the wrong shape.
            DataError: A value is NaN or infinite, a label is no class, or there is one class only.
            FitError: The loss stopped being a number (step named).
        """
        rows, labels = labelled_tensors(x, y)
        if len(labels.unique()) < 2:
            raise DataError(f"a classifier needs two classes at least; all rows are {labels[0]}")
        self._fit(rows.float(), labels, augmenter, seed, on_step)
        self._shape = (rows.shape[1], rows.shape[2])
        return self

    def predict(self, x: Data) -> Labels:
        """Return the class positions (m,) of series.

        Args:
            x: (m, T) or (m, T, D), as wide as those of `fit`.

        Raises:
            NotFittedError: `fit` was not called.
            ShapeError: x has another shape.
            DataError: A value is NaN or infinite.
        """
        if self._shape is None:
            raise NotFittedError(f"{type(self).__name__}: call fit first")
        rows = torch.as_tensor(x)
        rows = rows[..., None] if rows.ndim == 2 else rows
        if tuple(rows.shape[1:]) != self._shape:
            length, channels = self._shape
            raise ShapeError(
                f"x must have shape (m, {length}, {channels}), has {tuple(rows.shape)}"
            )
        check_finite(rows, "x")
        return np.asarray(self._predict(rows.float()), dtype=np.int64)

    @abstractmethod
    def _fit(
        self,
        x: Tensor,
        y: Tensor,
        augmenter: Augmenter | None,
        seed: int,
        on_step: OnStep | None,
    ) -> None:
        """Learn from rows (n, T, D), float32, and labels (n,), int64, both checked."""

    @abstractmethod
    def _predict(self, x: Tensor) -> Any:
        """Return the classes (m,) of rows (m, T, D), float32, as an array."""


def with_synthetic(
    x: Tensor, y: Tensor, augmenter: Augmenter | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the real rows, and the synthetic ones of a seed if there is an augmenter."""
    if augmenter is None:
        return x, y
    made = augmenter.augment(x, y, seed=seed)
    return torch.cat([x, made.x]), torch.cat([y, made.y])

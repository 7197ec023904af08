"""The interface of augmentation: synthetic rows of labelled series, whatever makes them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from gormpo_density.arrays import Data, as_tensor, check_finite, check_shape, to_kind
from gormpo_density.errors import ConfigError, DataError, ShapeError

A = TypeVar("A", bound="Augmenter")


class Augmented(NamedTuple):
    """Synthetic rows, without the real ones they were made from.

    Attributes:
        x: (m, T) or (m, T, D), of the kind and rank of the real rows.
        y: (m,) class positions.
        source: (m,) the real row each was made from, -1 where it is of no single row.
        rejected: Candidates that were drawn and thrown away.
    """

    x: Any
    y: Any
    source: Any
    rejected: int = 0


class Augmenter(ABC):
    """Makes synthetic rows of labelled series; the real ones stay with the caller.

        augmented = augmenter.fit(x, y).augment(x, y, seed=1)
        training_x = np.concatenate([x, augmented.x])

    A subclass gives `_augment`, and `_fit` if it learns something. Checks, kinds, ranks and seeds
    are seen to here. The same seed gives the same rows.

    Args:
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: num_samples is not an integer of at least 1.
    """

    def __init__(self, num_samples: int = 1) -> None:
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ConfigError(f"num_samples must be an integer of at least 1, is {num_samples!r}")
        self.num_samples = num_samples

    def fit(self: A, x: Data, y: Data, *, seed: int = 0) -> A:
        """Learn from the real rows what `augment` needs; many augmenters need nothing.

        Args:
            x: (n, T) or (n, T, D), numpy or tensor.
            y: (n,) integer class positions.
            seed: Fixes what is random about the learning.

        Returns:
            This augmenter.

        Raises:
            ShapeError: x is not (n, T) or (n, T, D), or y is not (n,).
            DataError: There is no row, a value is NaN or infinite (row named), or a label is not
                an integer of at least 0 (row named).
        """
        self._fit(*labelled_tensors(x, y), seed=seed)
        return self

    def augment(self, x: Data, y: Data, *, seed: int = 0) -> Augmented:
        """Make num_samples synthetic rows for each real one.

        Args:
            x: (n, T) or (n, T, D), numpy or tensor.
            y: (n,) integer class positions.
            seed: Fixes the draws.

        Returns:
            Synthetic rows, all of x's kind, its rank and (if it is a floating one) its dtype.

        Raises:
            ShapeError: x is not (n, T) or (n, T, D), or y is not (n,).
            DataError: There is no row, a value is NaN or infinite (row named), or a label is not
                an integer of at least 0 (row named).
        """
        rows, labels = labelled_tensors(x, y)
        generator = torch.Generator(rows.device)
        generator.manual_seed(seed)
        with torch.no_grad():
            made = self._augment(rows.clone(), labels.clone(), generator)
        series = made.x.reshape(len(made.x), *made.x.shape[1 : x.ndim])  # (m, T, 1) to (m, T)
        new_x, new_y, source = (to_kind(part, x) for part in (series, made.y, made.source))
        return Augmented(new_x, new_y, source, made.rejected)

    def _fit(self, x: Tensor, y: Tensor, *, seed: int) -> None:  # noqa: B027  # may stay empty
        """Learn from rows (n, T, D) and labels (n,), both checked."""

    @abstractmethod
    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        """Make synthetic rows (m, T, D) of rows (n, T, D), floating, and labels (n,), int64.

        All are tensors on the generator's device, and so are the parts of what is returned.
        """


class Pipeline(Augmenter):
    """Augmenters in turn, each at work on the synthetic rows of the one before.

    Every step is fitted to the real rows. num_samples is the product of the steps'.

    Args:
        steps: At least one.

    Raises:
        ConfigError: There is no step.
    """

    def __init__(self, steps: Sequence[Augmenter]) -> None:
        if not steps:
            raise ConfigError("a pipeline needs at least one step, got none")
        super().__init__(int(np.prod([step.num_samples for step in steps])))
        self.steps = tuple(steps)

    def _fit(self, x: Tensor, y: Tensor, *, seed: int) -> None:
        for step in self.steps:
            step.fit(x, y, seed=seed)

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        source = torch.arange(len(x), device=x.device)
        rejected = 0
        for step in self.steps:
            x, y, origin, count = step._augment(x, y, generator)
            source = torch.where(origin < 0, -1, source[origin])
            rejected += count
        return Augmented(x, y, source, rejected)


def labelled_tensors(x: Data, y: Data) -> tuple[Tensor, Tensor]:
    """Return checked series (n, T, D) and labels (n,), int64, on the device of x.

    A floating dtype is kept, others become the default one.

    Raises:
        ShapeError: x is not (n, T) or (n, T, D), or y is not (n,).
        DataError: One of them is no array of numbers, there is no row, a value is NaN or infinite
            (row named), or a label is not an integer of at least 0 (row named).
    """
    rows = _series(x)
    check_shape(y, (), "y")
    labels = as_tensor(y)
    if len(labels) != len(rows):
        raise ShapeError(f"x has {len(rows)} rows, y has {len(labels)} labels")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(f"y must hold integer class positions, is {y.dtype}")
    labels = labels.to(rows.device, torch.int64)
    if (labels < 0).any():
        row = int((labels < 0).nonzero()[0])
        raise DataError(f"y row {row} is {int(labels[row])}: class positions start at 0")
    return rows, labels


def _series(x: Data) -> Tensor:
    if not isinstance(x, np.ndarray | Tensor):
        raise DataError(f"x must be a numpy array or a tensor, got {type(x).__name__}")
    if x.ndim not in (2, 3):
        raise ShapeError(f"x must have shape (n, T) or (n, T, D), got {tuple(x.shape)}")
    if 0 in x.shape:
        raise DataError(f"x {tuple(x.shape)} holds no series")
    check_finite(x, "x")
    rows = as_tensor(x)
    rows = rows if rows.is_floating_point() else rows.to(torch.get_default_dtype())
    return rows[..., None] if rows.ndim == 2 else rows

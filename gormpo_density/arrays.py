"""Where numpy and torch meet: checked conversion in, the caller's own kind out."""

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.errors import ConfigError, DataError, ShapeError

Data = NDArray[Any] | Tensor
DataT = TypeVar("DataT", NDArray[Any], Tensor, NDArray[Any] | Tensor)


def event_shape_of(input_dim: int | Sequence[int]) -> tuple[int, ...]:
    """Return (D,) for D and (T, D) for (T, D); ConfigError unless all are integers above 0."""
    shape = tuple(input_dim) if isinstance(input_dim, Sequence) else (input_dim,)
    is_right = all(isinstance(n, SupportsIndex) and operator.index(n) > 0 for n in shape)
    if len(shape) not in (1, 2) or not is_right:
        raise ConfigError(f"input_dim must be D or (T, D), integers > 0; got {input_dim!r}")
    return tuple(map(operator.index, shape))


def check_shape(x: Data, event_shape: tuple[int, ...], name: str) -> None:
    """Raise ShapeError unless x is (B, *event_shape), DataError unless it is array or tensor."""
    if not isinstance(x, np.ndarray | Tensor):
        raise DataError(f"{name} must be a numpy array or a tensor, got {type(x).__name__}")
    if tuple(x.shape[1:]) != event_shape or x.ndim != len(event_shape) + 1:
        expected = ", ".join(["B", *map(str, event_shape)])
        raise ShapeError(f"{name} must have shape ({expected}), got {tuple(x.shape)}")


def check_finite(x: Data, name: str) -> None:
    """Raise DataError naming the first NaN or infinite entry: its column and its row."""
    bad = ~torch.isfinite(as_tensor(x))
    if not bad.any():
        return
    index = tuple(bad.nonzero()[0].tolist())
    row, *column = index
    place = f" column {', '.join(map(str, column))}" if column else ""
    value = float(x[index])
    raise DataError(f"{name}{place} row {row} is {value} ({int(bad.sum())} such values)")


def to_tensor(x: Data, like: Tensor) -> Tensor:
    """Return x as a tensor of the dtype and on the device of `like`."""
    return as_tensor(x).to(like.device, like.dtype)


def as_tensor(x: Data) -> Tensor:
    """Return x as a tensor, whatever its memory layout; a view where torch can have one."""
    if isinstance(x, Tensor):
        return x
    if x.dtype.kind not in "biuf":
        raise DataError(f"an array of {x.dtype} does not hold real numbers")
    return torch.from_numpy(np.require(x, x.dtype.newbyteorder("="), ["C", "W"]))


def to_kind(result: Tensor, x: DataT) -> DataT:
    """Return a result as the caller's own kind: numpy for numpy, else on the tensor's device."""
    if isinstance(x, Tensor):
        return result.to(x.device)
    return result.cpu().numpy()

"""Where a series may be cut into windows: checked values, gaps in time, runs without a hole."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.errors import DataError, ShapeError

Values = NDArray[np.float64]

#: A step longer than this many median steps is a gap: one row may be missing, two may not.
GAP_FACTOR = 2.5
_LARGEST = float(np.finfo(np.float32).max)  # models compute in float32


def check_values(x: object, name: str, n_channels: int | None = None) -> Values:
    """Return a series (L, D) or a collection (n, T, D) as float64; NaN means "not measured".

    A series of one channel may come as (L,).

    Args:
        x: Numpy array or tensor.
        name: What errors call it.
        n_channels: D, where it is known.

    Raises:
        ShapeError: x has another rank or another number of channels.
        DataError: x is no array, does not hold real numbers, or holds one that is infinite or
            beyond float32 (place named).
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy()
    if not isinstance(x, np.ndarray):
        raise DataError(f"{name} must be a numpy array or a tensor, got {type(x).__name__}")
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name}: an array of {x.dtype} does not hold real numbers")
    values = x.astype(np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim not in (2, 3) or 0 in values.shape[1:]:
        raise ShapeError(f"{name} must be (L,), (L, D) or (n, T, D), got {x.shape}")
    if n_channels is not None and values.shape[-1] != n_channels:
        raise ShapeError(f"{name} has {values.shape[-1]} channels, the detector {n_channels}")
    _check_range(values, name)
    return values


def _check_range(values: Values, name: str) -> None:
    bad = np.abs(values) > _LARGEST  # NaN compares false
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        step = f"step {place[1]} " if len(place) == 3 else ""
        raise DataError(
            f"{name} row {place[0]} {step}channel {place[-1]} is {values[place]:g} "
            f"({int(bad.sum())} such values); NaN is for what was not measured"
        )


def time_steps(timestamps: object, length: int) -> Values:
    """Return the steps (L - 1,) between timestamps: seconds of datetimes, else their own unit.

    Args:
        timestamps: (L,), datetime64 or real numbers.
        length: L.

    Raises:
        ShapeError: There are not L of them.
        DataError: They are of another type, one is missing, or they do not increase (row named).
    """
    times = np.asarray(timestamps)
    if times.shape != (length,):
        raise ShapeError(f"timestamps must have shape ({length},), got {times.shape}")
    if times.dtype.kind not in "Miuf":
        raise DataError(f"timestamps must be datetime64 or numbers, got {times.dtype}")
    missing = np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times)
    if missing.any():
        row = int(missing.argmax())
        raise DataError(f"timestamps row {row} is {times[row]}")
    late = times[1:] <= times[:-1]
    if late.any():
        row = int(late.argmax()) + 1
        raise DataError(
            f"timestamps row {row} is {times[row]}, not after row {row - 1} ({times[row - 1]}); "
            f"{int(late.sum())} such rows (sort the rows and drop repeated ones)"
        )
    unit = np.timedelta64(1, "s") if times.dtype.kind == "M" else 1.0
    return np.asarray(np.diff(times) / unit, dtype=np.float64)


def typical_step(steps: Values) -> float | None:
    """Return the median step; None for fewer than two timestamps."""
    return float(np.median(steps)) if len(steps) else None


def find_gaps(steps: Values, step: float) -> NDArray[np.bool_]:
    """Tell before which rows (L,) a gap lies: a step of more than 2.5 times the typical one."""
    return np.concatenate([[False], steps > GAP_FACTOR * step])


def finite_runs(
    values: NDArray[np.floating[Any]], gaps: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Return (start, stop) of the longest runs of rows without NaN inside and without a gap.

    Args:
        values: (L, D).
        gaps: (L,), True where a gap lies before the row.
    """
    usable = np.isfinite(values).all(1)
    before = np.concatenate([[False], usable[:-1]])
    broken = np.zeros(len(values), dtype=bool) if gaps is None else gaps
    starts = np.flatnonzero(usable & (~before | broken))
    after = np.concatenate([usable[1:] & ~broken[1:], [False]])
    stops = np.flatnonzero(usable & ~after) + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def check_runs(runs: list[tuple[int, int]], window: int, length: int, name: str) -> None:
    """Raise DataError, with the lengths, unless a run holds a whole window."""
    if length < window:
        raise DataError(f"{name} has {length} rows, a window needs {window}")
    longest = max((stop - start for start, stop in runs), default=0)
    if longest < window:
        raise DataError(
            f"{name}: no window of {window} rows fits, the longest run of its {length} rows "
            f"without NaN or a gap in time has {longest}"
        )

"""What a detector learns from and judges: one recording, or a collection of separate windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.atomic import replacing
from gormpo_density.errors import DataError, ShapeError

Values = NDArray[np.float64]
Labels = NDArray[np.bool_]
Names = NDArray[np.str_]
Times = NDArray[Any]
"""Dates (datetime64), or seconds as float64."""

NORMAL = "normal"
"""The class of a normal window in `Collection.classes`."""

_DAY = 86400.0


@dataclass(frozen=True, eq=False)
class Series:
    """One recording of D channels at L times, with the rows to learn from and those to judge.

    Attributes:
        name: What reports call it.
        values: (L, D) in the data's own units; NaN where nothing was measured.
        channels: Name of each of the D channels.
        train: Rows to learn from, presumed normal; see `train_values`.
        test: Spans that are judged, in time order. They overlap neither `train` nor each other.
        timestamps: (L,) strictly increasing, dates or seconds; None counts rows.
        labels: (L,) True = anomaly; None = unknown.
        types: (L,) name of the kind of anomaly, "" where normal; None = unknown.

    Raises:
        ShapeError: An array has the wrong rank or length.
        DataError: A value is infinite, a span is empty, outside or overlapping, or the time
            does not increase.
    """

    name: str
    values: Values
    channels: tuple[str, ...]
    train: slice
    test: tuple[slice, ...]
    timestamps: Times | None = None
    labels: Labels | None = None
    types: Names | None = None

    def __post_init__(self) -> None:
        _check_values(self.values, ("L", "D"), self.name)
        rows = len(self.values)
        per_row = {"timestamps": self.timestamps, "labels": self.labels, "types": self.types}
        for field, array in per_row.items():
            if array is not None and array.shape != (rows,):
                raise ShapeError(f"{self.name}: {field} must be ({rows},), is {array.shape}")
        problems = [
            *_channel_problems(self.channels, self.values),
            *_span_problems(self.train, self.test, rows),
            *_time_problems(self.timestamps),
            *_label_problems(self.labels, self.types, ""),
        ]
        if problems:
            raise DataError([f"{self.name}: {problem}" for problem in problems])

    @property
    def train_values(self) -> Values:
        """The rows to learn from, (n, D), with NaN in place of those labelled as anomalies.

        Blanking them keeps the time axis as it is; taking them out would join two moments that
        never met.
        """
        rows: Values = self.values[self.train].copy()
        if self.labels is not None:
            rows[self.labels[self.train]] = np.nan
        return rows

    @property
    def samples_per_day(self) -> float | None:
        """Rows a day at the median step of the timestamps; None without timestamps."""
        if self.timestamps is None or len(self.timestamps) < 2:
            return None
        steps = np.diff(self.timestamps)
        if steps.dtype.kind == "m":
            steps = steps / np.timedelta64(1, "s")
        return float(_DAY / np.median(steps))


@dataclass(frozen=True, eq=False)
class Collection:
    """Separate windows of one length, each judged as a whole.

    Attributes:
        name: What reports call it.
        values: (n, T, D), all finite.
        channels: Name of each of the D channels.
        train: Indices of the windows to learn from, all of them normal.
        test: Indices of the windows that are judged; none is in `train`.
        labels: (n,) True = anomaly; None = unknown.
        classes: (n,) "normal" or the kind of anomaly; None = unknown.

    Raises:
        ShapeError: An array has the wrong rank or length.
        DataError: A value is not finite, an index is outside or used twice, or a window to learn
            from is labelled as an anomaly.
    """

    name: str
    values: Values
    channels: tuple[str, ...]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: Labels | None = None
    classes: Names | None = None

    def __post_init__(self) -> None:
        _check_values(self.values, ("n", "T", "D"), self.name)
        n = len(self.values)
        for field, array in {"labels": self.labels, "classes": self.classes}.items():
            if array is not None and array.shape != (n,):
                raise ShapeError(f"{self.name}: {field} must be ({n},), is {array.shape}")
        problems = [
            *_channel_problems(self.channels, self.values),
            *_index_problems(self.train, self.test, n),
            *_label_problems(self.labels, self.classes, NORMAL),
        ]
        if np.isnan(self.values).any():
            window, step, channel = np.argwhere(np.isnan(self.values))[0]
            problems.append(f"window {window} is NaN at step {step} of channel {channel}")
        if not problems and self.labels is not None and self.labels[self.train].any():
            window = self.train[self.labels[self.train]][0]
            problems.append(f"window {window} is in train, but labelled as an anomaly")
        if problems:
            raise DataError([f"{self.name}: {problem}" for problem in problems])


def save_prepared(
    data: Series | Collection, path: str | Path, **arrays: NDArray[np.generic]
) -> None:
    """Write what a detector will see to an npz file, for inspection.

    The file holds values and channels, whatever there is of timestamps, labels, types and
    classes, and the split: for a series `train` (1, 2) and `test` (k, 2) as [start, stop) rows,
    for a collection the indices. It loads without pickle.

    Args:
        data: The data set.
        path: The file, replaced if it exists.
        **arrays: More to store, for instance the windows cut from a series.
    """
    found: dict[str, NDArray[Any] | None] = {"values": data.values, "labels": data.labels}
    if isinstance(data, Series):
        found |= {"train": _pairs([data.train]), "test": _pairs(data.test)}
        found |= {"timestamps": data.timestamps, "types": data.types}
    else:
        found |= {"train": data.train, "test": data.test, "classes": data.classes}
    present = {name: array for name, array in found.items() if array is not None}
    stored: dict[str, Any] = {"channels": np.array(data.channels), **present, **arrays}
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **stored)


def late_rows(timestamps: Times) -> NDArray[np.int64]:
    """Return the rows whose time does not come after that of the row before."""
    is_later = timestamps[1:] > timestamps[:-1]
    return np.flatnonzero(~is_later) + 1


def _pairs(spans: Sequence[slice]) -> NDArray[np.int64]:
    return np.array([(span.start, span.stop) for span in spans], dtype=np.int64)


def _check_values(values: Values, axes: tuple[str, ...], name: str) -> None:
    if values.ndim != len(axes) or not values.size:
        raise ShapeError(f"{name}: values must be ({', '.join(axes)}), are {values.shape}")
    if values.dtype != np.float64:
        raise DataError(f"{name}: values must be float64, are {values.dtype}")
    if np.isinf(values).any():
        *place, channel = np.argwhere(np.isinf(values))[0]
        raise DataError(f"{name}: channel {channel} is infinite at {', '.join(map(str, place))}")


def _channel_problems(channels: tuple[str, ...], values: Values) -> Iterator[str]:
    if len(channels) != values.shape[-1]:
        yield f"{len(channels)} channel names for {values.shape[-1]} channels"
    if len(set(channels)) != len(channels):
        yield f"two channels have one name: {', '.join(channels)}"


def _span_problems(train: slice, test: tuple[slice, ...], rows: int) -> Iterator[str]:
    if not test:
        yield "nothing to judge: test is empty"
    spans = {"train": train, **{f"test {i}": span for i, span in enumerate(test)}}
    for name, span in spans.items():
        if span.step not in (None, 1) or not 0 <= (span.start or 0) < (span.stop or 0) <= rows:
            yield f"{name} is [{span.start}, {span.stop}), not a span of the {rows} rows"
            return
    if any(after.start < before.stop for before, after in pairwise(test)):
        yield "the test spans overlap, or are not in time order"
    for name, span in spans.items():
        if span is not train and span.start < train.stop and train.start < span.stop:
            yield f"{name} [{span.start}, {span.stop}) and train share rows"


def _time_problems(timestamps: Times | None) -> Iterator[str]:
    if timestamps is None:
        return
    if timestamps.dtype.kind not in "Mf":
        yield f"timestamps must be dates or seconds, are {timestamps.dtype}"
        return
    late = late_rows(timestamps)
    if len(late):
        row = int(late[0])
        yield f"timestamp {timestamps[row]} of row {row} does not come after {timestamps[row - 1]}"


def _index_problems(train: NDArray[np.int64], test: NDArray[np.int64], n: int) -> Iterator[str]:
    for name, indices in {"train": train, "test": test}.items():
        if indices.ndim != 1 or indices.dtype.kind != "i" or not len(indices):
            yield f"{name} must be a list of indices, is {indices.dtype} {indices.shape}"
        elif indices.min() < 0 or indices.max() >= n:
            yield f"{name} has an index outside the {n} windows"
        elif len(np.unique(indices)) != len(indices):
            yield f"{name} has a window twice"
    shared = np.intersect1d(train, test)
    if len(shared):
        yield f"window {shared[0]} is in train and in test"


def _label_problems(labels: Labels | None, types: Names | None, normal: str) -> Iterator[str]:
    if labels is not None and labels.dtype != np.bool_:
        yield f"labels must be booleans, are {labels.dtype}"
    if types is None:
        return
    if labels is None:
        yield "types of anomalies without labels"
    elif (differs := np.flatnonzero((types != normal) != labels)).size:
        at = differs[0]
        yield f"row {at} is labelled {bool(labels[at])}, but its type is {str(types[at])!r}"

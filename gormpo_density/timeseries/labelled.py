"""Labelled series of one length with a training and a test part, and a file for one part."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gormpo_density.atomic import replacing
from gormpo_density.errors import ConfigError, DataError, ShapeError
from gormpo_density.timeseries.series import Values

ClassIndices = NDArray[np.int64]

_WRITABLE_LABEL = re.compile(r"[^\s,:?(#@][^\s,:?(]*")


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """A labelled set with its own split.

    Attributes:
        name: Of the set.
        train_x: (n, T, D).
        train_y: (n,) position in `classes`.
        test_x: (m, T, D).
        test_y: (m,) position in `classes`.
        classes: The labels as text, in numeric or else alphabetic order.
    """

    name: str
    train_x: Values
    train_y: ClassIndices
    test_x: Values
    test_y: ClassIndices
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        name: str,
        train_x: ArrayLike,
        train_labels: ArrayLike,
        test_x: ArrayLike,
        test_labels: ArrayLike,
    ) -> "LabelledSet":
        """Put a set together from series (n, T) or (n, T, D) and labels of any kind.

        Labels that are whole numbers are written as such (1.0 is "1").

        Raises:
            ShapeError: The series of a part have another shape, or not one label each.
            DataError: A value is no number, missing or infinite; the first one is named.
        """
        train, test = _values(train_x, f"{name}: x_train"), _values(test_x, f"{name}: x_test")
        if train.shape[1:] != test.shape[1:]:
            shapes = f"{train.shape[1:]} and {test.shape[1:]}"
            raise ShapeError(f"{name}: windows of the two halves differ in shape: {shapes}")
        labels = [_texts_of(some) for some in (train_labels, test_labels)]
        classes = sorted_classes({*labels[0], *labels[1]})
        places = {label: place for place, label in enumerate(classes)}
        for part, x, found in zip(("train", "test"), (train, test), labels, strict=True):
            if len(x) != len(found):
                raise ShapeError(f"{name}: {len(x)} series but {len(found)} labels in y_{part}")
        train_y, test_y = (
            np.array([places[label] for label in found], dtype=np.int64) for found in labels
        )
        return cls(name, train, train_y, test, test_y, classes)

    def require_classes(self) -> None:
        """Check that a classifier can learn every class it is tested on, and that there are two.

        Raises:
            DataError: A test label is not among the training labels (all are named), or the
                training part has a single class.
        """
        known = set(np.unique(self.train_y).tolist())
        unknown = [self.classes[i] for i in np.unique(self.test_y) if i not in known]
        if unknown:
            raise DataError(f"{self.name}: test labels {unknown} are not in the training part")
        if len(known) < 2:
            raise DataError(f"{self.name}: has a single class, {self.classes[self.train_y[0]]!r}")


def label_text(label: object) -> str:
    """Return a label as text: whole numbers without a point, other text stripped."""
    text = str(label)
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return str(int(number)) if number.is_integer() else text.strip()


def sorted_classes(labels: set[str]) -> tuple[str, ...]:
    """Return labels in numeric order, or in alphabetic order where one is no whole number."""
    is_numeric = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return tuple(sorted(labels, key=int) if is_numeric else sorted(labels))


def _texts_of(labels: ArrayLike) -> list[str]:
    return [label_text(label) for label in np.atleast_1d(np.asarray(labels)).tolist()]


def _values(x: ArrayLike, name: str) -> Values:
    try:
        values = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{name}: must be numbers, (n, T) or (n, T, D), all of one length"
        ) from None
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise ShapeError(f"{name}: must be (n, T) or (n, T, D), is {np.shape(x)}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, step, channel = bad[0].tolist()
        place = f"row {row}, step {step}, channel {channel}"
        raise DataError(
            f"{name}: {place} is {values[row, step, channel]} ({len(bad)} such values); "
            "fill the gaps, or cut the series to one length, before they are given"
        )
    return values


def write_labelled(
    path: str | Path, x: Values, y: Sequence[int] | ClassIndices, classes: Sequence[str]
) -> None:
    """Write labelled series to a file that `read_windows` reads back exactly.

    Args:
        path: Ends in .npz (arrays X and y), .ts (the format of sktime and aeon) or .tsv (the UCR
            archive's; one channel).
        x: (n, T, D) or (n, T).
        y: (n,) position in `classes`.
        classes: Label of each class.

    Raises:
        ConfigError: The ending is none of these.
        DataError: A label, or more than one channel, cannot stand in a file of this kind.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise ConfigError(f"{path}: must end in {', '.join(_WRITERS)}")
    values = np.asarray(x, dtype=np.float64)
    values = values[..., None] if values.ndim == 2 else values
    labels = [classes[int(i)] for i in y]
    with replacing(path) as temporary:
        write(temporary, path, values, labels)


def _write_npz(temporary: Path, path: Path, x: Values, labels: list[str]) -> None:
    arrays: dict[str, Any] = {"X": x, "y": np.array(labels)}
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _write_tsv(temporary: Path, path: Path, x: Values, labels: list[str]) -> None:
    if x.shape[2] > 1:
        raise DataError(f"{path}: a .tsv holds one channel, there are {x.shape[2]}; use .ts")
    _check_labels(path, labels)
    lines = ("\t".join([label, *_texts(row[:, 0])]) for label, row in zip(labels, x, strict=True))
    _write_lines(temporary, lines)


def _write_ts(temporary: Path, path: Path, x: Values, labels: list[str]) -> None:
    _check_labels(path, labels)
    _, steps, channels = x.shape
    header = [
        f"@problemName {re.sub(r'[^A-Za-z0-9_-]+', '_', path.stem)}",
        "@timestamps false",
        "@missing false",
        f"@univariate {str(channels == 1).lower()}",
        *([] if channels == 1 else [f"@dimensions {channels}"]),
        "@equalLength true",
        f"@seriesLength {steps}",
        f"@classLabel true {' '.join(sorted_classes(set(labels)))}",
        "@data",
    ]
    rows = (
        ":".join([*(",".join(_texts(channel)) for channel in row.T), label])
        for label, row in zip(labels, x, strict=True)
    )
    _write_lines(temporary, [*header, *rows])


def _texts(values: Values) -> list[str]:
    """Return numbers in the shortest form that is exact."""
    return [repr(value) for value in values.tolist()]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _check_labels(path: Path, labels: Sequence[str]) -> None:
    bad = [label for label in sorted(set(labels)) if not _WRITABLE_LABEL.fullmatch(label)]
    if bad:
        raise DataError(f"{path}: label {bad[0]!r} cannot stand in a {path.suffix}; use .npz")


WRITABLE = (".npz", ".tsv", ".ts")
"""Endings that `write_labelled` knows."""

_Writer = Callable[[Path, Path, Values, list[str]], None]
_WRITERS: dict[str, _Writer] = {".npz": _write_npz, ".tsv": _write_tsv, ".ts": _write_ts}

"""The UCR time series archive: labelled series of one length, in the formats it has had."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gormpo_density.errors import DataError
from gormpo_density.timeseries.labelled import LabelledSet, label_text
from gormpo_density.timeseries.readers.folders import find_file
from gormpo_density.timeseries.readers.table import parse_number
from gormpo_density.timeseries.series import Values

SUFFIXES = (".tsv", ".ts", ".txt", ".npz", "")
"""Endings looked for, in this order; the archive of 2015 had none."""

_HINT = "fill the gaps, or cut the series to one length, and save them anew"
_SHOWN = 5


class LabelledWindows(NamedTuple):
    """One file: `x` (n, T, D) and the label of each window as text."""

    x: Values
    labels: tuple[str, ...]


def load_ucr(name: str, data_dir: str | Path | None) -> LabelledSet:
    """Load both halves of a set of the UCR archive.

    Args:
        name: Of the set, for instance "GunPoint".
        data_dir: Holds GunPoint_TRAIN and GunPoint_TEST (any of `SUFFIXES`), or a folder
            `GunPoint`, `gunpoint` or `ucr` that does.

    Raises:
        DataError: A file is absent or malformed (see `read_windows`), or the halves differ in
            length or channels.

    Source:
        Dau et al. 2019, The UCR time series archive, https://arxiv.org/abs/1810.07758
    """
    train, test = (read_windows(_find(data_dir, f"{name}_{half}")) for half in ("TRAIN", "TEST"))
    return LabelledSet.of(name, *train, *test)


def read_windows(path: str | Path) -> LabelledWindows:
    """Read one file of labelled windows.

    .npz    arrays X, (n, T) or (n, T, D), and y, (n,);
    .ts     values between commas, channels between colons, the label last; `@` and `#` begin
            lines about the data;
    others  one window a line, its label first, between tabs, blanks or commas.

    Labels that are whole numbers are written as such ("1.0000e+00" is "1").

    Raises:
        DataError: The file is absent or malformed, a value is missing, or the windows differ in
            length. Missing values and padding are not filled in: that is a choice of the user's.
    """
    path = Path(path)
    try:
        return _read_npz(path) if path.suffix == ".npz" else _read_text(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text ({error})") from None


def _find(data_dir: str | Path | None, stem: str) -> Path:
    name = stem.rsplit("_", 1)[0]
    folders = (f"{name}/", f"{name.lower()}/", "")
    patterns = [f"{folder}{stem}{suffix}" for suffix in SUFFIXES for folder in folders]
    return find_file(data_dir, "ucr", patterns, f"{stem}{{{','.join(SUFFIXES)}}}")


def _read_npz(path: Path) -> LabelledWindows:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y = archive["X"].astype(np.float64), archive["y"]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: does not hold arrays X and y ({error})") from None
    x = x[..., None] if x.ndim == 2 else x
    if x.ndim != 3 or y.shape != x.shape[:1] or not x.size:
        raise DataError(f"{path}: X must be (n, T) or (n, T, D) and y (n,)")
    problems = [f"row {i}: {_gaps(x[i])}" for i in np.flatnonzero(np.isnan(x).any(axis=(1, 2)))]
    _raise_all(path, problems)
    return LabelledWindows(x, tuple(label_text(label) for label in y))


def _read_text(path: Path) -> LabelledWindows:
    windows: list[Values] = []
    labels: list[str] = []
    problems: list[str] = []
    split = _split_ts if path.suffix == ".ts" else _split_plain
    for line, text in _data_lines(path):
        try:
            label, channels = split(text)
            if len(set(map(len, channels))) > 1:
                raise ValueError("the channels differ in length")
            window = np.array([[parse_number(cell) for cell in cells] for cells in channels])
        except ValueError as error:
            problems.append(f"line {line}: {str(error).splitlines()[0]}")
            continue
        if np.isnan(window).any():
            problems.append(f"line {line}: {_gaps(window.T)}")
        elif windows and window.shape != windows[0].shape:
            sizes = f"{window.shape[::-1]} where the first is {windows[0].shape[::-1]}"
            problems.append(f"line {line}: length and channels are {sizes}; {_HINT}")
        windows.append(window)
        labels.append(label_text(label))
    _raise_all(path, problems)
    if not windows:
        raise DataError(f"{path}: has no rows")
    return LabelledWindows(np.stack(windows).transpose(0, 2, 1), tuple(labels))


def _data_lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if text.strip() and not text.lstrip().startswith(("#", "@")):
                yield line, text.strip()


def _split_plain(text: str) -> tuple[str, list[list[str]]]:
    label, *cells = re.split(r"[\t,]\s*| +", text)
    return label, [cells]


def _split_ts(text: str) -> tuple[str, list[list[str]]]:
    *channels, label = text.replace("?", "NaN").split(":")
    if not channels:
        raise ValueError("no label after a colon")
    if "(" in text:
        raise ValueError("values with timestamps cannot be read")
    return label, [[cell.strip() for cell in channel.split(",")] for channel in channels]


def _gaps(window: Values) -> str:
    """Describe the missing values of a window (T, D): at its end they are padding."""
    missing = np.asarray(np.isnan(window).any(axis=1))
    first = int(missing.argmax())
    if missing[first:].all():
        return f"ends after {first} of {len(window)} steps; {_HINT}"
    return f"step {first} is missing ({int(missing.sum())} such); {_HINT}"


def _raise_all(path: Path, problems: list[str]) -> None:
    if problems:
        more = [f"{len(problems) - _SHOWN} more such lines"] if len(problems) > _SHOWN else []
        raise DataError([f"{path}: {problem}" for problem in [*problems[:_SHOWN], *more]])

"""Offline data in files: npz, pickle, HDF5 and csv, none of which can run code when read."""

import csv
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.arrays import check_finite
from gormpo_density.data.columns import COLUMN_NAMES, from_columns, from_trajectories
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import DataError, GormpoDensityError, ShapeError
from gormpo_density.pickles import load_pickle

Array = NDArray[Any]
Columns = Mapping[str, Any]
Contents = Columns | Sequence[Columns] | Array
"""Named arrays, or those of each episode, or one plain array."""

_ROW_NAMES = ("X", "x", "rows", "data")
_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, csv.Error),
)


def load_file(path: str | Path) -> Transitions:
    """Load transitions from a file.

    .npz        named arrays (`columns.COLUMN_NAMES`: ours, D4RL's and others' names);
    .pkl        a pickled dict of such arrays, or a list of one dict per episode;
    .hdf5, .h5  D4RL's layout, or Minari's with one group per episode;
    .csv        columns obs_0, obs_1, ..., action_0, ..., and reward, terminated, episode ...

    Only observations and actions must be there; `columns.from_arrays` tells what becomes of the
    rest, and how episodes are found.

    Raises:
        DataError: The file is missing, of another kind, corrupt, or does not hold transitions.
    """
    path = Path(path)
    info = DatasetInfo(path.name, "file")
    with _opened(path) as contents:
        if isinstance(contents, np.ndarray):
            raise DataError(
                f"holds plain rows of shape {contents.shape}, not named observations and actions"
            )
        if isinstance(contents, Mapping):
            return from_columns(_join_numbered(contents), info)
        return from_trajectories(contents, info)


def load_rows(path: str | Path) -> NDArray[np.float32]:
    """Load plain rows from a file: data without actions or episodes.

    The one array of an npz, npy, pickle or HDF5 file, or the one named `X`, `x`, `rows` or `data`;
    all columns of a csv table.

    Returns:
        (N, D) float32.

    Raises:
        DataError: The file is missing, of another kind, corrupt, holds no such array, or a value
            is not a finite number (column named).
    """
    with _opened(Path(path)) as contents:
        rows = contents if isinstance(contents, np.ndarray) else _only_array(contents)
        if rows.dtype.kind not in "biuf":
            raise DataError(f"holds {rows.dtype} values, not numbers")
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or not rows.size:
            raise ShapeError(f"rows must have shape (N, D), got {rows.shape}")
        with np.errstate(over="ignore"):  # a value beyond float32 is reported as infinite
            rows = rows.astype(np.float32)
        check_finite(rows, "rows")
        return rows


@contextmanager
def _opened(path: Path) -> Iterator[Contents]:
    """Give the contents while the file is open; every problem meanwhile is told with its path."""
    try:
        if not path.is_file():
            raise DataError("no such file")
        if path.suffix.lower() not in _READERS:
            raise DataError(f"unknown kind of file; known are {' '.join(_READERS)}")
        with _READERS[path.suffix.lower()](path) as contents:
            yield contents
    except GormpoDensityError as error:
        raise type(error)(f"{path}: {error}") from error
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as {path.suffix} ({reason})") from error


@contextmanager
def _open_npz(path: Path) -> Iterator[Contents]:
    if not zipfile.is_zipfile(path):
        raise DataError("is not an npz archive, or is cut off")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def _open_npy(path: Path) -> AbstractContextManager[Contents]:
    with path.open("rb") as file:
        return nullcontext(np.lib.format.read_array(file, allow_pickle=False))


def _open_pickle(path: Path) -> AbstractContextManager[Contents]:
    contents = load_pickle(path.read_bytes())
    is_trajectories = isinstance(contents, list | tuple) and all(
        isinstance(item, Mapping) for item in contents
    )
    if isinstance(contents, Mapping) or is_trajectories:
        return nullcontext(contents)
    return nullcontext(np.asarray(contents))


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Contents]:
    import h5py

    with h5py.File(path) as file:
        episodes = [name for name in file if re.fullmatch(r"episode_\d+", name)]
        episodes.sort(key=lambda name: int(name.split("_")[1]))
        yield [file[name] for name in episodes] if episodes else file


def _open_csv(path: Path) -> AbstractContextManager[Contents]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        first, second = islice(chain(csv.reader(file), ([], [])), 2)
    names = [] if all(map(_is_number, first)) else [name.strip() for name in first]
    if not (second if names else first):
        raise DataError("has no rows")
    table = np.loadtxt(
        path, delimiter=",", skiprows=int(bool(names)), ndmin=2, comments=None, quotechar='"'
    )
    if not names:
        return nullcontext(table)
    if len(set(names)) != table.shape[1]:
        raise ShapeError(f"has {len(set(names))} different names for {table.shape[1]} columns")
    return nullcontext(dict(zip(names, table.T, strict=True)))


_READERS: dict[str, Callable[[Path], AbstractContextManager[Contents]]] = {
    ".npz": _open_npz,
    ".npy": _open_npy,
    ".pkl": _open_pickle,
    ".pickle": _open_pickle,
    ".hdf5": _open_hdf5,
    ".h5": _open_hdf5,
    ".csv": _open_csv,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _join_numbered(columns: Columns) -> Columns:
    """Join the columns obs_0, obs_1, ... to the matrix obs; the same for any known name."""
    spellings = "|".join(spelling for names in COLUMN_NAMES.values() for spelling in names)
    groups: dict[str, dict[int, Any]] = defaultdict(dict)
    for name in columns:
        if match := re.fullmatch(rf"({spellings})_(\d+)", name):
            groups[match[1]][int(match[2])] = columns[name]
    for stem, group in groups.items():
        if missing := set(range(len(group))) - set(group):
            raise DataError(f"has {len(group)} columns {stem}_*, but no {stem}_{min(missing)}")
    if not groups:
        return columns
    matrices = {s: np.column_stack([g[i] for i in range(len(g))]) for s, g in groups.items()}
    return {**columns, **matrices}


def _only_array(contents: Columns | Sequence[Columns]) -> Array:
    if not isinstance(contents, Mapping):
        raise DataError("holds trajectories, not plain rows")
    for name in _ROW_NAMES:
        if name in contents and (array := np.asarray(contents[name])).ndim == 2:
            return array
    arrays = [np.asarray(contents[name]) for name in contents]
    if len(arrays) == 1:
        return arrays[0]
    if arrays and {array.shape for array in arrays} == {(len(arrays[0]),)}:
        return np.column_stack(arrays)
    raise DataError(f"holds {', '.join(contents) or 'nothing'}; expected one array, or X")

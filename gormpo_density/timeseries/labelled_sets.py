"""One door to every labelled set: made here, of the UCR archive, or one's own."""

import difflib
import importlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.schema import Section, validate
from gormpo_density.timeseries.datasets import NoOptions
from gormpo_density.timeseries.labelled import LabelledSet
from gormpo_density.timeseries.readers.ucr import SUFFIXES, load_ucr
from gormpo_density.timeseries.simulate.shapes import ShapesConfig, simulate_shapes

EMBEDDED = "shapes"
"""The set that is simulated and so needs no files."""

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_LISTED = 30


def labelled_options(name: str | None) -> type[Section]:
    """Return what may be set about a data set."""
    return ShapesConfig if name == EMBEDDED else NoOptions


def load_labelled(
    name: str | None = None,
    data_dir: str | Path | None = None,
    *,
    data_path: str | Path | None = None,
    options: Section | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> LabelledSet:
    """Load a labelled set that a classifier can be trained on and judged by.

    All series have one length and no gaps: a file with unequal lengths or missing values is
    refused, with its lines named, since how to fill or cut them is a choice of the user's.

    Args:
        name: "shapes" is simulated; "Symbols" and so on are files of the UCR archive, or one's own
            of that form (NAME_TRAIN and NAME_TEST, see `read_windows`); "package.module:function"
            is called without arguments and returns a `LabelledSet` or x_train, y_train, x_test
            and y_test.
        data_dir: Holds those files, or a folder `ucr` or of the set's name that does.
        data_path: In place of a name: a folder with one such pair of files, or an .npz with
            x_train (n, T) or (n, T, D), y_train (n,), x_test and y_test.
        options: What may be set about it, a section or plain values; see `labelled_options`.
        seed: Of what is simulated.

    Raises:
        ConfigError: An option is unknown or out of range, or a function cannot be imported.
        DataError: The set is not there (those that are, are listed), a file is malformed, or a
            test label is not among the training labels.
    """
    schema = labelled_options(name)
    if not isinstance(options, schema):
        options = validate(schema, dict(options or {}), lambda _: str(name))
    if data_path is not None:
        found = _own(Path(data_path))
    elif name is None:
        raise ConfigError("a labelled set needs a name or a data_path")
    elif isinstance(options, ShapesConfig):
        found = simulate_shapes(options, seed)
    else:
        found = _called(name) if ":" in name else _archived(name, data_dir)
    found.require_classes()
    return found


def labelled_names(folder: str | Path) -> list[str]:
    """Return the sets whose training file is in a folder, in its folder `ucr`, or one below."""
    home = Path(folder)
    files = [path for root in (home, home / "ucr") for path in _training_files(root)]
    return sorted({path.name.rpartition("_TRAIN")[0] for path in files})


def _training_files(root: Path) -> list[Path]:
    found = [*root.glob("*_TRAIN*"), *root.glob("*/*_TRAIN*")]
    return [path for path in found if path.name.rpartition("_TRAIN")[2] in SUFFIXES]


def _archived(name: str, data_dir: str | Path | None) -> LabelledSet:
    if data_dir is not None and Path(data_dir).is_dir():
        there = labelled_names(data_dir)
        if name not in there:
            raise DataError(f"{data_dir}: no data set {name!r}{_listing(name, there)}")
    return load_ucr(name, data_dir)


def _listing(name: str, there: list[str]) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"{hint} it holds {', '.join(there[:_LISTED]) or 'none'}{more}"


def _own(path: Path) -> LabelledSet:
    if path.is_dir():
        there = sorted({file.name.rpartition("_TRAIN")[0] for file in _training_files(path)})
        if len(there) != 1:
            what = f"could be any of {', '.join(there)}" if there else "has no NAME_TRAIN file"
            raise DataError(f"{path}: {what}; data_dir and dataset choose one of several")
        return load_ucr(there[0], path)
    if path.suffix != ".npz":
        raise DataError(f"{path}: must be a folder with NAME_TRAIN and NAME_TEST, or an .npz file")
    return LabelledSet.of(path.stem, *_arrays_in(path))


def _arrays_in(path: Path) -> list[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[name] for name in _ARRAYS]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).strip("'\"")
        raise DataError(f"{path}: does not hold arrays {', '.join(_ARRAYS)} ({reason})") from None


def _called(path: str) -> LabelledSet:
    module, _, attribute = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"data set {path!r} cannot be imported: {error}") from error
    if not callable(function):
        raise ConfigError(f"data set {path!r} is not a function")
    found = function()
    if isinstance(found, LabelledSet):
        return found
    if not (isinstance(found, tuple | list) and len(found) == len(_ARRAYS)):
        raise DataError(f"{path}: must return a LabelledSet, or {', '.join(_ARRAYS)}")
    try:
        return LabelledSet.of(attribute, *found)
    except TypeError as error:
        raise DataError(f"{path}: returns what is no array ({error})") from error

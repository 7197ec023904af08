"""Tables of text: a csv file whose every bad cell is told by line and column, all at once."""

import csv
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import DataError
from gormpo_density.registry import suggestion
from gormpo_density.timeseries.series import Times

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""What a cell without a measurement may hold, in any case."""

_SHOWN = 5
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}

_EPOCH = np.datetime64("1970-01-01", "us")

Date: TypeAlias = "np.datetime64[Any]"
V = TypeVar("V")


class Table:
    """The columns of a csv file as text, and the problems met while reading them.

    A reader asks for columns, which never raises for a bad cell, and ends with `finish`, which
    raises once for all of them.

    Attributes:
        path: The file.
        columns: Text of each column under its name, in the order of the file.
        lines: Line in the file of every row, from 1.
        problems: One line per problem so far.
    """

    def __init__(self, path: Path, columns: dict[str, list[str]], lines: list[int]) -> None:
        self.path = path
        self.columns = columns
        self.lines = lines
        self.problems: list[str] = []

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """Return the text of a column; an unknown name is a problem and gives no text."""
        if name not in self.columns:
            self.problems.append(f"no column {name!r}{suggestion(name, list(self.columns))}")
            return []
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, (L,); a cell in `MISSING` is NaN, infinity is a problem."""
        return np.array(self._read(name, parse_number, "a finite number", np.nan), np.float64)

    def flags(self, name: str) -> NDArray[np.bool_]:
        """Return a column of 0 and 1, or true and false, as booleans, (L,)."""
        return np.array(self._read(name, _flag, "0 or 1", False), np.bool_)

    def times(self, name: str) -> Times:
        """Return a column as times, (L,): seconds if its first cell is a number, else dates."""
        cells = self.column(name)
        if cells and _is_number(cells[0]):
            return np.array(self._read(name, float, "a number of seconds", np.nan), np.float64)
        what, absent = "a time as in 2014-07-01 00:30:00", _EPOCH
        return np.array(self._read(name, parse_date, what, absent), "datetime64[us]")

    def is_numeric(self, name: str) -> bool:
        """Tell whether most cells of a column are numbers; the others are then mistakes."""
        cells = [cell for cell in self.columns[name] if cell.lower() not in MISSING]
        return 2 * sum(map(_is_number, cells)) > len(cells)

    def finish(self) -> None:
        """Raise DataError with every problem so far, each with the file's name."""
        if self.problems:
            raise DataError([f"{self.path}: {problem}" for problem in self.problems])

    def _read(self, name: str, parse: Callable[[str], V], what: str, absent: V) -> list[V]:
        values, bad = [], []
        for line, cell in zip(self.lines, self.column(name), strict=False):
            try:
                values.append(parse(cell))
            except ValueError:
                values.append(absent)
                bad.append(f"line {line}, column {name!r}: {cell!r} is not {what}")
        self.problems += bad[:_SHOWN]
        if len(bad) > _SHOWN:
            self.problems.append(f"column {name!r}: {len(bad) - _SHOWN} more such cells")
        return values


def read_table(path: str | Path, delimiter: str | None = None) -> Table:
    """Read a csv file.

    The first line names the columns, unless all its cells are numbers; they are then called
    column_0, column_1, ... Blank lines are skipped.

    Args:
        path: The file, in UTF-8.
        delimiter: What stands between two cells; None takes the one of `,` `;` and tab that the
            first line has most of.

    Raises:
        DataError: The delimiter is not one character; the file is absent, is not text, holds no
            rows or names two columns alike; or a line has too few or too many cells.
    """
    path = Path(path)
    if delimiter is not None and len(delimiter) != 1:
        raise DataError(f"{path}: delimiter must be one character, is {delimiter!r}")
    rows, lines = _rows(path, delimiter)
    names = [name.strip() for name in rows[0]] if rows else []
    if names and all(map(_is_number, names)):
        names = [f"column_{i}" for i in range(len(names))]
    else:
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise DataError(f"{path}: has no rows")
    table = Table(path, {}, lines)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        table.problems.append(f"line 1: two columns are called {twice!r}")
    ragged = [
        f"line {line}: {len(row)} cells for {len(names)} columns"
        for line, row in zip(lines, rows, strict=True)
        if len(row) != len(names)
    ]
    table.problems += ragged[:_SHOWN]
    table.finish()
    table.columns = {
        name: [cell.strip() for cell in cells]
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }
    return table


def parse_number(text: str) -> float:
    """Return a number, NaN for a cell in `MISSING`.

    Raises:
        ValueError: It is something else, or infinite.
    """
    if text.lower() in MISSING:
        return float("nan")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not finite")
    return number


def parse_date(text: str) -> Date:
    """Return an ISO 8601 time to the microsecond; one with an offset is turned into UTC.

    Raises:
        ValueError: It is no such time.
    """
    zulu = f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text
    moment = datetime.fromisoformat(zulu)
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def _rows(path: Path, delimiter: str | None) -> tuple[list[Sequence[str]], list[int]]:
    """Return the cells of every line that is not blank, and the lines' numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if delimiter is None:
                first = file.readline()
                delimiter = max(",;\t", key=first.count)
                file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            kept = [(row, reader.line_num) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a csv file ({error})") from None
    return [row for row, _ in kept], [line for _, line in kept]


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(text)
    return _FLAGS[text.lower()]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""A recording of one's own in csv: which columns are time, values and labels, and what trains."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gormpo_density.schema import Section
from gormpo_density.timeseries.readers.table import Table, parse_date, read_table
from gormpo_density.timeseries.series import Labels, Series, Times, late_rows

TIME_NAMES = ("time", "timestamp", "date", "datetime")
LABEL_NAMES = ("label", "anomaly", "is_anomaly")


class CsvOptions(Section):
    """How a csv file is to be read; see `load_csv`, which has the same parameters."""

    time: str | None = None
    values: tuple[str, ...] | None = None
    label: str | None = None
    intervals: tuple[tuple[int | str, int | str], ...] | None = None
    train_end: int | float | str = 0.5
    delimiter: str | None = None


def load_csv(
    path: str | Path,
    *,
    time: str | None = None,
    values: Sequence[str] | None = None,
    label: str | None = None,
    intervals: Sequence[Sequence[int | str]] | None = None,
    train_end: int | float | str = 0.5,
    delimiter: str | None = None,
) -> Series:
    """Load a recording from a csv file, one row a time and one column a sensor.

    An empty cell is a missing value. Everything wrong is told at once, by line and column.
    A place in the series is a row (a whole number, 0 is the first below the header) or a time
    (text, as in the time column).

    Args:
        path: The file; its first line names the columns.
        time: Column of times (ISO 8601, or seconds), strictly increasing. None: the one called
            as in `TIME_NAMES`, in any case and with or without a unit ("Time [s]"); without one,
            rows are counted. An empty text counts rows too.
        values: Columns of the sensors. None: all other columns of numbers, whose names
            are in neither of the two lists below.
        label: Column of 0 and 1, 1 = anomaly. None: the one called as in `LABEL_NAMES`, if any;
            an empty text: none.
        intervals: Anomalies as pairs of places, both ends included; beside a label column, both
            count. An empty list says that nothing is an anomaly.
        train_end: Where training ends and judging begins: a place, or a fraction of the rows as
            a number below 1.
        delimiter: What stands between two cells; None finds out, see `read_table`.

    Returns:
        The series; its labels are None when neither a label column nor intervals are there.
        Rows before `train_end` that are labelled as anomalies are blank in `train_values`.

    Raises:
        DataError: One line for every problem.
    """
    table = read_table(path, delimiter)
    if time is None:
        time = _named(table, TIME_NAMES)
    if label is None:
        label = _named(table, LABEL_NAMES)
    channels = tuple(values) if values is not None else _sensors(table, {time, label})
    if not channels:
        table.problems.append("no column of numbers to take as values")
    columns = [table.numbers(name) for name in channels]
    timestamps = table.times(time) if time else None
    labels = table.flags(label) if label else None
    table.finish()
    if timestamps is not None:
        _check_order(table, timestamps)
    places = _Places(table, timestamps)
    if intervals is not None:
        marked = places.mark(intervals)
        labels = marked if labels is None else labels | marked
    split = places.split(train_end)
    _check_empty(table, dict(zip(channels, columns, strict=True)), split)
    table.finish()
    return Series(
        name=Path(path).stem,
        values=np.column_stack(columns),
        channels=channels,
        train=slice(0, split),
        test=(slice(split, len(table)),),
        timestamps=timestamps,
        labels=labels,
    )


def _named(table: Table, names: Sequence[str]) -> str | None:
    found = [column for column in table.columns if _bare(column) in names]
    if len(found) > 1:
        table.problems.append(f"columns {' and '.join(found)} could both be meant; name one")
    return found[0] if found else None


def _bare(column: str) -> str:
    """Return a name in lower case and without its unit: time of "Time [s]"."""
    return re.sub(r"\s*[\[(].*", "", column).lower()


def _sensors(table: Table, taken: set[str | None]) -> tuple[str, ...]:
    names = [name for name in table.columns if _bare(name) not in (*TIME_NAMES, *LABEL_NAMES)]
    return tuple(name for name in names if name not in taken and table.is_numeric(name))


def _check_order(table: Table, times: Times) -> None:
    late = late_rows(times)
    if len(late):
        row = int(late[0])
        table.problems.append(
            f"line {table.lines[row]}: time {times[row]} does not come after {times[row - 1]} "
            f"({len(late)} such lines); time: '' counts rows instead"
        )


def _check_empty(table: Table, columns: dict[str, NDArray[np.float64]], split: int) -> None:
    for name, column in columns.items():
        if np.isnan(column[:split]).all():
            table.problems.append(f"column {name!r}: no value in the {split} rows that train")


class _Places:
    """Rows by number or by time; what does not fit becomes a problem of the table."""

    def __init__(self, table: Table, timestamps: Times | None) -> None:
        self.table = table
        self.timestamps = timestamps

    def mark(self, intervals: Sequence[Sequence[int | str]]) -> Labels:
        """Return (L,) True within the intervals."""
        labels = np.zeros(len(self.table), dtype=np.bool_)
        for number, pair in enumerate(intervals):
            try:
                start, stop = pair
                first, last = self._row(start, "left"), self._row(stop, "right")
                if first > last:
                    raise ValueError("holds no row")
                labels[first : last + 1] = True
            except ValueError as error:
                self.table.problems.append(f"interval {number} {list(pair)}: {error}")
        return labels

    def split(self, train_end: int | float | str) -> int:
        """Return the first row that is judged."""
        rows = len(self.table)
        try:
            if isinstance(train_end, float):
                if not 0 < train_end < 1:
                    raise ValueError("a fraction lies between 0 and 1; a row is a whole number")
                row = round(train_end * rows)
            else:
                row = self._row(train_end, "left")
            if not 0 < row < rows:
                raise ValueError(f"leaves {max(row, 0)} of {rows} rows to train on")
        except ValueError as error:
            self.table.problems.append(f"train_end {train_end!r}: {error}")
            return rows
        return row

    def _row(self, place: int | str, side: str) -> int:
        """Return a row: of a time, the first not before it (left) or the last not after (right).

        Raises:
            ValueError: It is outside, no time, or a time where rows have none.
        """
        if isinstance(place, int):
            if not 0 <= place < len(self.table):
                raise ValueError(f"row {place} is outside the {len(self.table)} rows")
            return place
        if self.timestamps is None:
            raise ValueError(f"{place!r} is a time, but the file has no column of times")
        moment = parse_date(place) if self.timestamps.dtype.kind == "M" else float(place)
        if side == "left":
            return int(np.searchsorted(self.timestamps, moment, "left"))
        return int(np.searchsorted(self.timestamps, moment, "right")) - 1

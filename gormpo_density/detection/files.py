"""The tables a detection run leaves: scores.csv, a line for each row or window, and events.csv."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.atomic import replacing
from gormpo_density.detection.data import DetectData
from gormpo_density.timeseries.events import Event

Floats = NDArray[np.float64]


def write_scores(
    path: Path, data: DetectData, scores: Mapping[str, Floats], flagged: NDArray[np.bool_]
) -> None:
    """Write the scores of every row or window.

    Columns: row (or window), time where there is one, part ("train", "test", "new" or empty),
    kind where labels are known, each score (higher is more normal, empty where there is none),
    anomaly (1 where the default score is below its threshold).

    Args:
        path: The file.
        data: What was scored.
        scores: (L,) or (n,) by name.
        flagged: (L,) or (n,).
    """
    columns: dict[str, Iterable[Any]] = {data.unit[:-1]: range(len(data.values))}
    if data.times is not None:
        columns["time"] = data.times
    columns["part"] = data.parts
    if data.labels is not None:
        columns["kind"] = data.kinds
    columns |= {name: map(_text, values) for name, values in scores.items()}
    columns["anomaly"] = flagged.astype(int)
    _write(path, list(columns), zip(*columns.values(), strict=True))


def write_events(path: Path, events: Sequence[Event]) -> None:
    """Write events: first and last row, the row of the lowest score, their times, that score."""
    names = ["start", "end", "peak", "start_time", "end_time", "peak_time", "score"]
    rows = [[_text(getattr(event, name)) for name in names] for event in events]
    _write(path, names, rows)


def _text(value: Any) -> str:
    """Return a value as a cell: floats in the shortest form that is exact, nothing for none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(float(value)) if isinstance(value, np.floating) else str(value)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

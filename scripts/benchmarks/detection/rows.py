"""Tables of detection: a row for each method, with intervals over seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.cells import Result
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import Interval

#: Metrics of one seed's fit, by metric.
Metrics = Mapping[str, float]
#: Metrics of every seed, by row of the table.
Found = dict[str, list[Metrics]]


class Column(NamedTuple):
    """A column of a table: its header, the metric, digits, and a factor."""

    header: str
    metric: str
    digits: int = 3
    scale: float = 1.0


def collect(found: Found, result: Result) -> None:
    """Add what one cell holds to what was found, a list entry for each of its rows."""
    for row, metrics in result.items():
        found.setdefault(row, []).append(metrics)


def interval(runs: Sequence[Metrics], metric: str) -> Interval:
    """Return the mean of a metric over seeds with its 95 % interval (Student's)."""
    return mean_interval([run[metric] for run in runs])


def metrics_table(found: Found, columns: Sequence[Column], sort_by: str | None = None) -> str:
    """Return a table of methods by metrics, the best first where a metric to sort by is given."""
    names = list(found)
    if sort_by is not None:
        names.sort(key=lambda name: -interval(found[name], sort_by).estimate)
    rows = [
        [name, *(show(interval(found[name], c.metric), c.digits, c.scale) for c in columns)]
        for name in names
    ]
    return table(["score", *(column.header for column in columns)], rows)


def rows_of(found: Mapping[str, Found]) -> list[str]:
    """Return the names of the rows, which are the same for every data set."""
    return list(next(iter(found.values())))

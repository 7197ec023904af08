"""Tables and the figure of a sweep."""

import csv
import difflib
import fnmatch
import json
import math
import numbers
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gormpo_density import plots
from gormpo_density.aggregate import iqm, mean_interval, stratified_bootstrap
from gormpo_density.atomic import replacing
from gormpo_density.errors import ConfigError
from gormpo_density.metrics import Interval
from gormpo_density.report import format_value
from gormpo_density.sweep_grid import GridPoint, value_text
from gormpo_density.sweep_run import Sweep

#: What a run is judged by, the first that there is.
_MAIN_METRICS = (
    *("return_mean", "test_nll", "test_nll_bound", "test_score"),
    *("*.vus_pr", "*.roc_auc", "*.accuracy_mean"),
)


@dataclass(frozen=True)
class Result:
    """One run of a sweep.

    Attributes:
        point: The point of the grid.
        seed: The seed.
        metrics: The scalars of metrics.json; None while the run is not finished.
    """

    point: GridPoint
    seed: int
    metrics: Mapping[str, Any] | None

    def number(self, metric: str) -> float:
        """Return a metric, nan where the run has no number for it."""
        value = (self.metrics or {}).get(metric)
        return float(value) if isinstance(value, numbers.Real) else math.nan


def read_results(sweep: Sweep, failed: Set[str] = frozenset()) -> list[Result]:
    """Read the metrics of all runs of a sweep, in the order of the grid.

    Args:
        sweep: The sweep.
        failed: Names of runs whose folders do not count; they may hold other runs' metrics.
    """
    return [
        Result(point, seed, _metrics(folder) if folder.name not in failed else None)
        for point in sweep.points
        for seed in sweep.seeds
        for folder in [sweep.run_folder(point, seed)]
    ]


def _metrics(folder: Path) -> dict[str, Any] | None:
    file = folder / "metrics.json"
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if not isinstance(value, dict | list)}


def choose_metric(results: Sequence[Result], name: str | None) -> str:
    """Return the metric to judge runs by: `name`, or the best known one that there is.

    Raises:
        ConfigError: No run has the metric, or any that is known.
    """
    there = list(dict.fromkeys(key for result in results for key in result.metrics or {}))
    numeric = [key for key in there if any(math.isfinite(r.number(key)) for r in results)]
    if name is not None:
        if name in numeric:
            return name
        near = difflib.get_close_matches(name, numeric, n=3) or numeric
        raise ConfigError(f"metric {name}: no run has it; there are {', '.join(near)}")
    for pattern in _MAIN_METRICS:
        if found := fnmatch.filter(numeric, pattern):
            return found[0]
    raise ConfigError(f"--metric: choose one of {', '.join(numeric)}")


def write_points(sweep: Sweep, results: Sequence[Result]) -> None:
    """Write points.csv: a line for each run with its settings, seed and metrics."""
    paths = list(sweep.points[0].settings)
    keys = dict.fromkeys(key for result in results for key in result.metrics or {})
    keys.pop("seed", None)  # has a column already
    with (
        replacing(sweep.folder / "points.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *paths, "seed", *keys])
        for result in results:
            settings = [value_text(result.point.settings[path]) for path in paths]
            metrics = [(result.metrics or {}).get(key) for key in keys]
            name = result.point.run_name(result.seed)
            writer.writerow([name, *settings, result.seed, *metrics])


def write_summary(sweep: Sweep, results: Sequence[Result], metric: str, command: str) -> str:
    """Write summary.md and summary.png.

    Args:
        sweep: The sweep.
        results: All its runs.
        metric: What to sum up over seeds.
        command: The command line, to be shown.

    Returns:
        The table, in Markdown.
    """
    scores = {
        point.label: [
            result.number(metric)
            for result in results
            if result.point is point and math.isfinite(result.number(metric))
        ]
        for point in sweep.points
    }
    means = {label: mean_interval(values) for label, values in scores.items() if values}
    plots.save_figure(plots.plot_sweep(scores, means, metric), sweep.folder / "summary.png")
    table = _table(scores, means, len(sweep.seeds))
    with replacing(sweep.folder / "summary.md") as temporary:
        text = _PAGE.format(program=sweep.program, metric=metric, table=table, command=command)
        temporary.write_text(text, encoding="utf-8")
    return table


def _table(
    scores: Mapping[str, Sequence[float]], means: Mapping[str, Interval], n_seeds: int
) -> str:
    rows = [["point", "seeds", "mean", "from", "to", "IQM", "from", "to"]]
    for label, values in scores.items():
        seeds = str(n_seeds) if len(values) == n_seeds else f"{len(values)} of {n_seeds}"
        none = Interval(math.nan, math.nan, math.nan)
        middle = stratified_bootstrap(values, iqm, np.random.default_rng(0)) if values else none
        rows.append([label, seeds, *map(format_value, (*means.get(label, none), *middle))])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in cells]
        for cells in (enumerate(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


_PAGE = """\
# {metric} of {program}

{table}

Mean over seeds with Student's 95 % interval; interquartile mean (IQM) with the 95 % percentile
interval of a bootstrap over seeds, which is too narrow for few of them. Every run: points.csv.

![{metric}](summary.png)

    {command}
"""

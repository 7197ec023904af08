"""The best run of a sweep, chosen by what neither labels nor test rows have a say in."""

import math
import os
import secrets
from collections.abc import Sequence

import numpy as np

from gormpo_density.errors import ConfigError
from gormpo_density.sweep_report import Result, choose_metric
from gormpo_density.sweep_run import Sweep

#: Metrics of held-out training rows, and of anomalies made up in them.
_SELECTABLE = ("val_", "injected.")
_LINK = "best"


def check_selectable(metric: str) -> None:
    """Raise ConfigError unless a metric may choose: one of validation rows."""
    if not (metric.startswith(_SELECTABLE) or ".val_" in metric):
        raise ConfigError(
            f"--select {metric}: choose by validation rows, such as val_nll or injected.roc_auc; "
            "what is measured on test rows or with labels (--metric shows it) must not choose"
        )


def best_result(results: Sequence[Result], metric: str) -> Result:
    """Return the best run: of the point with the best mean over seeds, the best seed's.

    A negative log-likelihood or a loss is best where it is lowest, anything else where it is
    highest. A point counts only if all its runs have the metric.

    Raises:
        ConfigError: No run has the metric, or no point has all its runs.
    """
    choose_metric(results, metric)
    sign = -1.0 if "nll" in metric or "loss" in metric else 1.0
    points = {
        id(result.point): [r for r in results if r.point is result.point] for result in results
    }
    whole = [runs for runs in points.values() if all(map(math.isfinite, _values(runs, metric)))]
    if not whole:
        raise ConfigError(f"--select {metric}: no point has it from all of its runs")
    best = max(whole, key=lambda runs: sign * float(np.mean(_values(runs, metric))))
    return max(best, key=lambda result: sign * result.number(metric))


def link_best(sweep: Sweep, result: Result) -> str:
    """Make DIR/best a link to a run, in place of one that is there; return its path."""
    link = sweep.folder / _LINK
    temporary = sweep.folder / f".{_LINK}.{secrets.token_hex(8)}"
    temporary.symlink_to(result.point.run_name(result.seed), target_is_directory=True)
    try:
        os.replace(temporary, link)
    finally:
        temporary.unlink(missing_ok=True)
    return str(link)


def _values(runs: Sequence[Result], metric: str) -> list[float]:
    return [run.number(metric) for run in runs]

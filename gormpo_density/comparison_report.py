"""Tables, figures and one page of a comparison of runs."""

import json
import math
from pathlib import Path

import numpy as np

from gormpo_density import plots
from gormpo_density.atomic import replacing
from gormpo_density.comparison import Comparison
from gormpo_density.report import Table, ood_levels, write_report
from gormpo_density.threshold_sweep import OperatingPoint


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return AUROC by set and run, the trivial score beside; all runs; thresholds of each."""
    levels = {name: ood_levels(e.metrics) for name, e in comparison.evaluations.items()}
    aurocs = {
        level: [run[level]["roc_auc"] for run in levels.values()] for level in comparison.ood
    }
    rows: list[tuple[object, ...]] = [(level, *values) for level, values in aurocs.items()]
    if aurocs:
        rows.append(("mean", *np.mean(list(aurocs.values()), axis=0).tolist()))
    rows.append(("(random or constant score)", *(0.5 for _ in levels)))
    detection = Table("AUROC by out-of-distribution set", ("set", *levels), rows)
    thresholds = [_thresholds_table(*item) for item in comparison.thresholds.items()]
    return [detection, _runs_table(comparison), *thresholds]


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write metrics.json, plots and report.html into a folder; return the page."""
    metrics = {
        f"{name}.{key}": value
        for name, evaluation in comparison.evaluations.items()
        for key, value in evaluation.metrics.items()
    }
    for name, difference in comparison.differences.items():
        metrics |= {f"{name}.auroc_difference": difference.estimate}
        metrics |= {f"{name}.auroc_difference_ci_low": difference.low}
        metrics |= {f"{name}.auroc_difference_ci_high": difference.high}
    metrics |= _threshold_metrics(comparison.thresholds)
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    thresholds = plots.plot_thresholds(comparison.thresholds)
    plots.save_figure(thresholds, folder / "plots" / "thresholds.png")
    figures = [("What thresholds flag, by the false-alarm rate they aim at", thresholds)]
    if comparison.ood:
        levels = {name: ood_levels(e.metrics) for name, e in comparison.evaluations.items()}
        figure = plots.plot_ood_levels(levels)
        plots.save_figure(figure, folder / "plots" / "ood_levels.png")
        figures.insert(0, ("Detection by size of the shift", figure))
    page = folder / "report.html"
    write_report(
        page,
        title=f"Evaluation: {', '.join(comparison.evaluations)}",
        summary=[
            ("test rows", len(comparison.data.rows["test"])),
            ("test episodes", comparison.data.n_episodes("test")),
            ("data", comparison.data.info.name),
        ],
        config_text=comparison.config_text,
        metrics=metrics,
        tables=comparison_tables(comparison),
        figures=figures,
        notes=[
            "All runs are measured on the same rows, which trained none of them. Intervals are "
            "95 % paired bootstraps over test episodes."
        ],
    )
    return page


def _runs_table(comparison: Comparison) -> Table:
    columns = ("run", "score", "test mean", "false alarms", "AUROC minus first", "from", "to")
    rows = []
    for name, evaluation in comparison.evaluations.items():
        metrics = evaluation.metrics
        score = next(key for key in metrics if key.startswith("test_"))
        difference = comparison.differences.get(name, (math.nan,) * 3)
        rows.append(
            (
                *(name, score.removeprefix("test_"), metrics[score]),
                *(metrics["false_alarm_rate"], *difference),
            )
        )
    return Table("Runs", columns, rows)


def _thresholds_table(run: str, points: list[OperatingPoint]) -> Table:
    rows: list[tuple[object, ...]] = [
        ("(threshold)", *(point.threshold for point in points)),
        ("test rows", *(point.false_alarm_rate for point in points)),
    ]
    rows += [(name, *(p.detection[name] for p in points)) for name in points[0].detection]
    columns = (f"flagged by {run}", *(f"{point.alpha:.0%}" for point in points))
    return Table(f"Share of rows flagged at each nominal false-alarm rate: {run}", columns, rows)


def _threshold_metrics(sweeps: dict[str, list[OperatingPoint]]) -> dict[str, float]:
    """Return <run>.alpha<a>.threshold, .false_alarm_rate and .detection.<set>."""
    metrics = {}
    for run, points in sweeps.items():
        for point in points:
            place = f"{run}.alpha{point.alpha:g}"
            metrics[f"{place}.threshold"] = point.threshold
            metrics[f"{place}.false_alarm_rate"] = point.false_alarm_rate
            metrics |= {f"{place}.detection.{k}": rate for k, rate in point.detection.items()}
    return metrics

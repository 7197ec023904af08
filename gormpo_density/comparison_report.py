"""Tables, figures and one page of a comparison of runs."""

import json
import math
from pathlib import Path

import numpy as np

from gormpo_density import plots
from gormpo_density.atomic import replacing
from gormpo_density.comparison import Comparison
from gormpo_density.report import Table, ood_levels, write_report


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return AUROC by set and run, the trivial score beside; and one line for each run."""
    levels = {name: ood_levels(e.metrics) for name, e in comparison.evaluations.items()}
    aurocs = {
        level: [run[level]["roc_auc"] for run in levels.values()] for level in comparison.ood
    }
    rows: list[tuple[object, ...]] = [(level, *values) for level, values in aurocs.items()]
    if aurocs:
        rows.append(("mean", *np.mean(list(aurocs.values()), axis=0).tolist()))
    rows.append(("(random or constant score)", *(0.5 for _ in levels)))
    detection = Table("AUROC by out-of-distribution set", ("set", *levels), rows)
    return [detection, _runs_table(comparison)]


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
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    figures = []
    if comparison.ood:
        levels = {name: ood_levels(e.metrics) for name, e in comparison.evaluations.items()}
        figure = plots.plot_ood_levels(levels)
        plots.save_figure(figure, folder / "plots" / "ood_levels.png")
        figures = [("Detection by size of the shift", figure)]
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

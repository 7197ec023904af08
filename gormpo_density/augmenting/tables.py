"""Tables of an augmentation run, for the terminal and for the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gormpo_density.aggregate import mean_interval
from gormpo_density.augmenting.results import AugmentResults
from gormpo_density.report import Table, format_value, text_table

_FLOORS = {"nearest": "(1-NN)", "majority": "(largest class)"}


def arm_table(metrics: Mapping[str, Any], results: AugmentResults) -> Table:
    """Return the accuracy of every arm, and of what is simpler, in brackets."""
    has_folds = any(arm.val_accuracies for arm in results.arms.values())
    ends = ("accuracy_mean", "ci_low", "ci_high", *(["val_accuracy_mean"] if has_folds else []))
    rows = [(name, *_cells(metrics, name, ends)) for name in results.arms]
    rows += [(_FLOORS[name], *_cells(metrics, f"floor.{name}", ends)) for name in results.floors]
    caption = (
        f"Accuracy on {metrics['test_rows']:,} test rows with Wilson's 95 % interval, which is "
        "over these rows and knows nothing of other seeds"
    )
    columns = (
        "arm",
        "accuracy",
        "low",
        "high",
        *(["folds of training rows"] if has_folds else []),
    )
    return Table(caption, columns, rows)


def synthetic_table(metrics: Mapping[str, Any], results: AugmentResults) -> Table:
    """Return how many synthetic rows there are, and how probable they are beside real ones."""
    ends = ("synthetic_rows", "rejected", "score_median")
    rows: list[Sequence[object]] = [(name, *_cells(metrics, name, ends)) for name in results.drawn]
    rows.append(("(test rows)", None, None, metrics["test_score_median"]))
    caption = "One draw of synthetic rows"
    return Table(caption, ("arm", "rows", "rejected", "median score of the latent model"), rows)


def seeds_text(paths: Sequence[Path]) -> str:
    """Return the mean accuracy of every arm over finished runs, with Student's 95 % interval."""
    runs = [json.loads((path / "metrics.json").read_text(encoding="utf-8")) for path in paths]
    ends = ".accuracy_mean"
    rows = [
        (key.removesuffix(ends), *mean_interval([run[key] for run in runs]))
        for key in runs[0]
        if key.endswith(ends) and not key.startswith("floor.")
    ]
    table = Table("", ("arm", f"mean of {len(runs)} seeds", "low", "high"), rows)
    return f"\n{text_table(table)}"


def verdict_text(metrics: Mapping[str, Any], results: AugmentResults) -> str:
    """Return what a run says at its end."""
    used, wanted = metrics["dataset"], metrics["dataset_requested"]
    stood_in = f"{used} stood in for {wanted}\n" if used != wanted else ""
    if results.arms:
        return stood_in + text_table(arm_table(metrics, results))
    error = format_value(metrics["reconstruction_error_test"])
    return (
        f"{stood_in}{metrics['model']} trained on {metrics['train_rows']:,} rows; "
        f"reconstruction error {error} on test rows "
        "(--baseline and --test-augment compare classifiers)"
    )


def _cells(metrics: Mapping[str, Any], name: str, ends: Sequence[str]) -> list[object]:
    return [metrics.get(f"{name}.{end}") for end in ends]

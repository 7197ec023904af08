"""Tables of a detection run, for the terminal and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.detection.data import DetectData
from gormpo_density.detection.evaluation import DetectEvaluation
from gormpo_density.report import Table, text_table
from gormpo_density.timeseries.events import Event

#: Metrics and their headings; a collection lacks some of them.
_AREAS = {
    "roc_auc": "AUROC",
    "pr_auc": "AUPR",
    "vus_roc": "VUS-ROC",
    "vus_pr": "VUS-PR",
    "oracle_f1": "oracle F1",
    "legacy_point_adjusted_f1": "legacy PA-F1",
}
_VERDICTS = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "range_f1": "range F1",
    "affiliation_f1": "affiliation F1",
    "false_alarm_rate": "false alarms",
    "false_alarms_per_day": "false alarms a day",
    "detection_delay": "delay [rows]",
}
_BRIEF = ("roc_auc", "pr_auc", "vus_pr", "f1", "precision", "recall", "false_alarm_rate")
_CLASSES = ("normal", "anomaly")
_SHOWN_EVENTS = 30


def score_names(metrics: Mapping[str, Any]) -> list[str]:
    """Return the scores and baselines that were measured: "elbo", "baseline.pca" and so on."""
    ends = ".oracle_f1"
    return [key.removesuffix(ends) for key in metrics if key.endswith(ends)]


def score_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return what every score and baseline reaches, without a threshold and at its own."""
    areas = (
        "Detection by every score; the first one decides. Oracle F1 takes the best threshold "
        "with the labels in hand"
    )
    if any(key.endswith(".legacy_point_adjusted_f1") for key in metrics):
        areas += "; point-adjusted F1 (legacy) is high for random scores too"
    verdicts = "Verdicts of every score at its own threshold, set on held-out normal data"
    return [_scores(metrics, areas, _AREAS), _scores(metrics, verdicts, _VERDICTS)]


def _scores(metrics: Mapping[str, Any], caption: str, columns: Mapping[str, str]) -> Table:
    names = score_names(metrics)
    keys = [key for key in columns if any(f"{name}.{key}" in metrics for name in names)]
    rows = [(name, *(metrics.get(f"{name}.{key}") for key in keys)) for name in names]
    return Table(caption, ("score", *(columns[key] for key in keys)), rows)


def type_table(metrics: Mapping[str, Any], types: Sequence[str]) -> Table:
    """Return the AUROC of every score on each type of anomaly by itself, against the normals."""
    rows = [
        (name, *(metrics.get(f"{name}.{kind}.roc_auc") for kind in types))
        for name in score_names(metrics)
    ]
    headings = ("score", *(kind.replace("_", " ") for kind in types))
    return Table("AUROC by type of anomaly", headings, rows)


def event_table(events: Sequence[Event]) -> Table:
    """Return the events, the worst ones if there are many, in order of time."""
    worst = sorted(events, key=lambda event: event.score)[:_SHOWN_EVENTS]
    shown = sorted(worst, key=lambda event: event.start)
    has_times = any(event.start_time is not None for event in shown)
    columns = ["first row", "last row", "peak row", "score"]
    rows: list[list[object]] = [[e.start, e.end, e.peak, e.score] for e in shown]
    if has_times:
        columns = ["from", "to", *columns]
        rows = [
            [_time(event.start_time), _time(event.end_time), *row]
            for event, row in zip(shown, rows, strict=True)
        ]
    caption = (
        "Events found"
        if len(shown) == len(events)
        else (f"The {len(shown)} worst of {len(events):,} events found")
    )
    return Table(caption, columns, rows)


def _time(time: object) -> object:
    return str(time).replace("T", " ")[:19] if isinstance(time, np.datetime64) else time


def classification_text(data: DetectData, evaluation: DetectEvaluation) -> str:
    """Return scikit-learn's classification report of the verdicts on what is judged."""
    from sklearn.metrics import classification_report

    text: str = classification_report(
        *_truth_and_verdicts(data, evaluation),
        labels=[False, True],
        target_names=list(_CLASSES),
        digits=3,
        zero_division=0,
    )
    return text


def classification_table(data: DetectData, evaluation: DetectEvaluation) -> Table:
    """Return the classification report of the default score as a table."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        *_truth_and_verdicts(data, evaluation), labels=[False, True], zero_division=0
    )
    rows = [
        (name, *(float(column[i]) for column in columns[:3]), int(columns[3][i]))
        for i, name in enumerate(_CLASSES)
    ]
    names = ("class", "precision", "recall", "F1", data.unit)
    return Table("Classification report of the first score at its threshold", names, rows)


def _truth_and_verdicts(
    data: DetectData, evaluation: DetectEvaluation
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    assert data.labels is not None
    return data.labels[data.judged], evaluation.flagged[data.judged]


def summarise(metrics: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the few numbers that matter, with their labels."""
    score = metrics["score"]
    keys = {"roc_auc": "AUROC", "pr_auc": "AUPR", "vus_pr": "VUS-PR", "f1": "F1 at the threshold"}
    values = {f"{label} of {score}": metrics.get(f"{score}.{key}") for key, label in keys.items()}
    found: list[tuple[str, object]] = [item for item in values.items() if item[1] is not None]
    share = "false_alarm_rate" if "false_alarm_rate" in metrics else "flagged_fraction"
    found.append((share.replace("_", " "), f"{metrics[share]:.2%}"))
    return found


def verdict_text(data: DetectData, evaluation: DetectEvaluation) -> str:
    """Return what was found, for a terminal; with labels also how right it is."""
    flagged = int(evaluation.flagged[data.judged].sum())
    text = f"flagged: {flagged:,} of {data.judged.sum():,} judged {data.unit}"
    if data.is_series:
        text += f", {len(evaluation.events):,} events"
    if data.labels is None:
        return text
    everything = _AREAS | _VERDICTS
    table = _scores(evaluation.metrics, "", {key: everything[key] for key in _BRIEF})
    return f"{text_table(table)}\n\n{classification_text(data, evaluation)}\n{text}"

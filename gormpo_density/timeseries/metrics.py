"""How well anomaly scores and flags of a series, or of a collection, match its labels.

Rows whose score is NaN, which no window covers, are left out of everything and counted as
`unscored`; the rows on both sides of a gap then count as neighbours. With labels of one kind only,
what compares the two kinds is nan. A name says what a number is worth:

    oracle_   the best over all thresholds, chosen with the labels: a bound, not a result
    legacy_   point-adjusted, kept for comparison with older tables: random scores reach over .9
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.arrays import check_finite
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.metrics import detection_metrics
from gormpo_density.timeseries.affiliation import affiliation_precision_recall
from gormpo_density.timeseries.ranges import (
    PrecisionRecall,
    check_rows,
    flagged_ranges,
    range_precision_recall,
)
from gormpo_density.timeseries.vus import volumes_under_surface, vus_window

__all__ = [
    "chance_metrics",
    "collection_metrics",
    "oracle_f1",
    "point_adjusted",
    "series_metrics",
    "vus_window",
]

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

NOT_COMPARABLE = PrecisionRecall(np.nan, np.nan)


def series_metrics(
    labels: Flags,
    anomaly_score: Floats,
    *,
    vus_window: int,
    predicted: Flags | None = None,
    samples_per_day: float | None = None,
) -> dict[str, float]:
    """Measure the scores of a series' rows, and its flags where given.

    Args:
        labels: (L,) True where anomalous.
        anomaly_score: (L,) higher is more anomalous; NaN where there is none.
        vus_window: Largest buffer of the volumes, in rows; `vus_window` finds one.
        predicted: (L,) True where flagged, by a threshold chosen without these labels.
        samples_per_day: Rows in a day.

    Returns:
        Always: roc_auc, pr_auc (average precision), vus_roc, vus_pr, vus_window, oracle_f1,
        legacy_point_adjusted_f1 (the best over all thresholds; Lin et al. 2020 try 200),
        anomaly_rate (share of anomalous rows, the pr_auc of chance) and unscored (rows).
        With predicted, by rows: f1, precision (0 where nothing is flagged), recall and
        false_alarm_rate (share of normal rows flagged); by ranges: range_f1, affiliation_f1,
        event_recall (share of events flagged somewhere), detection_delay (mean rows from the
        start of such an event to its first flag, nan if there is none) and false_alarms (flagged
        ranges that touch no event).
        With both: false_alarms_per_day.

    Raises:
        ShapeError: The arrays are not vectors of one length.
        DataError: A label or flag is neither true nor false, a score is infinite, none is given,
            vus_window < 0 or samples_per_day is not above 0.
    """
    is_scored, is_anomaly, score = _scored_rows(labels, anomaly_score)
    volumes = volumes_under_surface(is_anomaly, score, vus_window)
    found = _score_metrics(is_anomaly, score) | {
        "vus_roc": volumes.roc,
        "vus_pr": volumes.pr,
        "vus_window": float(vus_window),
        "legacy_point_adjusted_f1": oracle_f1(is_anomaly, point_adjusted(is_anomaly, score)),
        "unscored": float(np.count_nonzero(~is_scored)),
    }
    if predicted is not None:
        flags = check_rows(predicted, len(labels), "predicted")[is_scored]
        found |= _row_metrics(is_anomaly, flags) | _event_metrics(is_anomaly, flags)
        if samples_per_day is not None:
            found["false_alarms_per_day"] = found["false_alarms"] / _days(flags, samples_per_day)
    return found


def collection_metrics(
    labels: Flags, anomaly_score: Floats, predicted: Flags | None = None
) -> dict[str, float]:
    """Measure the scores of windows that are judged whole, and their flags where given.

    Args:
        labels: (n,) True where anomalous.
        anomaly_score: (n,) higher is more anomalous; NaN where there is none.
        predicted: (n,) True where flagged, by a threshold chosen without these labels.

    Returns:
        Always: roc_auc, pr_auc, oracle_f1, anomaly_rate, unscored, as in `series_metrics`.
        With predicted: f1, precision, recall, false_alarm_rate, accuracy, and the counts
        true_positives, false_positives, false_negatives, true_negatives.

    Raises:
        ShapeError: The arrays are not vectors of one length.
        DataError: A label or flag is neither true nor false, a score is infinite or none is given.
    """
    is_scored, is_anomaly, score = _scored_rows(labels, anomaly_score)
    found = _score_metrics(is_anomaly, score)
    found["unscored"] = float(np.count_nonzero(~is_scored))
    if predicted is not None:
        flags = check_rows(predicted, len(labels), "predicted")[is_scored]
        found |= _row_metrics(is_anomaly, flags) | _counts(is_anomaly, flags)
        found["accuracy"] = float(np.mean(is_anomaly == flags))
    return found


def chance_metrics(
    labels: Flags, rng: np.random.Generator, *, vus_window: int, n_draws: int = 20
) -> dict[str, float]:
    """Return what uniform random scores get on these labels, the mean over n_draws draws.

    Args:
        labels: (L,) True where anomalous.
        rng: Source of the scores.
        vus_window: As in `series_metrics`.
        n_draws: Number of draws.

    Returns:
        The metrics that need no flags, as in `series_metrics`.

    Raises:
        DataError: A label is neither true nor false, there are none, or vus_window < 0.
    """
    draws = [
        series_metrics(labels, rng.random(len(labels)), vus_window=vus_window)
        for _ in range(n_draws)
    ]
    return {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}


def oracle_f1(labels: Flags, anomaly_score: Floats) -> float:
    """Return the best F1 of any threshold: max over k of 2 TP(k) / (P + k), k rows flagged.

    It is chosen with the labels, so it bounds what a threshold could have reached.

    Args:
        labels: (n,) True where anomalous.
        anomaly_score: (n,) higher is more anomalous; NaN where there is none.

    Returns:
        The F1, nan where all labels are equal.

    Raises:
        ShapeError: The arrays are not vectors of one length.
        DataError: A label is neither true nor false, a score is infinite or none is given.
    """
    _, is_anomaly, score = _scored_rows(labels, anomaly_score)
    if not _has_both_kinds(is_anomaly):
        return np.nan
    order = np.argsort(-score, kind="stable")
    is_cut = np.append(np.diff(score[order]) != 0, True)  # equal scores go together
    n_flagged = np.arange(1, len(score) + 1)
    f1 = 2 * np.cumsum(is_anomaly[order]) / (np.count_nonzero(is_anomaly) + n_flagged)
    return float(np.max(f1[is_cut]))


def point_adjusted(labels: Flags, anomaly_score: Floats) -> Floats:
    """Return the scores with every row of an event at the highest score of that event.

    One flagged row then flags the whole event, so a long event is found by chance alone.

    Args:
        labels: (n,) True where anomalous.
        anomaly_score: (n,) higher is more anomalous, without NaN.

    Raises:
        ShapeError: labels is not a vector.
        DataError: A label is neither true nor false.

    Source:
        Xu et al. 2018, https://arxiv.org/abs/1802.03903; why not to use it: Kim et al. 2022,
        "Towards a rigorous evaluation of time-series anomaly detection",
        https://arxiv.org/abs/2109.05257.
    """
    adjusted = np.array(anomaly_score)
    for start, stop in flagged_ranges(labels):
        adjusted[start:stop] = anomaly_score[start:stop].max()
    return adjusted


def _scored_rows(labels: Flags, anomaly_score: Floats) -> tuple[Flags, Flags, Floats]:
    """Return which rows have a score, and the labels and scores of those."""
    if anomaly_score.ndim != 1:
        raise ShapeError(f"anomaly_score must have shape (L,), got {anomaly_score.shape}")
    is_anomaly = check_rows(labels, len(anomaly_score), "labels")
    is_scored = ~np.isnan(anomaly_score)
    if not is_scored.any():
        raise DataError(f"anomaly_score: none of {len(anomaly_score)} rows has a score")
    check_finite(np.where(is_scored, anomaly_score, 0), "anomaly_score")
    return is_scored, is_anomaly[is_scored], anomaly_score[is_scored]


def _score_metrics(is_anomaly: Flags, score: Floats) -> dict[str, float]:
    """Return the metrics of rows that need no flags."""
    areas = {"roc_auc": np.nan, "pr_auc": np.nan}
    if _has_both_kinds(is_anomaly):
        measured = detection_metrics(-score[~is_anomaly], -score[is_anomaly])
        areas = {key: measured[key] for key in areas}
    return areas | {
        "oracle_f1": oracle_f1(is_anomaly, score),
        "anomaly_rate": float(np.mean(is_anomaly)),
    }


def _counts(is_anomaly: Flags, flags: Flags) -> dict[str, float]:
    """Return the confusion matrix by name."""
    return {
        "true_positives": float(np.count_nonzero(is_anomaly & flags)),
        "false_positives": float(np.count_nonzero(~is_anomaly & flags)),
        "false_negatives": float(np.count_nonzero(is_anomaly & ~flags)),
        "true_negatives": float(np.count_nonzero(~is_anomaly & ~flags)),
    }


def _row_metrics(is_anomaly: Flags, flags: Flags) -> dict[str, float]:
    """Return F1, precision (0 where nothing is flagged), recall and the rate of false alarms."""
    true, false, missed, quiet = _counts(is_anomaly, flags).values()
    rows = NOT_COMPARABLE
    if _has_both_kinds(is_anomaly):
        rows = PrecisionRecall(true / max(true + false, 1), true / (true + missed))
    return {
        "f1": rows.f1,
        "precision": rows.precision,
        "recall": rows.recall,
        "false_alarm_rate": false / (false + quiet) if false + quiet else np.nan,
    }


def _event_metrics(is_anomaly: Flags, flags: Flags) -> dict[str, float]:
    """Return what flags are worth by events and flagged ranges."""
    by_range = by_time = NOT_COMPARABLE
    if _has_both_kinds(is_anomaly):
        by_range = range_precision_recall(is_anomaly, flags)
        by_time = affiliation_precision_recall(is_anomaly, flags)
    events, alarms = flagged_ranges(is_anomaly), flagged_ranges(flags)
    delays = [np.argmax(flags[a:b]) for a, b in events if flags[a:b].any()]
    return {
        "range_f1": by_range.f1,
        "affiliation_f1": by_time.f1,
        "event_recall": len(delays) / len(events) if len(events) else np.nan,
        "detection_delay": float(np.mean(delays)) if delays else np.nan,
        "false_alarms": float(sum(not is_anomaly[a:b].any() for a, b in alarms)),
    }


def _has_both_kinds(is_anomaly: Flags) -> bool:
    return bool(is_anomaly.any()) and not is_anomaly.all()


def _days(flags: Flags, samples_per_day: float) -> float:
    if not samples_per_day > 0:
        raise DataError(f"samples_per_day must be above 0, got {samples_per_day}")
    return len(flags) / samples_per_day

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from gormpo_density.aggregate import mean_interval, paired_difference, stratified_bootstrap
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.metrics import (
    chance_metrics,
    collection_metrics,
    oracle_f1,
    point_adjusted,
    series_metrics,
)

Array = NDArray[Any]

LABELS = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 0], dtype=bool)
FLAGS = np.array([1, 0, 0, 1, 1, 1, 0, 1, 0, 0], dtype=bool)
SCORE = np.array([9, 0, 1, 8, 7, 6, 2, 5, 3, 4], dtype=float)

mixed_cases = (
    st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=40)
    .filter(lambda rows: len({label for label, _ in rows}) == 2)
    .map(lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)))
)


def test_flags_are_judged_by_rows_ranges_and_events() -> None:
    found = series_metrics(LABELS, SCORE, vus_window=2, predicted=FLAGS, samples_per_day=5)
    expected = {
        "precision": 2 / 5,
        "recall": 2 / 4,
        "f1": 4 / 9,
        "false_alarm_rate": 3 / 6,
        "event_recall": 1 / 2,
        "detection_delay": 1,
        "false_alarms": 2,
        "false_alarms_per_day": 2 / 2,
        "anomaly_rate": 0.4,
        "vus_window": 2,
        "unscored": 0,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    # Recall .5 (.2 + .8 * 2 / 3) over two events, precision (0 + 2 / 3 + 0) / 3.
    assert found["range_f1"] == pytest.approx(2 / (1 / (0.5 * (0.2 + 1.6 / 3)) + 9 / 2))


def test_scores_alone_leave_out_what_needs_flags() -> None:
    found = series_metrics(LABELS, SCORE, vus_window=2)
    assert set(found) == {
        *("roc_auc", "pr_auc", "vus_roc", "vus_pr", "vus_window", "oracle_f1"),
        *("legacy_point_adjusted_f1", "anomaly_rate", "unscored"),
    }
    assert found["roc_auc"] == pytest.approx((1 + 5 + 5 + 2) / 24)  # pairs won by each anomaly


@given(case=mixed_cases)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_the_best_f1_is_that_of_trying_every_threshold(case: tuple[Array, Array]) -> None:
    labels, score = case
    tried = [f1_score(labels, score >= threshold) for threshold in np.unique(score)]
    assert oracle_f1(labels, score) == pytest.approx(max(tried))


@given(case=mixed_cases)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_point_adjusting_never_lowers_the_best_f1(case: tuple[Array, Array]) -> None:
    labels, score = case
    found = series_metrics(labels, score, vus_window=0)
    assert found["legacy_point_adjusted_f1"] >= found["oracle_f1"]
    tried = [f1_score(labels, adjusted(labels, score >= t)) for t in np.unique(score)]
    assert found["legacy_point_adjusted_f1"] == pytest.approx(max(tried))


def adjusted(labels: Array, flags: Array) -> Array:
    """Flag the rows on both sides of a found row as long as they are anomalous, one by one."""
    flags = flags.copy()
    for rows in (range(1, len(flags)), range(len(flags) - 2, -1, -1)):
        for row in rows:
            before = row - 1 if rows.step == 1 else row + 1
            flags[row] |= labels[row] & labels[before] & flags[before]
    return flags


def test_point_adjusting_leaves_its_input_as_it_is() -> None:
    score = SCORE.copy()
    assert point_adjusted(LABELS, score).tolist() == [9, 0, 8, 8, 8, 6, 2, 5, 3, 4]
    assert (score == SCORE).all()


@given(case=mixed_cases, window=st.integers(0, 9))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_only_the_order_of_scores_matters(case: tuple[Array, Array], window: int) -> None:
    labels, score = case
    found = series_metrics(labels, score, vus_window=window)
    assert series_metrics(labels, np.exp(score), vus_window=window) == found
    flipped = series_metrics(labels, -score, vus_window=window)
    assert flipped["roc_auc"] == pytest.approx(1 - found["roc_auc"])


@given(case=mixed_cases, window=st.integers(0, 9))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_perfect_scores_get_1(case: tuple[Array, Array], window: int) -> None:
    labels, _ = case
    found = series_metrics(labels, labels * 2.0 - 5, vus_window=window, predicted=labels)
    best = {
        *("roc_auc", "pr_auc", "vus_roc", "vus_pr", "oracle_f1", "legacy_point_adjusted_f1"),
        *("f1", "precision", "recall", "range_f1", "affiliation_f1", "event_recall"),
    }
    assert {key: found[key] for key in best} == pytest.approx(dict.fromkeys(best, 1.0))
    assert found["detection_delay"] == found["false_alarms"] == found["false_alarm_rate"] == 0


def test_random_scores_are_excellent_once_point_adjusted() -> None:
    """The defect of the protocol of Lin et al.: two long events are found by chance alone."""
    labels = np.zeros(12_195, dtype=bool)
    for anomaly in (2410, 3987):  # machine temperature, 12 windows of 48 rows up to the anomaly
        labels[anomaly - 575 : anomaly + 1] = True
    chance = chance_metrics(labels, np.random.default_rng(0), vus_window=2, n_draws=5)
    assert chance["legacy_point_adjusted_f1"] > 0.95
    assert chance["oracle_f1"] < 0.2
    assert chance["roc_auc"] == pytest.approx(0.5, abs=0.02)
    assert chance["pr_auc"] == pytest.approx(chance["anomaly_rate"], abs=0.02)
    assert chance["vus_pr"] < 0.15


def test_rows_without_a_score_are_left_out_and_counted() -> None:
    is_scored = np.array([0, 1, 0, 1, 1, 1, 1, 0, 1, 1], dtype=bool)
    score = np.where(is_scored, SCORE, np.nan)
    options = {"vus_window": 3, "samples_per_day": 2}
    found = series_metrics(LABELS, score, predicted=FLAGS, **options)
    rest = series_metrics(
        LABELS[is_scored], SCORE[is_scored], predicted=FLAGS[is_scored], **options
    )
    assert found == rest | {"unscored": 3}
    assert found["detection_delay"] == 0  # the first row of the event has no score
    assert collection_metrics(LABELS, score, FLAGS)["unscored"] == 3
    assert oracle_f1(LABELS, score) == rest["oracle_f1"]


@pytest.mark.parametrize("n_rows", [1, 6])
def test_without_anomalies_only_alarms_are_counted(n_rows: int) -> None:
    labels, flags = np.zeros(n_rows, dtype=bool), np.arange(n_rows) % 2 == 0
    found = series_metrics(
        labels, np.arange(n_rows, dtype=float), vus_window=1, predicted=flags, samples_per_day=1
    )
    n_alarms = flags.sum()
    known = {"vus_window": 1, "unscored": 0, "anomaly_rate": 0, "false_alarms": n_alarms}
    known |= dict.fromkeys(("false_alarm_rate", "false_alarms_per_day"), n_alarms / n_rows)
    assert {key: value for key, value in found.items() if not np.isnan(value)} == known


def test_without_normal_rows_only_the_events_are_judged() -> None:
    labels, flags = np.ones(4, dtype=bool), np.array([0, 0, 1, 0], dtype=bool)
    found = series_metrics(labels, np.arange(4.0), vus_window=1, predicted=flags)
    known = {"vus_window": 1, "unscored": 0, "anomaly_rate": 1, "false_alarms": 0}
    known |= {"event_recall": 1, "detection_delay": 2}
    assert {key: value for key, value in found.items() if not np.isnan(value)} == known


def test_nothing_flagged_is_precision_0_and_no_delay() -> None:
    found = series_metrics(LABELS, SCORE, vus_window=1, predicted=np.zeros(10, dtype=bool))
    assert np.isnan(found.pop("detection_delay"))
    zeros = ("f1", "precision", "recall", "range_f1", "affiliation_f1", "event_recall")
    assert {found[key] for key in (*zeros, "false_alarms", "false_alarm_rate")} == {0}
    assert not np.isnan(list(found.values())).any()


def test_a_collection_has_its_confusion_matrix() -> None:
    found = collection_metrics(LABELS, SCORE, FLAGS)
    series = series_metrics(LABELS, SCORE, vus_window=0, predicted=FLAGS)
    counts = {"true_positives": 2, "false_positives": 3, "false_negatives": 2, "true_negatives": 3}
    shared = found.keys() & series.keys()
    assert found == counts | {"accuracy": 0.5} | {key: series[key] for key in shared}
    assert shared > {"roc_auc", "pr_auc", "oracle_f1", "f1", "precision", "recall"}
    assert collection_metrics(LABELS, SCORE).keys() < shared


def test_metrics_of_several_seeds_aggregate() -> None:
    def run(seed: int) -> dict[str, float]:
        score = np.random.default_rng(seed).random(10)
        return series_metrics(LABELS, score, vus_window=2, predicted=score > 0.1)

    runs = {seed: run(seed) for seed in range(4)}
    for key in runs[0]:
        values = [metrics[key] for metrics in runs.values()]
        interval = stratified_bootstrap(values, np.mean, np.random.default_rng(0), n_resamples=50)
        assert interval.low <= interval.estimate <= interval.high
        assert mean_interval(values).estimate == pytest.approx(interval.estimate)
        by_seed = {seed: metrics[key] for seed, metrics in runs.items()}
        assert paired_difference(by_seed, by_seed).estimate == 0


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"labels": LABELS[1:]}, ShapeError, r"labels must have shape \(10,\), got \(9,\)"),
        ({"labels": SCORE}, DataError, "labels row 0 is 9.0, neither 0 nor 1"),
        ({"anomaly_score": SCORE[:, None]}, ShapeError, r"anomaly_score must have shape \(L,\)"),
        (
            {"anomaly_score": np.where(SCORE == 9, np.inf, SCORE)},
            DataError,
            "anomaly_score row 0 is inf",
        ),
        ({"anomaly_score": SCORE * np.nan}, DataError, "none of 10 rows has a score"),
        ({"predicted": FLAGS[1:]}, ShapeError, r"predicted must have shape \(10,\), got \(9,\)"),
        ({"vus_window": -1}, DataError, "window must be 0 rows or more, got -1"),
        ({"samples_per_day": 0}, DataError, "samples_per_day must be above 0, got 0"),
    ],
)
def test_bad_input_is_told(change: dict[str, Any], error: type[Exception], text: str) -> None:
    fine = {"labels": LABELS, "anomaly_score": SCORE, "predicted": FLAGS, "vus_window": 1}
    with pytest.raises(error, match=text):
        series_metrics(**(fine | change))

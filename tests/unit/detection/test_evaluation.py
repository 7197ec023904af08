"""Scores, verdicts, tables and what settings are chosen by, of detectors with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from gormpo_density.detection.config import DetectorSection, load_detect_config
from gormpo_density.detection.data import DetectData
from gormpo_density.detection.evaluation import evaluate_detection, fit_baselines
from gormpo_density.detection.selection import selection_metrics
from gormpo_density.detection.tables import (
    classification_table,
    classification_text,
    event_table,
    score_names,
    score_tables,
    summarise,
    type_table,
)
from gormpo_density.detection.views import (
    View,
    latent_views,
    reconstruction_pairs,
    windows_by_kind,
)
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.series import Collection, Series

ROWS = 800


@pytest.fixture(scope="module")
def data() -> DetectData:
    """A noisy sine whose second half has ten spikes and a shift."""
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(ROWS) / 3)[:, None] + 0.05 * rng.normal(size=(ROWS, 1))
    types = np.full(ROWS, "", dtype="<U5")
    types[[450, 500, 520, 560, 600]] = "spike"
    types[700:710] = "shift"
    values[types == "spike"] += 5
    values[types == "shift"] += 4
    test = (slice(ROWS // 2, ROWS),)
    times = 60.0 * np.arange(ROWS)
    source = Series("s", values, ("x",), slice(0, ROWS // 2), test, times, types != "", types)
    return DetectData(source)


@pytest.fixture(scope="module")
def detector(data: DetectData) -> TimeSeriesDetector:
    fitted = TimeSeriesDetector("zscore", window=1, alpha=0.05)
    fitted.fit(data.train, timestamps=data.train_times)
    return fitted


@pytest.fixture(scope="module")
def evaluation(data: DetectData, detector: TimeSeriesDetector):
    config = load_detect_config(None, ["task=respiratory", "baselines=[random]"])
    return evaluate_detection(detector, fit_baselines(config, data, detector), data)


def test_a_perfect_score_is_measured_as_one(evaluation) -> None:
    metrics = evaluation.metrics
    for area in ("roc_auc", "pr_auc", "spike.roc_auc", "shift.pr_auc"):
        assert metrics[f"score.{area}"] == pytest.approx(1)
    assert metrics["score.recall"] == 1
    assert abs(metrics["baseline.random.roc_auc"] - 0.5) < 0.2
    assert metrics["score.false_alarms_per_day"] >= 0


def test_flags_follow_the_threshold_and_false_alarms_are_those_of_normal_rows(
    evaluation, data, detector
) -> None:
    flagged = evaluation.scores["score"] < detector.threshold
    assert np.array_equal(evaluation.flagged, flagged)
    normal = data.judged & ~data.labels
    assert evaluation.metrics["false_alarm_rate"] == flagged[normal].mean()


def test_rows_without_a_score_are_no_normal_rows_that_went_unflagged(data) -> None:
    holed = data.values.copy()
    holed[610:650] = np.nan
    source = replace(data.source, values=holed)
    fitted = TimeSeriesDetector("zscore", window=4, alpha=0.05)
    fitted.fit(data.train)
    metrics = evaluate_detection(fitted, {}, DetectData(source)).metrics
    assert metrics["score.unscored"] == 40
    assert metrics["false_alarm_rate"] == metrics["score.false_alarm_rate"] > 0


def test_events_are_those_that_reach_into_what_is_judged(evaluation, data) -> None:
    assert all(event.end >= ROWS // 2 for event in evaluation.events)
    assert any(event.start <= 700 and event.end >= 709 for event in evaluation.events)
    table = event_table(evaluation.events)
    assert table.columns[:3] == ["from", "to", "first row"]
    assert table.rows[0][0] == 60.0 * table.rows[0][2]


def test_of_many_events_the_worst_are_shown_in_order(evaluation) -> None:
    (event, *_) = evaluation.events
    table = event_table([event] * 50)
    assert (len(table.rows), table.caption) == (30, "The 30 worst of 50 events found")


def test_tables_have_a_row_for_every_score(evaluation, data) -> None:
    assert score_names(evaluation.metrics) == ["score", "baseline.random"]
    areas, verdicts = score_tables(evaluation.metrics)
    assert [row[0] for row in areas.rows] == ["score", "baseline.random"]
    assert "legacy PA-F1" in areas.columns
    assert "false alarms a day" in verdicts.columns
    assert type_table(evaluation.metrics, data.types).rows[0][1:] == pytest.approx((1.0, 1.0))


def test_the_classification_report_counts_judged_rows(evaluation, data) -> None:
    table = classification_table(data, evaluation)
    assert [row[0] for row in table.rows] == ["normal", "anomaly"]
    assert [row[-1] for row in table.rows] == [385, 15]
    assert " 385\n" in classification_text(data, evaluation)


def test_the_summary_names_the_score_and_the_false_alarms(evaluation) -> None:
    summary = dict(summarise(evaluation.metrics | {"score": "score"}))
    assert summary["AUROC of score"] == pytest.approx(1)
    assert summary["false alarm rate"].endswith("%")


def test_selection_sees_validation_rows_only(data, detector) -> None:
    section = DetectorSection()
    chosen_by = selection_metrics(detector, data, section, seed=0)
    areas = ("roc_auc", "pr_auc", "vus_roc", "vus_pr")
    assert list(chosen_by) == ["val_score", *(f"injected.{area}" for area in areas)]
    rows = slice(320, 360)  # after 80 % of the 400 training rows, before the last 10 %
    assert chosen_by["val_score"] == pytest.approx(detector.score_samples(data.train[rows]).mean())
    assert 0.6 < chosen_by["injected.roc_auc"] < 1
    spoilt = data.values.copy()
    spoilt[360:] = 99.0  # calibration and judged rows
    source = Series("s", spoilt, ("x",), slice(0, ROWS // 2), (slice(ROWS // 2, ROWS),))
    again = selection_metrics(detector, DetectData(source), section, seed=0)
    assert again == chosen_by


# Views --------------------------------------------------------------------------------------


def test_views_of_a_series_are_windows_around_its_anomalies(data) -> None:
    vae = TimeSeriesDetector({"name": "vae", "hidden_dims": [8], "latent_dim": 2}, window=8)
    vae.fit(data.train, epochs=2)
    pairs = reconstruction_pairs(View.of(vae), data)
    assert list(pairs) == ["normal", "shift", "spike"]
    window, back = pairs["spike"]
    assert (window.shape, back.shape) == ((8, 1), (8, 1))
    assert window[4] > 3  # the spike is in the middle
    latents = latent_views(View.of(vae), data)
    assert {kind: z.shape[1] for kind, z in latents.items()} == dict.fromkeys(pairs, 2)


def test_a_model_without_reconstructions_has_no_views(data, detector) -> None:
    assert reconstruction_pairs(View.of(detector), data) == {}
    assert latent_views(View.of(detector), data) == {}


def test_windows_of_a_collection_by_kind() -> None:
    kinds = np.array(["normal", "normal", "odd", "normal", "odd"])
    values = np.arange(10.0).reshape(5, 2, 1)
    train, test = np.array([0]), np.array([1, 2, 3])
    data = DetectData(Collection("c", values, ("x",), train, test, kinds == "odd", kinds))
    found = windows_by_kind(data)
    assert {kind: list(windows[:, 0, 0]) for kind, windows in found.items()} == {
        "normal": [2.0, 6.0],
        "odd": [4.0],
    }

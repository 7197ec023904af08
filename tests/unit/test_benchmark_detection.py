"""The benchmark of detection: what is judged, by which labels, and how rows become tables."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gormpo_density.timeseries.series import Collection, Series

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return module


def sine(length: int = 400, spike: int = 350) -> Series:
    """Return a sine of period 12 that trains on its first 300 rows, with one spike later."""
    values = np.sin(2 * np.pi * np.arange(length) / 12)[:, None]
    values[spike] += 8
    labels = np.arange(length) == spike
    spans = (slice(300, 340), slice(340, length))
    return Series("sine", values, ("x",), slice(0, 300), spans, labels=labels)


def beats() -> Collection:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 6, 1))
    labels = np.arange(200) >= 180
    values[labels] += 5
    return Collection("beats", values, ("x",), np.arange(100), np.arange(100, 200), labels)


def test_every_span_is_judged_by_a_detector_that_saw_the_training_rows_alone(load) -> None:
    methods, series = load("detection.methods"), sine()
    setting = methods.Setting({"window": 4, "aggregation": "causal"})
    nearest = methods.baseline("nearest")
    detector = methods.fitted(nearest, setting, series, seed=0)
    scored = methods.judge(detector, series, "score")
    assert np.flatnonzero(np.isnan(scored.anomaly_score)).tolist() == [0, 1, 2, 40, 41, 42]
    assert np.nanargmax(scored.anomaly_score) in range(50, 54)
    assert not scored.predicted[:3].any()  # a row without a score is no alarm
    np.testing.assert_array_equal(np.flatnonzero(methods.judged_labels(series)), [50])
    other = sine(spike=390)
    again = methods.fitted(nearest, setting, other, seed=0)
    assert again.threshold == detector.threshold  # nothing of what is judged is in it


def test_labels_of_training_rows_change_nothing(load) -> None:
    methods, series = load("detection.methods"), sine()
    marked = Series(
        "sine",
        series.values,
        ("x",),
        series.train,
        series.test,
        labels=series.labels | (np.arange(400) < 100),
    )
    setting = methods.Setting({"window": 4})
    thresholds = {
        methods.fitted(methods.baseline("pca"), setting, s, seed=0).threshold
        for s in (series, marked)
    }
    assert len(thresholds) == 1


def test_a_cell_holds_a_row_for_every_score_and_is_measured_once(load, tmp_path) -> None:
    methods, cells = load("detection.methods"), load("cells")
    bench = cells.Bench(tmp_path, tmp_path)
    vae = {"name": "vae", "latent_dim": 2, "hidden_dims": [8]}
    method = methods.Method("vae", vae, {"epochs": 1}, ("elbo", "reconstruction"))
    setting = methods.Setting({"alpha": 0.1})
    cell = cells.Cell("part", "beats", "vae", 3)
    found = methods.measure(bench, cell, method, setting, beats())
    assert list(found) == ["vae, elbo", "vae, reconstruction"]
    assert found["vae, elbo"]["roc_auc"] > 0.9
    assert found["vae, elbo"]["fit_seconds"] > 0
    written = (tmp_path / "cells" / cell.file).stat().st_mtime_ns
    assert methods.measure(bench, cell, method, setting, beats()) == found
    assert (tmp_path / "cells" / cell.file).stat().st_mtime_ns == written
    methods.measure(bench, cell, method, methods.Setting({"alpha": 0.2}), beats())
    assert (tmp_path / "cells" / cell.file).stat().st_mtime_ns != written


def test_rows_are_sorted_and_have_an_interval_where_there_are_seeds(load) -> None:
    rows = load("detection.rows")
    found: dict = {}
    for value in (0.4, 0.6):
        rows.collect(found, {"learned": {"f1": value, "rate": 0.05}})
    rows.collect(found, {"simple": {"f1": 0.7, "rate": 0.0}})
    columns = (rows.Column("F1", "f1"), rows.Column("alarms, %", "rate", 1, 100))
    text = rows.metrics_table(found, columns, sort_by="f1").splitlines()
    assert text[0] == "| score | F1 | alarms, % |"
    assert text[2] == "| simple | 0.700 | 0.0 |"
    assert text[3] == "| learned | 0.500 [-0.771, 1.771] | 5.0 [5.0, 5.0] |"


def test_a_sequence_is_positive_if_it_holds_the_row_of_an_anomaly(load) -> None:
    lin = load("detection.lin")
    length, anomaly = 3 * lin.ROWS, lin.ROWS + 10
    labels = np.arange(length + 10) == anomaly
    values = np.zeros((length + 10, 1))
    spans = (slice(0, length),)
    series = Series("s", values, ("x",), slice(length, length + 10), spans, labels=labels)
    found = lin.sequence_labels(series)
    assert found.shape == (length - lin.ROWS + 1,)
    assert np.flatnonzero(found)[[0, -1]].tolist() == [anomaly - lin.ROWS + 1, anomaly]
    assert np.count_nonzero(found) == lin.ROWS


def test_all_windows_of_a_series_have_its_period(load) -> None:
    values = np.sin(2 * np.pi * np.arange(700) / 13)[:, None]
    series = Series("sine", values, ("x",), slice(0, 600), (slice(600, 700),))
    assert load("detection.nab").period(series) == 12  # 13, made even


def test_each_fault_is_held_against_the_same_normal_windows(load) -> None:
    part = load("detection.power_converter")
    data = part.simulate_power_converter(part.PowerConverterConfig(num_samples=100), 0)
    classes = data.classes[data.test]
    scores = np.where(classes == "voltage_spike", 1.0, 0.0)
    found = part._by_fault(data, scores)
    assert found["voltage_spike"] == {"roc_auc": 1.0, "pr_auc": 1.0}
    assert found["temperature_drift"]["roc_auc"] == 0.5


def test_one_simulation_differs_from_another_by_its_faults_alone(load) -> None:
    part = load("detection.power_converter")
    mild, strong = (
        part.simulate_power_converter(part._config(part.QUICK, severity), 0)
        for severity in (0.0, 4.0)
    )
    np.testing.assert_array_equal(mild.values[mild.train], strong.values[strong.train])


def test_the_plain_autoencoder_learns_and_scores_windows(load) -> None:
    methods, name = load("detection.methods"), load("detection.autoencoder").MLP_AE
    data = beats()
    method = methods.Method("autoencoder", {"name": name}, {"epochs": 5})
    detector = methods.fitted(method, methods.Setting({"alpha": 0.1}), data, seed=0)
    scored = methods.judge(detector, data, "reconstruction")
    labels = methods.judged_labels(data)
    assert scored.anomaly_score[labels].min() > np.median(scored.anomaly_score[~labels])


def test_flags_of_all_files_count_together(load) -> None:
    skab, methods = load("detection.skab"), load("detection.methods")
    data = [sine(), sine(spike=390)]
    setting = methods.Setting({"window": 1, "alpha": 0.05})
    (found,) = skab._measured(methods.baseline("zscore"), setting, data, 0).values()
    assert found["miss_rate"] == 0
    assert found["oracle_f1"] == 1
    constant = skab._measured(methods.baseline("constant"), setting, data, 0)["constant"]
    assert constant["f1"] == constant["false_alarm_rate"] == 0
    assert constant["miss_rate"] == 1


def test_plain_networks_give_an_error_for_each_window(load) -> None:
    import torch

    speed = load("detection.speed")
    windows = torch.zeros(3, speed.STEPS, speed.CHANNELS)
    for plain in speed._plain().values():
        assert plain(windows).shape == (3,)
        assert (plain(windows) >= 0).all()

"""`python -m gormpo_density.detect`: what a run leaves, of a collection and of a series."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gormpo_density import TimeSeriesDetector
from gormpo_density.config_files import parse_yaml, read_config

FILES = {
    *("config.yaml", "history.csv", "metrics.json", "report.html", "versions.json"),
    *("scores.csv", "events.csv", "checkpoints/fit.safetensors"),
    *("model/config.json", "model/model.safetensors"),
    *("model/detector.json", "model/detector.safetensors"),
    *(f"plots/{name}.png" for name in ("calibration", "confusion", "curves", "latent")),
    *(f"plots/{name}.png" for name in ("reconstructions", "scores", "training")),
}
SCORES = ["elbo", "iwae", "reconstruction", "latent_euclidean", "latent_mahalanobis"]
MEASURED = [*SCORES, "baseline.random", "baseline.zscore"]

#: Keys of metrics.json: other programs read them, so a change here is a change of interface.
FACTS = ["dataset", "dataset_requested", "channels", "model", "score", "score_kind", "seed"]
OF_WINDOWS = [
    *("roc_auc", "pr_auc", "oracle_f1", "anomaly_rate", "unscored", "f1", "precision", "recall"),
    *("false_alarm_rate", "true_positives", "false_positives", "false_negatives"),
    *("true_negatives", "accuracy"),
]
OF_SERIES = [
    *("roc_auc", "pr_auc", "oracle_f1", "anomaly_rate", "vus_roc", "vus_pr", "vus_window"),
    *("legacy_point_adjusted_f1", "unscored", "f1", "precision", "recall", "false_alarm_rate"),
    *("range_f1", "affiliation_f1", "event_recall", "detection_delay", "false_alarms"),
    "false_alarms_per_day",
]
SELECTION = ["val_nll_bound_per_value", "injected.roc_auc", "injected.pr_auc"]
SELECTION_OF_SERIES = [*SELECTION, "injected.vus_roc", "injected.vus_pr"]
SECONDS = ["fit_seconds", "seconds"]
TYPES = ["current_oscillation", "temperature_drift", "voltage_spike"]


# What a run leaves --------------------------------------------------------------------------


def files_of(path: Path) -> set[str]:
    files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    return {name for name in files if not name.startswith(".")}


def test_a_run_on_windows_leaves_everything(windows_run) -> None:
    assert files_of(windows_run.path) == {*FILES, "plots/samples.png"}


def test_a_run_on_a_series_leaves_everything(series_run) -> None:
    assert files_of(series_run.path) == {*FILES, "plots/series.png", "plots/close_ups.png"}


def test_the_keys_of_the_metrics_of_windows_are_stable(windows_run) -> None:
    by_type = [f"{kind}.{area}" for kind in TYPES for area in ("roc_auc", "pr_auc")]
    counts = [f"{part}_windows" for part in ("train", "val", "cal", "test", "anomalous")]
    assert list(windows_run.metrics) == [
        *FACTS,
        *("parameters", "window", *counts),
        *("threshold", "threshold_promise", "flagged_fraction"),
        *(f"{name}.{metric}" for name in MEASURED for metric in (*OF_WINDOWS, *by_type)),
        *("false_alarm_rate", *SELECTION, *SECONDS),
    ]
    assert None not in windows_run.metrics.values()


def test_the_keys_of_the_metrics_of_a_series_are_stable(series_run) -> None:
    counts = [f"{part}_rows" for part in ("train", "val", "cal", "test", "anomalous")]
    assert list(series_run.metrics) == [
        *FACTS,
        *("parameters", "window", *counts),
        *("threshold", "threshold_promise", "flagged_fraction"),
        *(f"{name}.{metric}" for name in MEASURED for metric in OF_SERIES),
        *("false_alarm_rate", *SELECTION_OF_SERIES, *SECONDS),
    ]


def test_every_window_has_its_scores(windows_run) -> None:
    rows = windows_run.table("scores.csv")
    assert list(rows[0]) == ["window", "part", "kind", *MEASURED, "anomaly"]
    assert [row["part"] for row in rows] == ["train"] * 72 + ["test"] * 48
    below = [float(row["elbo"]) < windows_run.metrics["threshold"] for row in rows]
    assert [row["anomaly"] == "1" for row in rows] == below


def test_the_events_of_a_series_are_where_it_is_flagged(series_run) -> None:
    rows = series_run.table("scores.csv")
    assert list(rows[0]) == ["row", "time", "part", "kind", *MEASURED, "anomaly"]
    events = series_run.table("events.csv")
    assert any(int(e["start"]) <= 352 <= int(e["end"]) for e in events)
    for event in events:
        start, end, peak = (int(event[key]) for key in ("start", "end", "peak"))
        assert rows[start]["anomaly"] == rows[end]["anomaly"] == "1"
        assert event["start_time"] == rows[start]["time"]
        assert event["score"] == rows[peak]["elbo"]


def test_the_spike_is_found(series_run) -> None:
    assert series_run.metrics["elbo.roc_auc"] > 0.9 > series_run.metrics["baseline.random.roc_auc"]
    assert series_run.metrics["injected.roc_auc"] > 0.5


def test_the_report_needs_no_other_file(series_run) -> None:
    page = (series_run.path / "report.html").read_text()
    assert page.count("<img") == page.count('src="data:') == 9
    assert "Classification report" in page
    assert "Events found" in page
    assert "legacy PA-F1" in page


def test_the_saved_detector_gives_the_scores_of_the_run(series_run) -> None:
    rows = series_run.table("scores.csv")
    values = np.array([[float(r["x"]), float(r["y"])] for r in read_csv(series_run)])
    scores = TimeSeriesDetector.load(series_run.path).score_samples(values)
    np.testing.assert_allclose(scores, [float(row["elbo"]) for row in rows], rtol=1e-5)


def read_csv(run):
    path = Path(read_config(run.path / "config.yaml")["data"]["data_path"])
    return type(run)(path.parent).table(path.name)


# Console ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_report")
def test_the_console_tells_device_data_losses_areas_and_places(command, tmp_path, small) -> None:
    loud = [word for word in small if word != "--quiet"]
    out = command(*loud, "--run-dir", tmp_path / "run").out.splitlines()
    assert out[0] == "device: cpu"
    assert "shape (120, 12, 3); 72 to learn from, 48 judged, 14 of them anomalous" in out[1]
    assert [line.split(":")[0] for line in out[2:4]] == ["epoch 1", "epoch 2"]
    assert out[4].split() == [
        "score",
        "AUROC",
        "AUPR",
        "F1",
        "precision",
        "recall",
        "false",
        "alarms",
    ]
    assert "f1-score   support" in "\n".join(out)
    assert out[-4] == f"model:  {tmp_path / 'run' / 'model'}"
    assert out[-1] == f"report: {tmp_path / 'run' / 'report.html'}"


@pytest.mark.usefixtures("without_report")
def test_what_model_and_baselines_warn_of_alike_is_said_once(
    command, tmp_path, recording, monkeypatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    few = ("--set", "detector.window=8", "--set", "baselines=[random, zscore]", "--quiet")
    where = ("--data-path", recording, "--model", "pca", "--run-dir", tmp_path / "run")
    err = command(*where, *few).err
    assert err.startswith("WARNING: 12 calibration scores are too few")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("without_report")
def test_a_quiet_run_says_only_what_it_found(command, tmp_path, small) -> None:
    out = command(*small, "--run-dir", tmp_path / "run").out
    assert out.startswith("score ")


def test_plots_on_the_way_are_made_on_request(command, tmp_path, monkeypatch, small) -> None:
    monkeypatch.setattr("gormpo_density.detection.run.write_detect_report", lambda *_: None)
    interval = ("--visualization-interval", "2")
    assert command(*small, *interval, "--run-dir", tmp_path / "run").code == 0
    names = {path.name for path in (tmp_path / "run" / "plots").iterdir()}
    kinds = ("training", "reconstructions", "latent")
    assert names == {f"{kind}-epoch00002.png" for kind in kinds}


# Configuration ------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_report")
def test_the_configuration_of_a_run_makes_the_same_run(windows_run, command, tmp_path) -> None:
    again = type(windows_run)(tmp_path / "again")
    config = windows_run.path / "config.yaml"
    assert command("--config", config, "--run-dir", again.path, "--quiet").code == 0
    again.assert_equals(windows_run)


def test_a_dry_run_prints_the_configuration_and_leaves_nothing(command, tmp_path, small) -> None:
    outcome = command(*small, "--dry-run", "--run-dir", tmp_path / "run")
    config = parse_yaml(outcome.out, "output")
    assert (outcome.code, outcome.err) == (0, "")
    assert config["data"]["num_samples"] == 120
    assert config["data"]["severity"] == 1.0
    assert config["calibration"] == {"alpha": 0.1}
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_warns_of_absent_data(command) -> None:
    outcome = command("--task", "nab_nyc_taxi", "--dry-run")
    warning = "warning: nab_nyc_taxi needs --data-dir DIR, the folder that holds its files\n"
    assert (outcome.code, outcome.err) == (0, warning)


def test_seeds_make_a_run_each(command, tmp_path, monkeypatch, small) -> None:
    monkeypatch.setattr("gormpo_density.detection.run.write_detect_report", lambda *_: None)
    assert command(*small, "--seeds", "1", "2", "--run-dir", tmp_path).code == 0
    first, second = (tmp_path / f"seed{seed}" / "scores.csv" for seed in (1, 2))
    assert first.read_text() != second.read_text()


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("model", ["pca", "isolation_forest", "recurrent_ae", "vae_lstm"])
def test_other_models_and_baselines_detect_too(command, tmp_path, model, small) -> None:
    start = small[: small.index("--epochs")]
    epochs = () if model in ("pca", "isolation_forest") else ("--epochs", "1")
    args = [*start, *epochs, "--anomaly-fraction", "0.1", "--set", "baselines=[]"]
    outcome = command(*args, "--model", model, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.usefixtures("without_report")
def test_beats_stand_in_for_ecg5000_and_the_run_says_so(command, tmp_path) -> None:
    args = ("--config", "detect/ecg5000", "--epochs", "1", "--device", "cpu")
    small = ("--set", "model.latent_dim=2", "--set", "baselines=[]", "--set", "fit.batch_size=512")
    outcome = command(*args, *small, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "ecg5000 is not here; ecg_beats is used in its place" in outcome.out


@pytest.mark.usefixtures("without_report")
def test_a_json_file_of_recae_runs_with_its_loss_that_needs_anomalies(command, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name, classes in (("TRAIN", [1] * 30 + [2, 3, 4, 5] * 3), ("TEST", [1, 2, 3, 4, 5] * 4)):
        rows = [[c, *(c * np.sin(np.arange(8)) + 0.1 * rng.normal(size=8))] for c in classes]
        np.savetxt(tmp_path / f"ECG5000_{name}.tsv", rows, delimiter="\t")
    theirs = {
        **{
            "exp_name": "rnn_ae",
            "agent": "RecurrentAEAgent",
            "rnn_type": "GRU",
            "rnn_act": "None",
        },
        **{"n_layers": 1, "latent_dim": 3, "n_features": 1, "learning_rate": 0.001},
        **{"batch_size": 16, "max_epoch": 2, "loss": "MAEAUC", "lambda_auc": 0.1, "cuda": False},
        **{"data_folder": str(tmp_path), "seed": 5},
    }
    (tmp_path / "x.json").write_text(json.dumps(theirs))
    config = ("--config", tmp_path / "x.json", "--set", "baselines=[]", "--device", "cpu")
    outcome = command(*config, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "roc_auc" in (tmp_path / "run" / "metrics.json").read_text()
    none_left = command(*config, "--set", "data.protocol=B", "--run-dir", tmp_path / "other")
    assert none_left.code == 2
    assert "'mae_auc' needs anomalies" in none_left.err


# Resume -------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from gormpo_density import detect, fitting
save = fitting.Trainer._save

def save_or_die(trainer, path):
    if trainer.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    save(trainer, path)

fitting.Trainer._save = save_or_die
detect.main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("without_report")
def test_a_killed_run_is_resumed_to_the_same_result(windows_run, command, tmp_path, small) -> None:
    run = type(windows_run)(tmp_path / "run")
    args = [*small, "--run-dir", str(run.path)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *args], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert command(*args).err.endswith("--overwrite starts again\n")
    assert command(*args, "--resume").code == 0
    run.assert_equals(windows_run)


def test_a_finished_run_says_where_it_is(windows_run, command, small) -> None:
    outcome = command(*small, "--run-dir", windows_run.path)
    assert outcome.code == 0
    assert outcome.out.startswith(f"finished already: {windows_run.path}")


@pytest.mark.usefixtures("without_report")
def test_overwrite_removes_what_a_run_left(windows_run, command, tmp_path, small) -> None:
    run = tmp_path / "run"
    shutil.copytree(windows_run.path, run)
    assert command(*small, "--run-dir", run, "--seed", "5").code == 2
    assert command(*small, "--run-dir", run, "--seed", "5", "--overwrite").code == 0
    assert not (run / "plots").exists()

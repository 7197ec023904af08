"""What `python -m gormpo_density.detect` refuses: one line for each problem, exit code 2."""

import json

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("args", "complaints"),
    [
        ([], ["no data: give data.dataset, data.data_path or a task"]),
        (["--task", "power_convert"], ["data set 'power_convert' is unknown, did you mean"]),
        (
            ["--task", "power_converter", "--set", "data.severety=1", "--set", "fit.epocs=3"],
            ["data.severety is unknown, did you mean", "fit.epocs is unknown, did you mean"],
        ),
        (
            ["--task", "power_converter", "--set", "data.train_share=2"],
            ["data.train_share must be less than 1, is 2"],
        ),
        (
            ["--task", "respiratory", "--set", "detector.window=0", "--set", "baselines=[pcr]"],
            ["detector.window", "must be a baseline, is 'pcr', did you mean 'pca'"],
        ),
        (
            ["--task", "ecg_beats", "--model", "vea"],
            ["model 'vea' is unknown, did you mean 'vae'"],
        ),
        (
            [
                "--task",
                "respiratory",
                "--set",
                "detector.val_ratio=0.6",
                "--set",
                "detector.cal_ratio=0.5",
            ],
            ["detector leaves nothing to train on: the two ratios sum to 1.1"],
        ),
        (["--task", "nab_nyc_taxi"], ["nyc_taxi.csv is needed"]),
        (["--task", "nab_nyc_taxi", "--data-dir", "/nowhere"], ["/nowhere: no such folder"]),
        (["--data-path", "absent.csv"], ["absent.csv: cannot be read"]),
        (["--config", "detect/power"], ["config 'detect/power' is not found; there are"]),
        (
            ["--task", "power_converter", "--set", "detector.score=elb", "--epochs", "1"],
            ["score 'elb' is unknown; choose from elbo"],
        ),
        (
            ["--task", "ecg_beats", "--set", "detector.window=50"],
            ["window is 50, the collection's windows have 140 rows"],
        ),
    ],
)
def test_bad_configurations(command, tmp_path, monkeypatch, args, complaints) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command(*args, "--device", "cpu", "--run-dir", tmp_path / "run")
    lines = outcome.err.splitlines()
    assert (outcome.code, len(lines)) == (2, len(complaints)), outcome.err
    for line, complaint in zip(lines, complaints, strict=True):
        assert complaint in line
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_every_bad_cell_of_a_file_is_told(command, recording, tmp_path) -> None:
    lines = recording.read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",maybe"
    lines[5] = ",".join([lines[5].split(",")[0], "high", *lines[5].split(",")[2:]])
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    outcome = command("--data-path", tmp_path / "bad.csv", "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    told = outcome.err.splitlines()
    assert len(told) == 2
    assert "line 6, column 'x': 'high' is not a finite number" in outcome.err
    assert "line 4, column 'label': 'maybe' is not 0 or 1" in outcome.err


def test_a_series_shorter_than_its_windows_is_told(command, recording, tmp_path) -> None:
    args = ("--data-path", recording, "--set", "detector.window=100", "--device", "cpu")
    outcome = command(*args, "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    assert "200 rows are too few for windows of 100" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_run_without_labels_measures_nothing_but_finds_events(
    command, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("gormpo_density.detection.run.write_detect_report", lambda *_: None)
    x = np.sin(np.arange(300) / 4) + 0.01 * np.random.default_rng(0).normal(size=300)
    x[250] += 5
    (tmp_path / "x.csv").write_text("\n".join(["x", *map(str, x)]))
    args = ("--data-path", tmp_path / "x.csv", "--model", "zscore", "--set", "detector.window=4")
    small = ("--quiet", "--anomaly-fraction", "0.1", "--set", "baselines=[]", "--device", "cpu")
    outcome = command(*args, *small, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("flagged: ")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [key for key in metrics if key.endswith("roc_auc")] == ["injected.roc_auc"]
    assert 0 < metrics["flagged_fraction"] < 0.5

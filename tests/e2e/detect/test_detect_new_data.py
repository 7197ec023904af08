"""`--score` and `--prepare`: new data for a saved detector, and what a run would train on."""

import shutil

import numpy as np
import pytest

from gormpo_density import TimeSeriesDetector


def rewrite(path, recording, rows=slice(None), drop=()):
    """Write some rows of the recording, without some columns."""
    header, *lines = recording.read_text().splitlines()
    names = header.split(",")
    kept = [i for i, name in enumerate(names) if name not in drop]
    table = [[line.split(",")[i] for i in kept] for line in (header, *lines[rows])]
    path.write_text("\n".join(",".join(row) for row in table) + "\n")
    return path


def test_new_rows_get_the_scores_of_the_saved_detector(
    series_run, command, recording, tmp_path
) -> None:
    new = rewrite(tmp_path / "new.csv", recording, slice(200, None), drop=("label",))
    outcome = command("--score", new, "--run", series_run.path, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(f"events\nresults: {tmp_path / 'out'}\n")
    scored = type(series_run)(tmp_path / "out")
    rows = scored.table("scores.csv")
    assert [row["part"] for row in rows] == ["new"] * 200
    old = series_run.table("scores.csv")[200:]
    inside = slice(8, None)  # the first rows have fewer windows over them
    ours, theirs = ([float(row["elbo"]) for row in table[inside]] for table in (rows, old))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert any(int(e["start"]) <= 152 <= int(e["end"]) for e in scored.table("events.csv"))
    assert (tmp_path / "out" / "series.png").exists()


def test_labels_in_new_data_are_measured(series_run, command, recording, tmp_path) -> None:
    run = shutil.copytree(series_run.path, tmp_path / "run")
    outcome = command("--score", recording, "--run", run)
    assert "f1-score" in outcome.out
    assert (run / "scored" / "plant" / "scores.csv").exists()


def test_new_data_need_not_have_the_label_column_that_a_run_names(
    series_run, command, recording, tmp_path
) -> None:
    run = shutil.copytree(series_run.path, tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("label: null", "label: label"))
    new = rewrite(tmp_path / "new.csv", recording, drop=("label",))
    outcome = command("--score", new, "--run", run)
    assert outcome.code == 0, outcome.err
    assert "f1-score" not in outcome.out


def test_new_data_may_be_anomalous_throughout(series_run, command, recording, tmp_path) -> None:
    new = rewrite(tmp_path / "new.csv", recording, slice(40))
    new.write_text(new.read_text().replace(",0\n", ",1\n"))
    outcome = command("--score", new, "--run", series_run.path, "--out", tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")


def test_new_windows_are_scored_whole(windows_run, command, tmp_path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 12, 3))
    np.savez(tmp_path / "new.npz", X=x, y=np.zeros(5))
    where = ("--run", windows_run.path, "--out", tmp_path / "out")
    outcome = command("--score", tmp_path / "new.npz", *where)
    assert outcome.code == 0, outcome.err
    rows = type(windows_run)(tmp_path / "out").table("scores.csv")
    expected = TimeSeriesDetector.load(windows_run.path).score_samples(x)
    np.testing.assert_allclose([float(row["elbo"]) for row in rows], expected, rtol=1e-6)


@pytest.mark.usefixtures("without_report")
def test_a_model_that_cannot_be_saved_scores_no_new_data(command, recording, tmp_path) -> None:
    run = tmp_path / "run"
    small = ("--quiet", "--set", "detector.window=8", "--set", "baselines=[]")
    model = ("--model", "isolation_forest", "--set", "model.n_estimators=5")
    outcome = command("--data-path", recording, *model, *small, "--run-dir", run)
    assert outcome.code == 0, outcome.err
    assert "model:" not in outcome.out
    outcome = command("--score", recording, "--run", run)
    assert outcome.err == f"{run}: no detector is saved there, isolation_forest cannot be\n"


def test_new_data_that_does_not_fit_is_refused(
    windows_run, series_run, command, recording, tmp_path
) -> None:
    without = rewrite(tmp_path / "new.csv", recording, drop=("y",))
    short = rewrite(tmp_path / "short.csv", recording, slice(5))
    np.savez(tmp_path / "short.npz", X=np.zeros((5, 7, 3)), y=np.zeros(5))
    cases = {
        ("--score", short, "--run", series_run.path): f"{short}: x has 5 rows, a window needs 8",
        ("--score", without, "--run", series_run.path): "no column 'y'",
        ("--score", tmp_path / "no.csv", "--run", series_run.path): "cannot be read",
        ("--score", recording, "--run", tmp_path): "no finished run is there",
        ("--score", recording): "--score FILE and --run RUN go together",
        ("--score", recording, "--run", series_run.path, "--epochs", "3"): "fit.epochs=3",
        ("--score", recording, "--run", series_run.path, "--dry-run"): "--dry-run: the saved run",
        ("--score", recording, "--run", series_run.path, "--seeds", "1"): "--seeds: the saved run",
        ("--data-path", recording, "--out", tmp_path): "--out is where --score writes",
        ("--score", tmp_path / "short.npz", "--run", windows_run.path): "windows are (7, 3)",
    }
    for args, complaint in cases.items():
        outcome = command(*args)
        assert (outcome.code, outcome.out) == (2, "")
        assert complaint in outcome.err
        assert outcome.err.count("\n") == 1


def test_prepared_windows_are_those_a_run_trains_on(command, series_args, tmp_path) -> None:
    outcome = command(*series_args, "--prepare", tmp_path / "prepared.npz")
    assert outcome.code == 0, outcome.err
    with np.load(tmp_path / "prepared.npz") as file:
        arrays = dict(file)
    assert arrays["train"].tolist() == [[0, 200]]
    assert arrays["test"].tolist() == [[200, 400]]
    windows = arrays["train_windows"]
    assert windows.shape == (160 - 8 + 1, 8, 2)
    rows = (arrays["values"][:160] - arrays["scaler_offset"]) / arrays["scaler_scale"]
    np.testing.assert_allclose(windows[3], rows[3:11], rtol=1e-6)
    assert f"train_windows: {windows.shape}, scaled" in outcome.out


def test_preparing_several_seeds_is_refused(command, series_args, tmp_path) -> None:
    outcome = command(*series_args, "--prepare", tmp_path / "p.npz", "--seeds", "1", "2")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)

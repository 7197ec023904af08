"""`python -m gormpo_density.augment`: what a run leaves, LSTSAUG's flags, resume."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from gormpo_density import augment
from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError
from gormpo_density.timeseries.readers.ucr import read_windows

COMMON = {
    *("config.yaml", "history.csv", "metrics.json", "report.html", "versions.json"),
    *("model/config.json", "model/model.safetensors", "checkpoints/fit.safetensors"),
    "plots/training.png",
}
OF_ARMS = {
    *("predictions.csv", "plots/accuracy.png", "plots/density.png"),
    *(f"checkpoints/arm-{name}.json" for name in ("baseline", "jitter", "noise")),
    *(
        f"plots/{kind}_{arm}.png"
        for kind in ("synthetic", "latent")
        for arm in ("jitter", "noise")
    ),
}

#: Keys of metrics.json: other programs read them, so a change here is a change of interface.
FACTS = [
    *("dataset", "dataset_requested", "classes", "steps", "channels", "train_rows", "test_rows"),
    *("scale", "model", "score_kind", "parameters", "seed"),
    *("reconstruction_error_train", "reconstruction_error_test"),
]
MEASURED = ["accuracy_mean", "ci_low", "ci_high"]


# What a run leaves --------------------------------------------------------------------------


def files_of(path) -> set[str]:
    files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    return {n for n in files if not n.startswith((".", "tensorboard/events"))}


def test_a_run_with_arms_leaves_everything(arms_run) -> None:
    assert files_of(arms_run.path) == COMMON | OF_ARMS
    assert list((arms_run.path / "tensorboard").iterdir())
    assert len(arms_run.history) == 3


def test_the_keys_of_the_metrics_are_stable(arms_run) -> None:
    arms, floors = ("baseline", "jitter", "noise"), ("floor.nearest", "floor.majority")
    drawn = ("synthetic_rows", "rejected", "score_median")
    assert list(arms_run.metrics) == [
        *(*FACTS, "classifier", "interval"),
        *(f"{arm}.{key}" for arm in (*arms, *floors) for key in MEASURED),
        "test_score_median",
        *(f"{arm}.{key}" for arm in ("jitter", "noise") for key in drawn),
        *(f"{arm}.{key}" for arm in arms for key in ("optimiser_steps", "seconds")),
        *("fit_seconds", "seconds"),
    ]
    assert None not in arms_run.metrics.values()
    assert arms_run.metrics["interval"] == "wilson 95 %, test rows"


def test_the_predictions_give_the_accuracies(arms_run) -> None:
    rows = arms_run.table("predictions.csv")
    assert list(rows[0]) == ["row", "label", "baseline", "jitter", "noise"]
    for arm in ("baseline", "jitter", "noise"):
        right = np.mean([row[arm] == row["label"] for row in rows])
        assert right == arms_run.metrics[f"{arm}.accuracy_mean"]


def test_the_report_needs_no_other_file(arms_run) -> None:
    page = (arms_run.path / "report.html").read_text()
    assert page.count("<img") == page.count('src="data:') == 7
    for text in ("Wilson", "(1-NN)", "(largest class)", "candidates rejected", "jitter"):
        assert text in page


def test_the_output_ends_with_the_arms_and_the_places(command, small, arms_run) -> None:
    outcome = command(*small, "--run-dir", arms_run.path)
    assert outcome.out.startswith(f"finished already: {arms_run.path}")
    assert outcome.out.endswith(f"report:      {arms_run.path / 'report.html'}\n")


# LSTSAUG's flags ----------------------------------------------------------------------------


def test_without_arms_the_model_is_trained_and_that_is_all(command, run_at, training) -> None:
    run = run_at("run")
    outcome = command(*training, "--run-dir", run.path)
    assert outcome.code == 0, outcome.err
    assert files_of(run.path) == COMMON
    assert list(run.metrics) == [*FACTS, "test_score_median", "fit_seconds", "seconds"]
    assert "vae trained on 12 rows" in outcome.out


def test_the_trained_model_is_taken_and_not_trained_again(
    command, tmp_path, monkeypatch, training
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(*training, "--model_dir", "models").code == 0
    trained = (
        tmp_path / "runs" / "shapes-vae-seed42" / "model" / "model.safetensors"
    ).read_bytes()
    copy = tmp_path / "models" / "shapes-vae-seed42"
    assert (copy / "model.safetensors").read_bytes() == trained
    switches = ("--use_trained", "--baseline", "--test_augment", "--num-samples", "2")
    shutil.rmtree(tmp_path / "runs")
    outcome = command(*training, *switches, "--model-dir", "models", "--results_dir", "results")
    assert outcome.code == 0, outcome.err
    run = tmp_path / "runs" / "shapes-vae-nearest-seed42"
    assert (run / "model" / "model.safetensors").read_bytes() == trained
    assert not (run / "history.csv").exists()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["noise.synthetic_rows"] == 24
    assert "baseline.accuracy_mean" in metrics
    results = tmp_path / "results" / run.name
    assert (results / "metrics.json").read_text() == (run / "metrics.json").read_text()
    assert (results / "predictions.csv").exists()
    assert (results / "plots" / "accuracy.png").exists()


@pytest.mark.usefixtures("without_report")
def test_a_run_folder_gives_its_own_model_to_the_run_that_replaces_it(
    command, run_at, training
) -> None:
    run = run_at("run")
    assert command(*training, "--run-dir", run.path).code == 0
    switches = ("--use-trained", "--baseline", "--run-dir", run.path)
    refused = command(*training, *switches)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert command(*training, *switches, "--overwrite").code == 0
    assert "baseline.accuracy_mean" in run.metrics


def test_a_plot_is_drawn_on_request(command, run_at, training) -> None:
    run = run_at("run")
    assert command(*training, "--augment_plot", "--run-dir", run.path).code == 0
    assert {path.name for path in (run.path / "plots").iterdir()} == {
        *("training.png", "synthetic_noise.png", "latent_noise.png", "density.png")
    }
    assert run.metrics["noise.synthetic_rows"] == 12


@pytest.mark.usefixtures("without_report")
def test_shapes_stand_in_and_the_run_says_so(command, run_at, tiny) -> None:
    run = run_at("run")
    outcome = command(*tiny, "--set", "fit.epochs=1", "--run-dir", run.path)
    assert outcome.code == 0, outcome.err
    assert (run.metrics["dataset"], run.metrics["dataset_requested"]) == ("shapes", "Symbols")
    assert outcome.out.startswith("shapes stood in for Symbols\n")
    loud = [word for word in tiny if word != "--quiet"]
    outcome = command(*loud, "--set", "fit.epochs=1", "--run-dir", run_at("loud").path)
    assert "Symbols is not here; shapes is used in its place" in outcome.out


@pytest.mark.usefixtures("without_report")
def test_a_set_of_ones_own_is_read(command, run_at, tiny, write_set) -> None:
    run, folder = run_at("run"), write_set()
    args = ("--dataset", "Mine", "--data_dir", folder, "--baseline", "--run-dir", run.path)
    assert command(*tiny, *args).code == 0
    assert (run.metrics["dataset"], run.metrics["classes"]) == ("Mine", ["1", "2"])
    args = ("--data-path", folder, "--baseline", "--run-dir", run_at("other").path)
    assert command(*tiny, *args).code == 0


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("suffix", [".npz", ".tsv", ".ts"])
def test_the_augmented_set_is_written(command, run_at, tmp_path, training, suffix) -> None:
    file = tmp_path / f"shapes_TRAIN{suffix}"
    args = (*training, "--num_samples", "2", "--run-dir", run_at("run").path)
    outcome = command(*args, "--export", file)
    assert f"augmented: 12 real and 24 synthetic rows in {file}" in outcome.out
    windows = read_windows(file)
    assert windows.x.shape == (36, 16, 1)
    np.testing.assert_allclose(windows.x[:12].mean(1), 0, atol=1e-12)
    assert windows.labels[:12] == windows.labels[12:24] == windows.labels[24:]
    again = command(*args, "--export", tmp_path / f"again{suffix}")
    assert again.out.startswith("finished already")
    np.testing.assert_array_equal(read_windows(tmp_path / f"again{suffix}").x, windows.x)


@pytest.mark.usefixtures("without_report")
def test_folds_of_training_rows_give_what_to_choose_by(command, run_at, small) -> None:
    run = run_at("run")
    args = (*small, "--set", "evaluation.folds=3", "--run-dir", run.path)
    assert command(*args).code == 0
    for arm in ("baseline", "jitter", "noise"):
        assert 0 <= run.metrics[f"{arm}.val_accuracy_mean"] <= 1


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("classifier", ["resnet", "fcn", "minirocket"])
def test_every_classifier_can_be_trained(command, run_at, training, classifier) -> None:
    run = run_at("run")
    args = (*training, "--set", f"classifier.name={classifier}", "--set", "classifier.steps=2")
    switches = ("--baseline", "--test-augment", "--run-dir", run.path)
    outcome = command(*args, *switches)
    assert outcome.code == 0, outcome.err
    steps = [run.metrics[f"{arm}.optimiser_steps"] for arm in ("baseline", "noise")]
    assert steps == [0 if classifier == "minirocket" else 2] * 2


@pytest.mark.usefixtures("without_report")
def test_seeds_make_a_run_each_and_a_mean_of_all(command, tmp_path, small) -> None:
    outcome = command(*small, "--seeds", "1", "2", "--run-dir", tmp_path)
    assert outcome.code == 0, outcome.err
    means = [
        json.loads((tmp_path / f"seed{seed}" / "metrics.json").read_text())["noise.accuracy_mean"]
        for seed in (1, 2)
    ]
    (line,) = [line for line in outcome.out.splitlines()[-3:] if line.startswith("noise")]
    assert float(line.split()[1]) == pytest.approx(np.mean(means), abs=5e-4)


def test_wandb_is_asked_for_before_anything_else(command, monkeypatch, run_at, training) -> None:
    def absent() -> None:
        raise ConfigError("no wandb")

    monkeypatch.setattr(augment, "import_wandb", absent)
    outcome = command(*training, "--wandb", "--run-dir", run_at("run").path)
    assert (outcome.code, outcome.err) == (2, "no wandb\n")
    assert not run_at("run").path.exists()


# Configuration and resume -------------------------------------------------------------------


def test_a_dry_run_prints_the_configuration_and_leaves_nothing(command, tmp_path, small) -> None:
    outcome = command(*small, "--dry-run", "--run-dir", tmp_path / "run")
    config = parse_yaml(outcome.out, "output")
    assert (outcome.code, outcome.err) == (0, "")
    assert config["data"]["time_steps"] == 16
    assert list(config["arms"]) == ["baseline", "jitter", "noise"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_warns_of_absent_data(command) -> None:
    outcome = command("--dataset", "Coffee", "--data-dir", "/nowhere", "--dry-run")
    assert (outcome.code, outcome.err) == (0, "warning: /nowhere: no such file or folder\n")
    outcome = command("--dataset", "Coffee", "--dry-run")
    text = "warning: Coffee is not here; shapes is used in its place\n"
    assert (outcome.code, outcome.err) == (0, text)


@pytest.mark.usefixtures("without_report")
def test_the_configuration_of_a_run_makes_the_same_run(arms_run, command, run_at) -> None:
    again = run_at("again")
    config = arms_run.path / "config.yaml"
    assert command("--config", config, "--run-dir", again.path, "--quiet").code == 0
    again.assert_equals(arms_run)


KILLED = """
import os, signal, sys
from gormpo_density import augment, fitting
from gormpo_density.augmenting import run

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

place = sys.argv.pop(1)
if place == "training":
    save = fitting.Trainer._save
    fitting.Trainer._save = lambda t, path: die() if t.epoch == 2 else save(t, path)
else:
    measure = run.measure_arm
    seen = []
    run.measure_arm = lambda *a, **k: die() if seen else (seen.append(1), measure(*a, **k))[1]
augment.main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("place", ["training", "arms"])
def test_a_killed_run_is_resumed_to_the_same_result(
    arms_run, command, run_at, small, place
) -> None:
    run = run_at("run")
    args = [*small, "--run-dir", str(run.path)]
    killed = subprocess.run([sys.executable, "-c", KILLED, place, *args], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (run.path / "checkpoints" / "arm-baseline.json").exists() == (place == "arms")
    assert command(*args).err.endswith("--overwrite starts again\n")
    assert command(*args, "--resume").code == 0
    run.assert_equals(arms_run)


@pytest.mark.usefixtures("without_report")
def test_another_configuration_is_refused_unless_it_may_overwrite(
    arms_run, command, run_at, small
) -> None:
    run = run_at("run")
    shutil.copytree(arms_run.path, run.path)
    args = (*small, "--run-dir", run.path, "--noise", "0.5")
    refused = command(*args)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "augment.noise: 0.1 there, 0.5 now" in refused.err
    assert command(*args, "--overwrite").code == 0
    assert not (run.path / "plots").exists()

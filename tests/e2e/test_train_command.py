"""`python -m gormpo_density.train`: what a run leaves, and how it is repeated and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import OODPenalty, RealNVP, density_run, load_model, registry
from gormpo_density.config_files import parse_yaml
from gormpo_density.data import minari
from gormpo_density.persistence import load_tensors

FILES = {
    *("config.yaml", "history.csv", "metrics.json", "report.html", "versions.json"),
    *("checkpoints/fit.safetensors", "model/config.json", "model/model.safetensors"),
    *(f"plots/{name}.png" for name in ("calibration", "latent", "ood_levels", "pr")),
    *(f"plots/{name}.png" for name in ("reconstructions", "roc", "scores", "training")),
}

#: Keys of metrics.json: other programs read them, so a change here is a change of interface.
KEYS = [
    *("dataset", "dataset_requested", "model", "score_kind", "seed", "parameters"),
    *("train_rows", "train_episodes", "val_rows", "val_episodes"),
    *("cal_rows", "cal_episodes", "test_rows", "test_episodes"),
    *("train_nll", "val_nll", "test_nll"),
    *("threshold", "false_alarm_rate", "false_alarm_ci_low", "false_alarm_ci_high"),
    *("ood.obs1.roc_auc", "ood.obs1.pr_auc", "ood.obs1.fpr95"),
    *("ood.perm.roc_auc", "ood.perm.pr_auc", "ood.perm.fpr95"),
    "seconds",
]


def metrics(run: Path) -> dict[str, object]:
    return json.loads((run / "metrics.json").read_text())


def results(run: Path) -> dict[str, object]:
    """Return all of metrics.json that the seed decides."""
    return {key: value for key, value in metrics(run).items() if key != "seconds"}


def history(run: Path) -> list[str]:
    return (run / "history.csv").read_text().splitlines()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(run / "model" / "model.safetensors")[0]


def assert_same_run(run: Path, other: Path) -> None:
    assert results(run) == results(other)
    assert history(run) == history(other)
    assert weights(run).keys() == weights(other).keys()
    for name, value in weights(run).items():
        assert torch.equal(value, weights(other)[name]), name


@pytest.fixture
def without_report(monkeypatch):
    """Save the time that figures take, where they are beside the point."""
    monkeypatch.setattr(density_run, "write_density_report", lambda *_: None)


# What a run leaves --------------------------------------------------------------------------


def test_a_run_leaves_everything(finished_run) -> None:
    found = {
        path.relative_to(finished_run).as_posix()
        for path in finished_run.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert found == FILES


def test_the_keys_of_the_metrics_are_stable(finished_run) -> None:
    assert list(metrics(finished_run)) == KEYS
    assert all(value is not None for value in metrics(finished_run).values())


def test_the_history_has_a_line_an_epoch(finished_run) -> None:
    header, *lines = history(finished_run)
    assert header == "epoch,train_loss,val_loss,test_loss"
    assert [line.split(",")[0] for line in lines] == ["1", "2"]


def test_the_report_needs_no_other_file(finished_run) -> None:
    page = (finished_run / "report.html").read_text()
    assert "False alarms" in page
    assert page.count("<img") == page.count('src="data:') == 8


def test_the_model_of_a_run_gives_a_penalty(finished_run) -> None:
    penalty = OODPenalty(load_model(finished_run))
    assert penalty(np.full((2, 5), 1e20)).tolist() == [10, 10]


@pytest.mark.usefixtures("without_report")
def test_the_configuration_of_a_run_makes_the_same_run(finished_run, train, tmp_path) -> None:
    again = tmp_path / "again"
    assert train("--config", finished_run / "config.yaml", "--run-dir", again, "--quiet").code == 0
    assert_same_run(again, finished_run)


def test_the_last_lines_say_where_everything_is(small, train, tmp_path) -> None:
    outcome = train(*small, "--run-dir", tmp_path / "run", "--set", "ood=[]")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-2:] == [
        f"model:  {tmp_path / 'run' / 'model'}",
        f"report: {tmp_path / 'run' / 'report.html'}",
    ]


def test_a_yaml_file_and_a_process_of_its_own_do_the_same(
    finished_run, transitions, tmp_path
) -> None:
    (tmp_path / "own.yaml").write_text(
        f"data_path: {transitions}\n"
        "hidden_dims: [8]\nnum_layers: 2\nepochs: 2\ndevice: cpu\n"  # GORMPO's flat keys
        "ood: [obs1, perm]\n"
    )
    command = [sys.executable, "-m", "gormpo_density.train", "--config", "own.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = Path("runs/custom-realnvp-seed0")
    assert done.stdout.splitlines()[-1] == f"report: {run / 'report.html'}"
    assert "2/2" in done.stderr  # the progress bar
    assert_same_run(tmp_path / run, finished_run)


# Finished, other, and killed runs -----------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_a_finished_run_says_where_it_is(finished_run, small, train, flags) -> None:
    before = (finished_run / "metrics.json").stat().st_mtime_ns
    outcome = train(*small, "--run-dir", finished_run, *flags)
    assert outcome.code == 0
    assert outcome.out.startswith(f"finished already: {finished_run}")
    assert outcome.out.endswith(f"report: {finished_run / 'report.html'}\n")
    assert (finished_run / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.usefixtures("without_report")
def test_another_configuration_needs_overwrite(finished_run, small, train, tmp_path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    outcome = train(*small, "--run-dir", run, "--epochs", "1")
    assert outcome.code == 2
    assert "(fit.epochs: 2 there, 1 now); --overwrite replaces it" in outcome.err
    assert results(run) == results(finished_run)
    assert train(*small, "--run-dir", run, "--epochs", "1", "--overwrite").code == 0
    assert len(history(run)) == 1 + 1


def test_a_folder_of_something_else_is_left_alone(small, train, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    outcome = train(*small, "--run-dir", tmp_path, "--overwrite")
    assert outcome.code == 2
    assert "has files in it and is not a run folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


KILLED = """
import os, signal, sys
from gormpo_density import fitting, train
save = fitting.Trainer._save

def save_or_die(trainer, path):
    if trainer.epoch == {epoch}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(trainer, path)

fitting.Trainer._save = save_or_die
train.main(sys.argv[1:])
"""


@pytest.mark.usefixtures("without_report")
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_before_a_checkpoint_is_resumed_to_the_same_result(
    small, train, finished_run, tmp_path, epoch
) -> None:
    run = tmp_path / "run"
    args = [*small, "--run-dir", str(run)]
    program = KILLED.format(epoch=epoch)
    killed = subprocess.run([sys.executable, "-c", program, *args], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(history(run)) == 1 + epoch
    assert (run / "checkpoints" / "fit.safetensors").exists() == (epoch == 2)

    refused = train(*args)
    assert refused.code == 2
    assert refused.err.endswith("--resume goes on with it, --overwrite starts again\n")
    assert train(*args, "--resume").code == 0
    assert_same_run(run, finished_run)


@pytest.mark.usefixtures("without_report")
def test_resume_of_nothing_starts(finished_run, small, train, tmp_path) -> None:
    assert train(*small, "--run-dir", tmp_path / "run", "--resume").code == 0
    assert_same_run(tmp_path / "run", finished_run)


# Models and seeds ---------------------------------------------------------------------------

TINY = {
    "vae": ("--latent_dim", 2, "--hidden_dims", "[8]"),
    "kde": ("--set", "model.max_rows=200"),
    "gmm": (),
    "knn": (),
    "ensemble": ("--set", "model.k=2", "--set", "model.model={name: vae, hidden_dims: [8]}"),
}


@pytest.mark.parametrize(
    ("model", "score"),
    [
        *(("vae", "nll_bound"), ("kde", "nll"), ("gmm", "nll"), ("knn", "score")),
        ("ensemble", "nll_bound"),
    ],
)
def test_every_model_runs(transitions, train, tmp_path, model, score) -> None:
    run = tmp_path / "run"
    outcome = train(
        *("--data_path", transitions, "--model", model, *TINY[model], "--epochs", 1, "--quiet"),
        *("--set", "ood=[obs1]", "--run-dir", run),
    )
    assert outcome.code == 0, outcome.err
    assert {f"train_{score}", f"val_{score}", f"test_{score}"} <= metrics(run).keys()
    assert metrics(run)["ood.obs1.roc_auc"] > 0.5
    assert load_model(run).threshold == metrics(run)["threshold"]


@pytest.mark.usefixtures("without_report")
def test_every_seed_makes_a_run(small, train, tmp_path) -> None:
    args = [*small, "--set", "ood=[]", "--epochs", 1]
    assert train(*args, "--run-dir", tmp_path, "--seeds", 1, 2).code == 0
    assert train(*args, "--run-dir", tmp_path / "one", "--seed", 1).code == 0
    assert results(tmp_path / "seed1") == results(tmp_path / "one")
    assert results(tmp_path / "seed1") != results(tmp_path / "seed2")


PLUGIN = """
import torch
from gormpo_density import DensityModel

class Diagonal(DensityModel):
    def __init__(self, input_dim: int, power: float = 2.0, device: str = "cpu") -> None:
        super().__init__(input_dim)
        self.power = power
        self.log_width = torch.nn.Parameter(torch.zeros(input_dim))
        self.to(device)

    def _log_prob(self, z):
        width = self.log_width.exp()
        return -((z / width).abs() ** self.power + self.log_width).sum(1)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> str:
    (tmp_path / "own_models.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return "own_models:Diagonal"


def test_a_model_of_ones_own_is_trained_and_evaluated(
    transitions, train, evaluate, tmp_path, plugin
) -> None:
    run = tmp_path / "run"
    args = ["--data_path", transitions, "--model", plugin, "--set", "ood=[obs1]", "--quiet"]
    outcome = train(*args, "--set", "model.powr=3", "--run-dir", run)
    assert outcome.code == 2
    assert outcome.err == "command line: model.powr is unknown, did you mean 'power'?\n"
    assert train(*args, "--set", "model.power=3", "--epochs", 1, "--run-dir", run).code == 0
    assert metrics(run)["model"] == plugin
    assert load_model(run).power == 3
    assert evaluate(run, "--quiet").code == 0


# Data ---------------------------------------------------------------------------------------


def test_the_ancestors_flags_are_understood(train, transitions, tmp_path) -> None:
    outcome = train(
        *("--task", "custom", "--data_path", transitions, "--obs_dim", 3, "--action_dim", 2),
        *("--latent_dim", 2, "--epochs", 1, "--device", "cpu", "--quiet", "--dry-run"),
    )
    assert outcome.code == 0
    config = parse_yaml(outcome.out, "stdout")
    assert (config["model"]["name"], config["model"]["latent_dim"]) == ("vae", 2)


def test_dimensions_that_contradict_the_data_are_refused(small, train, tmp_path) -> None:
    outcome = train(*small, "--obs_dim", 11, "--action_dim", 3, "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "data.obs_dim is 11, but tiny.npz has 3",
        "data.action_dim is 3, but tiny.npz has 2",
    ]


def test_copies_are_put_where_gormpo_wants_them(small, train, tmp_path) -> None:
    places = [
        "--model_save_path",
        tmp_path / "saved/flow",
        "--fig_save_path",
        tmp_path / "figures",
    ]
    run = tmp_path / "run"
    assert train(*small, *places, "--set", "ood=[]", "--run-dir", run).code == 0
    pair = RealNVP.load_model(tmp_path / "saved/flow", hidden_dims=[8])
    assert pair["thr"] == metrics(run)["threshold"]
    figures = [sorted(path.name for path in f.iterdir()) for f in (run / "plots", places[3])]
    assert figures[0] == figures[1]


def test_another_file_is_an_ood_set(small, train, written, tmp_path) -> None:
    far = written("far.npz", obs=np.full((20, 3), 9.0), action=np.ones((20, 2)), n_episodes=2)
    run = tmp_path / "run"
    assert train(*small, "--set", f"ood=[{far}, obs2]", "--run-dir", run).code == 0
    assert metrics(run)[f"ood.{far}.roc_auc"] == 1


@pytest.mark.usefixtures("without_report")
def test_sparse_data_is_told_from_what_was_left_out(written, small, train, tmp_path) -> None:
    gentle = np.zeros((600, 2))
    gentle[5::10] += 0.01  # one row an episode is in the box of gentle, well rewarded actions
    reward = np.where(np.arange(600) % 10 == 5, 1.0, np.linspace(-1, 0, 600))
    action = np.where(gentle > 0, gentle, 0.5 + np.random.default_rng(0).random((600, 2)))
    path, run = written("own.npz", action=action, reward=reward), tmp_path / "run"
    args = ["--data_path", path, "--set", "data.sparse=true", "--set", "ood=[sparse]"]
    assert train(*small, *args, "--run-dir", run).code == 0
    assert metrics(run)["dataset"].startswith("own.npz-sparse")
    assert 0 <= metrics(run)["ood.sparse.roc_auc"] <= 1


def test_plain_rows_are_enough(small, train, tmp_path) -> None:
    table = np.random.default_rng(0).normal(size=(100, 3))
    np.savetxt(tmp_path / "rows.csv", table, delimiter=",", header="a,b,c", comments="")
    run = tmp_path / "run"
    args = ["--data_path", tmp_path / "rows.csv", "--set", "ood=null", "--run-dir", run]
    assert train(*small, *args).code == 0
    assert metrics(run)["train_rows"] == metrics(run)["train_episodes"] == 70
    assert "ood.shift0.5.roc_auc" in metrics(run)


def test_a_task_of_d4rl_is_substituted_and_says_so(train, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setitem(minari._PARTS, "medium", {"medium": 600})
    run = tmp_path / "run"
    args = ["--task", "hopper-medium-v2", "--latent_dim", 2, "--epochs", 1, "--quiet"]
    assert train(*args, "--set", "ood=[]", "--run-dir", run).code == 0
    assert metrics(run)["dataset_requested"] == "hopper-medium-v2"
    assert metrics(run)["dataset"] == "gormpo/hopper/medium-v0"
    assert "hopper-medium-v2 is not on this machine; using the embedded" in caplog.text
    note = "hopper-medium-v2 is not on this machine: gormpo/hopper/medium-v0 was used in its place"
    assert note in (run / "report.html").read_text()


def test_a_dry_run_trains_nothing(small, train, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = train(*small, "--dry-run")
    assert outcome.code == 0
    assert parse_yaml(outcome.out, "stdout")["fit"]["epochs"] == 2
    assert list(tmp_path.iterdir()) == []

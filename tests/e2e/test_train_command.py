"""`python -m gormpo_density.train`: what a run leaves, from every model and kind of data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gormpo_density import OODPenalty, RealNVP, load_model, registry
from gormpo_density.config_files import parse_yaml
from gormpo_density.data import minari

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


# What a run leaves --------------------------------------------------------------------------


def test_a_run_leaves_everything(finished_run) -> None:
    files = [path for path in finished_run.path.rglob("*") if path.is_file()]
    names = {path.relative_to(finished_run.path).as_posix() for path in files}
    assert {name for name in names if not name.startswith(".")} == FILES


def test_the_keys_of_the_metrics_are_stable(finished_run) -> None:
    assert list(finished_run.metrics) == KEYS
    assert None not in finished_run.metrics.values()


def test_the_history_has_a_line_an_epoch(finished_run) -> None:
    header, *lines = finished_run.history
    assert header == "epoch,train_loss,val_loss,test_loss"
    assert [line.split(",")[0] for line in lines] == ["1", "2"]


def test_the_report_needs_no_other_file(finished_run) -> None:
    page = (finished_run.path / "report.html").read_text()
    assert "False alarms" in page
    assert page.count("<img") == page.count('src="data:') == 8


def test_the_model_of_a_run_gives_a_penalty(finished_run) -> None:
    penalty = OODPenalty(load_model(finished_run.path))
    assert penalty(np.full((2, 5), 1e20)).tolist() == [10, 10]


@pytest.mark.usefixtures("without_report")
def test_the_configuration_of_a_run_makes_the_same_run(finished_run, train, run_at) -> None:
    config, again = finished_run.path / "config.yaml", run_at("again")
    assert train("--config", config, "--run-dir", again.path, "--quiet").code == 0
    again.assert_equals(finished_run)


def test_the_last_lines_say_where_everything_is(small, train, run_at) -> None:
    path = run_at("run").path
    outcome = train(*small, "--run-dir", path, "--set", "ood=[]")
    assert outcome.code == 0
    last_lines = [f"model:  {path / 'model'}", f"report: {path / 'report.html'}"]
    assert outcome.out.splitlines()[-2:] == last_lines


def test_a_yaml_file_and_a_process_of_its_own_do_the_same(
    finished_run, transitions, tmp_path, run_at
) -> None:
    (tmp_path / "own.yaml").write_text(
        f"data_path: {transitions}\n"
        "hidden_dims: [8]\nnum_layers: 2\nepochs: 2\ndevice: cpu\n"  # GORMPO's flat keys
        "ood: [obs1, perm]\n"
    )
    command = [sys.executable, "-m", "gormpo_density.train", "--config", "own.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = Path("runs/custom-realnvp-seed0")
    assert done.stdout.splitlines()[-1] == f"report: {path / 'report.html'}"
    assert "2/2" in done.stderr  # the progress bar
    run_at(path).assert_equals(finished_run)


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
def test_every_model_runs(transitions, train, run_at, model, score) -> None:
    run = run_at("run")
    outcome = train(
        *("--data_path", transitions, "--model", model, *TINY[model], "--epochs", 1, "--quiet"),
        *("--set", "ood=[obs1]", "--run-dir", run.path),
    )
    assert outcome.code == 0, outcome.err
    assert {f"train_{score}", f"val_{score}", f"test_{score}"} <= run.metrics.keys()
    assert run.metrics["ood.obs1.roc_auc"] > 0.5
    assert load_model(run.path).threshold == run.metrics["threshold"]


@pytest.mark.usefixtures("without_report")
def test_every_seed_makes_a_run(small, train, run_at) -> None:
    args = [*small, "--set", "ood=[]", "--epochs", 1]
    assert train(*args, "--run-dir", run_at("both").path, "--seeds", 1, 2).code == 0
    assert train(*args, "--run-dir", run_at("one").path, "--seed", 1).code == 0
    run_at("both/seed1").assert_equals(run_at("one"))
    assert run_at("both/seed2").results != run_at("one").results


PLUGIN = """
import torch
from gormpo_density import DensityModel

class Diagonal(DensityModel):
    def __init__(self, input_dim: int, power: float = 2.0) -> None:
        super().__init__(input_dim)
        self.power = power
        self.log_width = torch.nn.Parameter(torch.zeros(input_dim))

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
    transitions, train, evaluate, run_at, plugin
) -> None:
    run = run_at("run")
    args = ["--data_path", transitions, "--model", plugin, "--set", "ood=[obs1]", "--quiet"]
    outcome = train(*args, "--set", "model.powr=3", "--run-dir", run.path)
    assert outcome.code == 2
    assert outcome.err == "command line: model.powr is unknown, did you mean 'power'?\n"
    assert train(*args, "--set", "model.power=3", "--epochs", 1, "--run-dir", run.path).code == 0
    assert run.metrics["model"] == plugin
    assert load_model(run.path).power == 3
    assert evaluate(run.path, "--quiet").code == 0


# Data ---------------------------------------------------------------------------------------


def test_the_ancestors_flags_are_understood(train, transitions) -> None:
    outcome = train(
        *("--task", "custom", "--data_path", transitions, "--obs_dim", 3, "--action_dim", 2),
        *("--latent_dim", 2, "--epochs", 1, "--device", "cpu", "--quiet", "--dry-run"),
    )
    assert outcome.code == 0
    config = parse_yaml(outcome.out, "stdout")
    assert (config["model"]["name"], config["model"]["latent_dim"]) == ("vae", 2)


def test_dimensions_that_contradict_the_data_are_refused(small, train, run_at) -> None:
    outcome = train(*small, "--obs_dim", 11, "--action_dim", 3, "--run-dir", run_at("run").path)
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "data.obs_dim is 11, but tiny.npz has 3",
        "data.action_dim is 3, but tiny.npz has 2",
    ]


def test_copies_are_put_where_gormpo_wants_them(small, train, run_at, tmp_path) -> None:
    run, prefix, figures = run_at("run"), tmp_path / "saved" / "flow", tmp_path / "figures"
    places = ["--model_save_path", prefix, "--fig_save_path", figures]
    assert train(*small, *places, "--set", "ood=[]", "--run-dir", run.path).code == 0
    pair = RealNVP.load_model(prefix, hidden_dims=[8])
    assert pair["thr"] == run.metrics["threshold"]
    originals, copies = (sorted(map(str, f.glob("*"))) for f in (run.path / "plots", figures))
    assert [Path(file).name for file in copies] == [Path(file).name for file in originals]


def test_another_file_is_an_ood_set(small, train, written, run_at) -> None:
    far = written("far.npz", obs=np.full((20, 3), 9.0), action=np.ones((20, 2)), n_episodes=2)
    run = run_at("run")
    assert train(*small, "--set", f"ood=[{far}, obs2]", "--run-dir", run.path).code == 0
    assert run.metrics[f"ood.{far}.roc_auc"] == 1


@pytest.mark.usefixtures("without_report")
def test_sparse_data_is_told_from_what_was_left_out(written, small, train, run_at) -> None:
    action = 0.5 + np.random.default_rng(0).random((600, 2))
    reward = np.linspace(-1, 0, 600)
    action[5:300:10], reward[5:300:10] = 0.01, 1.0  # a gentle, well rewarded row an episode
    path, run = written("own.npz", action=action, reward=reward), run_at("run")
    args = ["--data_path", path, "--set", "data.sparse=true", "--set", "ood=[sparse]"]
    assert train(*small, *args, "--run-dir", run.path).code == 0
    assert run.metrics["dataset"] == "own.npz-sparse75"
    assert 0 <= run.metrics["ood.sparse.roc_auc"] <= 1


def test_plain_rows_are_enough(small, train, run_at, tmp_path) -> None:
    table = np.random.default_rng(0).normal(size=(100, 3))
    np.savetxt(tmp_path / "rows.csv", table, delimiter=",", header="a,b,c", comments="")
    run = run_at("run")
    args = ["--data_path", tmp_path / "rows.csv", "--set", "ood=null", "--run-dir", run.path]
    assert train(*small, *args).code == 0
    assert run.metrics["train_rows"] == run.metrics["train_episodes"] == 70
    assert "ood.shift0.5.roc_auc" in run.metrics


def test_a_task_of_d4rl_is_substituted_and_says_so(train, run_at, monkeypatch, caplog) -> None:
    monkeypatch.setitem(minari._PARTS, "medium", {"medium": 600})
    run = run_at("run")
    args = ["--task", "hopper-medium-v2", "--latent_dim", 2, "--epochs", 1, "--quiet"]
    assert train(*args, "--set", "ood=[]", "--run-dir", run.path).code == 0
    assert run.metrics["dataset_requested"] == "hopper-medium-v2"
    assert run.metrics["dataset"] == "gormpo/hopper/medium-v0"
    assert "hopper-medium-v2 is not on this machine; using the embedded" in caplog.text
    note = "hopper-medium-v2 is not on this machine: gormpo/hopper/medium-v0 was used in its place"
    assert note in (run.path / "report.html").read_text()


def test_a_dry_run_trains_nothing(small, train, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = train(*small, "--dry-run")
    assert outcome.code == 0
    assert parse_yaml(outcome.out, "stdout")["fit"]["epochs"] == 2
    assert list(tmp_path.iterdir()) == []

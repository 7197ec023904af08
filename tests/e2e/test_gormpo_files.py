"""Files with the keys of GORMPO's run as they are; --dry-run shows what each resolves to."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gormpo_density import train as density_command
from gormpo_density.config_files import parse_yaml
from rl import train as policy_command

SHARED = "device: cuda:0\nseed: 42\n"

#: Density files, what of them is resolved, and the keys that are told to have no effect.
DENSITY_FILES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "vae": (
        "task: hopper-medium-v2\nuse_rl_data: true\ndata_path: /absent/sparse.pkl\n"
        "obs_dim: [11]\naction_dim: 3\ninput_dim: 14\nlatent_dim: 8\nhidden_dims: [256, 128]\n"
        "epochs: 100\nbatch_size: 256\nlr: 0.001\nbeta: 1.0\npatience: 15\nval_ratio: 0.2\n"
        "test_ratio: 0.2\nverbose: true\nanomaly_fraction: 0.01\nfig_save_path: figures/vae\n"
        "model_save_path: models/hopper/vae\n",
        {
            "model.name": "vae",
            "model.latent_dim": 8,
            "data.obs_dim": 11,
            "data.input_dim": 14,
            "export.model_prefix": "models/hopper/vae",
            "calibration.alpha": 0.01,
        },
        {"verbose"},
    ),
    "realnvp": (
        "task: halfcheetah-medium-v2\nuse_rl_data: true\nn_samples: 2000\ninput_dim: 2\n"
        "anomaly_type: outlier\ndata_path: /absent/halfcheetah.pkl\nobs_dim: 17\naction_dim: 6\n"
        "train_ratio: 0.6\nval_ratio: 0.2\ntest_ratio: 0.2\nnum_layers: 6\n"
        "hidden_dims: [256, 256]\nepochs: 60\nbatch_size: 128\nlr: 0.001\npatience: 15\n"
        "anomaly_fraction: 0.05\nplot_results: false\nsave_model: True\nlog_freq: 10\n",
        {
            "model.name": "realnvp",
            "model.num_layers": 6,
            "data.input_dim": None,
            "data.val_ratio": 0.2,
            "fit.patience": 15,
        },
        {"anomaly_type", "input_dim", "log_freq", "n_samples", "plot_results", "save_model"}
        | {"train_ratio"},
    ),
    "kde": (
        'task: hopper-medium-v2\nenv: ""\nbandwidth: 1.0\nk_neighbors: 100\npercentile: 5.0\n'
        "test_size: 0.2\nval_size: 0.2\ntemporal_split: false\noptimize_percentile: false\n"
        "optimization_metric: density_range\npca: false\nplot: true\ndevid: 0\n"
        "model_save_path: models/hopper/kde\n",
        {
            "model.name": "kde",
            "model.bandwidth": 1.0,
            "calibration.alpha": 0.05,
            "data.test_ratio": 0.2,
        },
        {"devid", "env", "k_neighbors", "optimization_metric", "optimize_percentile", "pca"}
        | {"plot", "temporal_split"},
    ),
    "neuralODE": (
        "npz: /absent/hopper.pkl\nout: models/hopper/neural_ode\nepochs: 200\nbatch: 512\n"
        "lr: 0.001\nwd: 0.0\nhidden_dims: [512, 512]\nactivation: silu\ntime_dependent: true\n"
        "solver: dopri5\nt0: 0.0\nt1: 1.0\nrtol: 1.0e-5\natol: 1.0e-5\nlog_every: 100\n"
        "checkpoint_every: 50\n",
        {
            "model.name": "cnf",
            "model.hidden_dims": [512, 512],
            "model.activation": "silu",
            "model.t1": 1.0,
            "fit.weight_decay": 0.0,
            "fit.batch_size": 512,
            "data.data_path": "/absent/hopper.pkl",
        },
        {"atol", "checkpoint_every", "log_every", "out", "rtol", "solver"},
    ),
    "diffusion": (
        "npz: /absent/hopper.npz\nout: models/hopper/ddim\nepochs: 100\nbatch: 512\nlr: 0.0002\n"
        "wd: 0.0\ntimesteps: 1000\ncheckpoint_every_epochs: 20\nmodel: mlp\nhidden: 512\n"
        "time_emb: 128\nlayers: 3\ndropout: 0.0\nwandb: True\nlog_every: 100\nsamples_every: 1\n",
        {
            "model.name": "diffusion",
            "model.timesteps": 1000,
            "model.time_dim": 128,
            "model.hidden_dims": [512, 512, 512],
            "fit.lr": 0.0002,
        },
        {"checkpoint_every_epochs", "dropout", "log_every", "model", "out", "samples_every"}
        | {"wandb"},
    ),
}

POLICY_FILE = """
task: hopper-medium-expert-v2
algo-name: gormpo
reward-penalty-coef: 0.3
seed: 1
data_path: /absent/sparse.pkl
epoch: 1000
penalty_type: tanh
rollout-length: 3
rollourl-length: 5
dynamics-model-dir: true
dynamics-model-dir: true
classifier_model_name: /absent/models/realnvp
density_model: realnvp
target_dim: 14
hidden_dims: [512, 512]
solver: dopri5
rtol: 1.0e-5
"""

Told = tuple[int, dict[str, Any], list[str]]
Call = Callable[..., Told]


@pytest.fixture
def dry_run(tmp_path: Path, capsys, monkeypatch) -> Call:
    """A function of a command and a file: its code, the configuration it prints, its warnings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(main: Callable[..., int], text: str, *words: object) -> Told:
        Path("theirs.yaml").write_text(text)
        code = main(["--config", "theirs.yaml", "--dry-run", *map(str, words)])
        printed = capsys.readouterr()
        return code, parse_yaml(printed.out, "stdout"), printed.err.splitlines()

    return call


def at(config: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        config = config[key]
    return config


@pytest.mark.parametrize("kind", DENSITY_FILES)
def test_a_density_file_runs_as_it_is(kind: str, dry_run: Call, caplog) -> None:
    text, expected, idle = DENSITY_FILES[kind]
    code, config, warnings = dry_run(density_command.main, text + SHARED)
    assert code == 0
    assert {path: at(config, path) for path in expected} == expected
    note, *told = caplog.messages
    assert note.startswith("theirs.yaml: read as a file of GORMPO's. Numbers differ here: rows ")
    assert {line.split()[1] for line in told if "has no effect here" in line} == idle
    assert warnings[0].startswith("warning: device cuda:0 is not there")
    assert {path.name for path in Path().iterdir()} <= {"theirs.yaml", "minari"}


@pytest.mark.parametrize("kind", DENSITY_FILES)
def test_a_model_on_the_command_line_wins(kind: str, dry_run: Call) -> None:
    code, config, _ = dry_run(density_command.main, DENSITY_FILES[kind][0], "--model", "gmm")
    assert (code, config["model"]["name"]) == (0, "gmm")


def test_a_policy_file_runs_as_it_is(dry_run: Call, caplog) -> None:
    code, config, warnings = dry_run(policy_command.main, POLICY_FILE + SHARED.split("\n")[0])
    assert code == 0
    expected = {"penalty.coef": 0.3, "penalty.kind": "tanh", "rollout.length": 3}
    expected |= {"sac.epochs": 1000, "density": "/absent/models/realnvp", "dynamics.run": None}
    assert {path: at(config, path) for path in expected} == expected
    assert warnings == [
        "warning: device cuda:0 is not there (0 CUDA devices found); --device cpu works anywhere",
        "warning: /absent/models/realnvp is not there (--density RUN names another)",
        "warning: /absent/sparse.pkl is not there (--data_path FILE names another)",
    ]
    twice, note, *told = caplog.messages
    assert twice == "line 12: dynamics-model-dir is given twice, alike"
    assert "Numbers differ here: the penalty " in note
    assert (
        "theirs.yaml: rollourl-length has no effect here: it is unknown (did you mean "
        "rollout_length?)"
    ) in told
    assert {line.split()[1] for line in told} == {
        *("algo_name", "density_model", "dynamics_model_dir", "hidden_dims", "rollourl-length"),
        *("rtol", "solver", "target_dim"),
    }


@pytest.mark.parametrize(
    ("main", "text", "words", "line"),
    [
        (
            density_command.main,
            DENSITY_FILES["vae"][0],
            [],
            "/absent/sparse.pkl: no such file (--data_path FILE names another)",
        ),
        (
            density_command.main,
            DENSITY_FILES["vae"][0] + SHARED,
            [],
            "device cuda:0 is not there (0 CUDA devices found); --device cpu works anywhere",
        ),
        (
            density_command.main,
            DENSITY_FILES["vae"][0],
            ["--model_save_path", "theirs.yaml/vae"],
            "export.model_prefix: nothing can be written to theirs.yaml (--model-save-path PATH "
            "names another)",
        ),
        (
            policy_command.main,
            POLICY_FILE,
            [],
            "/absent/models/realnvp is not there (--density RUN names another)",
        ),
        (
            policy_command.main,
            POLICY_FILE.replace("1000", "100o"),
            [],
            'theirs.yaml (epoch): sac.epochs must be a valid integer, is "100o"',
        ),
        (
            density_command.main,
            "model_path: models/vae\ndataset_name: hopper\ndistances: [1, 2]\n",
            [],
            "theirs.yaml: a file of GORMPO's tests of OOD levels; here python -m "
            "gormpo_density.evaluate RUN --compare RUN ... --ood gormpo0.5 ... tests runs",
        ),
    ],
)
def test_what_stops_a_run_is_one_line(
    main, text, words, line, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("theirs.yaml").write_text(text)
    assert main(["--config", "theirs.yaml", "--run-dir", "run", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_the_command_line_mends_a_value(dry_run: Call) -> None:
    text = POLICY_FILE.replace("1000", "100o")
    code, config, _ = dry_run(policy_command.main, text, "--epoch", 100)
    assert (code, config["sac"]["epochs"]) == (0, 100)


def test_an_export_that_cannot_be_written_is_a_warning_of_a_dry_run(dry_run: Call) -> None:
    words = ("--fig-save-path", "theirs.yaml", "--device", "cpu")
    code, _, warnings = dry_run(density_command.main, DENSITY_FILES["vae"][0], *words)
    assert code == 0
    assert warnings[0] == (
        "warning: export.plots: nothing can be written to theirs.yaml (--fig-save-path PATH names "
        "another)"
    )


def test_a_pair_of_gormpos_is_there(dry_run: Call, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "vae_model.pth")
    (tmp_path / "vae_meta_data.pkl").write_bytes(pickle.dumps({}))
    text = POLICY_FILE.replace("/absent/models/realnvp", f"{tmp_path}/vae")
    _, config, warnings = dry_run(policy_command.main, text)
    assert config["density"] == f"{tmp_path}/vae"
    assert warnings == [
        "warning: /absent/sparse.pkl is not there (--data_path FILE names another)"
    ]


@pytest.mark.parametrize("text", ["epoch: 3\n", "model: {name: vae}\nlatent_dim: 8\nepoch: 3\n"])
def test_a_slip_in_a_file_of_our_own_stays_an_error(text: str, tmp_path, capsys) -> None:
    (tmp_path / "own.yaml").write_text(f"task: hopper-medium-v2\n{text}")
    assert density_command.main(["--config", f"{tmp_path}/own.yaml", "--dry-run"]) == 2
    assert "epoch is unknown, did you mean 'fit.epochs'?" in capsys.readouterr().err

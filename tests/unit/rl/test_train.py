from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError
from rl import train
from rl.train import main


@pytest.fixture
def runs(monkeypatch):
    """What `run_mopo` is called with, instead of running."""
    calls = []

    def record(config, path, **how):
        calls.append((config, path, how))
        return f"ran {path}"

    monkeypatch.setattr(train, "run_mopo", record)
    return calls


@pytest.fixture
def npz(tmp_path):
    rng = np.random.default_rng(0)
    rows = {"obs": 2, "action": 1, "next_obs": 2}
    arrays = {name: rng.normal(size=(40, width)) for name, width in rows.items()}
    episode = np.repeat(np.arange(10), 4)
    np.savez(tmp_path / "own.npz", **arrays, reward=np.ones(40), episode=episode)
    return str(tmp_path / "own.npz")


def test_a_run_goes_by_default_where_its_name_says(runs, npz, capsys) -> None:
    assert main(["--data_path", npz, "--device", "cpu"]) == 0
    ((config, path, how),) = runs
    assert config.data.data_path == Path(npz)
    assert path == Path("runs/custom-density-seed0")
    assert how == {
        "device": torch.device("cpu"),
        "stages": None,
        "resume": False,
        "overwrite": False,
        "progress": True,
        "wandb": False,
    }
    assert capsys.readouterr().out == f"ran {path}\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--penalty", "combination"], "hopper-combination-seed3"),
        (["--penalty", "none"], "hopper-none-seed3"),
        (["--algorithm", "td3bc"], "hopper-td3bc-seed3"),
    ],
)
def test_a_run_is_named_for_its_penalty_or_baseline(runs, words, name) -> None:
    assert main(["--config", "mopo/hopper.yaml", "--seed", "3", *words]) == 0
    assert runs[0][1] == Path("runs") / name


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_flags_reach_the_run(runs, flag, tmp_path) -> None:
    words = ["--quiet", "--stages", str(tmp_path), "--model", "vae", flag]
    assert main(["--config", "mopo/hopper", *words]) == 0
    ((config, _, how),) = runs
    assert config.model.name == "vae"
    assert (how["progress"], how["stages"]) == (False, tmp_path)
    assert how[flag.removeprefix("--")]


def test_trained_parts_may_be_named(runs, tmp_path) -> None:
    (tmp_path / "1e6").mkdir()
    parts = ["--density", str(tmp_path), "--dynamics", f"{tmp_path}/1e6"]
    assert main(["--config", "mopo/hopper", *parts]) == 0
    config = runs[0][0]
    assert (config.density, config.dynamics.run) == (tmp_path, tmp_path / "1e6")


def test_parts_that_are_not_there_are_told_before_any_training(runs, capsys) -> None:
    words = ["--density", "absent/flow", "--dynamics", "absent/nets"]
    assert main(["--config", "mopo/hopper", *words]) == 2
    assert runs == []
    assert capsys.readouterr().err.splitlines() == [
        "absent/flow is not there (--density RUN names another)",
        "absent/nets is not there (--dynamics RUN names another)",
    ]


def test_every_seed_gets_a_run_of_its_own(runs, tmp_path) -> None:
    assert main(["--task", "hopper-medium-v2", "--seeds", "1", "2"]) == 0
    assert main(["--task", "hopper-medium-v2", "--run-dir", str(tmp_path), "--seeds", "5"]) == 0
    assert [config.seed for config, *_ in runs] == [1, 2, 5]
    assert [path for _, path, _ in runs] == [
        Path("runs/hopper-medium-v2-density-seed1"),
        Path("runs/hopper-medium-v2-density-seed2"),
        tmp_path / "seed5",
    ]


def test_every_problem_is_one_line(runs, capsys) -> None:
    words = ["--reward-penalty-coef", "-1", "--penalty", "densty", "--epoch", "x", "--gama", "1"]
    assert main(["--task", "hopper-medium-v2", *words[:-2]]) == 2
    assert [line.partition(" must")[0] for line in capsys.readouterr().err.splitlines()] == [
        "command line: penalty.name",
        "command line: penalty.coef",
        "command line: sac.epochs",
    ]
    assert main(words) == 2
    assert capsys.readouterr().err == "argument --gama is unknown, did you mean --gamma?\n"
    assert runs == []


def test_wandb_is_asked_for_before_any_training(runs, capsys, monkeypatch) -> None:
    def absent() -> None:
        raise ConfigError("no wandb")

    monkeypatch.setattr(train, "import_wandb", absent)
    assert main(["--config", "mopo/hopper", "--wandb"]) == 2
    assert (capsys.readouterr().err, runs) == ("no wandb\n", [])
    monkeypatch.setattr(train, "import_wandb", lambda: None)
    assert main(["--config", "mopo/hopper", "--wandb"]) == 0
    assert runs[0][2]["wandb"]


def test_a_dry_run_prints_the_configuration_and_leaves_nothing(
    runs, npz, capsys, monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--data_path", npz, "--dry-run", "--rollout-length", "7"]) == 0
    told = capsys.readouterr()
    assert parse_yaml(told.out, "stdout")["rollout"]["length"] == 7
    assert (told.err, runs) == ("", [])
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_a_dry_run_warns_of_what_is_absent(runs, npz, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["--device", "cuda", "--density", "flow", "--dry-run"]
    assert main(["--data_path", f"{npz}x", *words]) == 0
    device, density, data = capsys.readouterr().err.splitlines()
    assert device.startswith("warning: device cuda is not there")
    assert density == "warning: flow is not there (--density RUN names another)"
    assert data == f"warning: {npz}x is not there (--data_path FILE names another)"


def test_a_dry_run_checks_the_data_that_is_there(runs, npz, capsys) -> None:
    settings = ["--set", "data.obs_dim=11", "--dry-run"]
    assert main(["--data_path", npz, *settings]) == 2
    assert capsys.readouterr().err == "data.obs_dim is 11, but own.npz has 2\n"


def test_help_lists_every_flag_once(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    flags = ("--density", "--dynamics", "--penalty", "--stages", "--auto-alpha", "--logdir")
    assert [text.count(f"  {flag} ") for flag in flags] == [1] * len(flags)

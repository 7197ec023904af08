from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import train
from gormpo_density.config_files import parse_yaml
from gormpo_density.train import main


@pytest.fixture
def runs(monkeypatch):
    """What `run_density` is called with, instead of running."""
    calls = []

    def record(config, path, **how):
        calls.append((config, path, how))
        return f"ran {path}"

    monkeypatch.setattr(train, "run_density", record)
    return calls


@pytest.fixture
def npz(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", obs=rng.normal(size=(40, 2)), action=rng.normal(size=(40, 1)))
    return str(tmp_path / "own.npz")


def test_a_run_goes_by_default_where_its_name_says(runs, npz, capsys) -> None:
    assert main(["--data_path", npz, "--device", "cpu"]) == 0
    ((config, path, how),) = runs
    assert config.data.data_path == Path(npz)
    assert path == Path("runs/custom-realnvp-seed0")
    cpu = torch.device("cpu")
    assert how == {"device": cpu, "resume": False, "overwrite": False, "progress": True}
    assert capsys.readouterr().out == f"ran {path}\n"


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_flags_reach_the_run(runs, flag) -> None:
    assert main(["--config", "hopper.yaml", "--model", "vae", "--seed", "3", "--quiet", flag]) == 0
    ((config, path, how),) = runs
    assert (config.model.name, config.seed, how["progress"]) == ("vae", 3, False)
    assert path == Path("runs/hopper-vae-seed3")
    assert how[flag.removeprefix("--")]


def test_every_seed_gets_a_run_of_its_own(runs, tmp_path) -> None:
    assert main(["--task", "hopper-medium-v2", "--seeds", "1", "2"]) == 0
    assert main(["--task", "hopper-medium-v2", "--run-dir", str(tmp_path), "--seeds", "5"]) == 0
    assert [config.seed for config, *_ in runs] == [1, 2, 5]
    assert [path for _, path, _ in runs] == [
        Path("runs/hopper-medium-v2-realnvp-seed1"),
        Path("runs/hopper-medium-v2-realnvp-seed2"),
        tmp_path / "seed5",
    ]


def test_every_configuration_is_checked_before_any_run(runs, capsys) -> None:
    assert main(["--task", "hopper-medium-v2", "--seeds", "1", "x"]) == 2
    assert runs == []
    assert 'seed must be a valid integer, is "x"' in capsys.readouterr().err


def test_a_dry_run_prints_the_configuration_and_leaves_nothing(
    runs, npz, capsys, monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--data_path", npz, "--dry-run", "--epochs", "7"]) == 0
    told = capsys.readouterr()
    assert parse_yaml(told.out, "stdout")["fit"]["epochs"] == 7
    assert told.err == ""
    assert runs == []
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_a_dry_run_warns_of_what_is_absent(runs, npz, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--data_path", f"{npz}x", "--device", "cuda", "--dry-run"]) == 0
    device, data = capsys.readouterr().err.splitlines()
    assert device.startswith("warning: device cuda is not there")
    assert data == f"warning: {npz}x is not there (--data_path FILE names another)"


def test_a_dry_run_checks_the_data_that_is_there(runs, npz, capsys) -> None:
    assert main(["--data_path", npz, "--obs_dim", "11", "--dry-run"]) == 2
    assert capsys.readouterr().err == "data.obs_dim is 11, but own.npz has 2\n"


def test_several_seeds_do_not_share_one_export(capsys) -> None:
    flags = ["--task", "hopper-medium-v2", "--seeds", "1", "2", "--model_save_path", "pair"]
    assert main(flags) == 2
    assert "each would overwrite the last" in capsys.readouterr().err

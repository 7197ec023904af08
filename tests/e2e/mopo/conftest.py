"""A task small enough that MOPO solves it in seconds, and runs on it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gormpo_density.persistence import load_tensors
from rl import run as run_module
from rl.config import MOPOConfig, load_mopo_config
from rl.train import main

HERE = Path(__file__).parent

#: What a run needs seconds for. The frequency of rollouts does not divide the epoch.
SMALL = [
    *("evaluation.env_id=point_mass:PointMass-v0", "rollout.termination=point_mass:beyond"),
    *("model.num_layers=2", "model.hidden_dims=[16]", "fit.epochs=4"),
    *("dynamics.members=3", "dynamics.elites=2", "dynamics.hidden_dims=[32]"),
    *("dynamics.weight_decay=[0, 0]", "dynamics.epochs=6", "dynamics.batch_size=64"),
    *("bc.steps=200", "fqe.regression_steps=50", "fqe.steps=50", "penalty.cap=3"),
    *("rollout.starts=200", "rollout.length=3", "rollout.frequency=75", "rollout.retain=3"),
    *("sac.epochs=6", "sac.steps_per_epoch=100", "sac.batch_size=64", "sac.gamma=0.9"),
    *("sac.hidden_dims=[32, 32]", "sac.actor_lr=3e-3", "sac.critic_lr=3e-3", "sac.tau=0.05"),
    *("sac.kl_target=3", "sac.kl_lr=1e-2", "sac.ema=0.02"),
    *("evaluation.episodes=20", "evaluation.every=2", "evaluation.episodes_on_the_way=2"),
]

#: What one process spends its time on; all else is decided by configuration and seed.
TIMES = {"seconds", "cpu_seconds", "updates_per_second", "rollout_transitions_per_second"}


@dataclass(frozen=True)
class Run:
    """What is in the folder of a run."""

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.path / "metrics.json").read_text())

    @property
    def results(self) -> dict[str, Any]:
        return {name: value for name, value in self.metrics.items() if name not in TIMES}

    @property
    def history(self) -> list[str]:
        return (self.path / "history.csv").read_text().splitlines()

    def assert_equals(self, other: "Run") -> None:
        """Fail unless results, history and every weight are the same to the last bit."""
        assert self.results == other.results
        assert self.history == other.history
        for folder in ("policy", "dynamics", "model", "history"):
            for file in sorted((other.path / folder).glob("*.safetensors")):
                ours, _ = load_tensors(self.path / folder / file.name)
                theirs, _ = load_tensors(file)
                assert ours.keys() == theirs.keys()
                assert [n for n in ours if not torch.equal(ours[n], theirs[n])] == [], file


@pytest.fixture(scope="session", autouse=True)
def point_mass():
    """The environment, found by name as a user's own module is."""
    sys.path.insert(0, str(HERE))
    yield __import__("point_mass")
    sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def line(point_mass, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a poor policy, of known return."""
    path = tmp_path_factory.mktemp("data") / "line.npz"
    arrays, _ = point_mass.behave(150, seed=0)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained parts that all runs share."""
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="session")
def config_of(line: Path) -> Callable[..., MOPOConfig]:
    """A function of settings that gives the small configuration with them."""
    return lambda *settings: load_mopo_config(None, [f"data.data_path={line}", *SMALL, *settings])


def make_run(config: MOPOConfig, path: Path, stages: Path, **options: Any) -> Run:
    """Make a run, but for its figures, which take longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_mopo_report", lambda *_: None)
        how = {"device": torch.device("cpu"), "stages": stages, "progress": False}
        run_module.run_mopo(config, path, **(how | options))
    return Run(path)


@pytest.fixture(scope="session")
def finished(config_of, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing stopped; not to be changed."""
    return make_run(config_of(), tmp_path_factory.mktemp("runs") / "finished", stages)


@pytest.fixture
def mopo(config_of, stages: Path, tmp_path: Path) -> Callable[..., Run]:
    """A function of settings that makes a run with them, by default on the shared stages."""

    def make(*settings: str, name: str = "run", stages: Path = stages, **options: Any) -> Run:
        return make_run(config_of(*settings), tmp_path / name, stages, **options)

    return make


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """The command, without figures: what it returned, and the lines it complained with."""
    monkeypatch.setattr(run_module, "write_mopo_report", lambda *_: None)

    def call(*args: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main([*map(str, args), "--quiet"])
        return code, capsys.readouterr().err.splitlines()

    return call

"""Small data, one finished run that many tests read, and the commands as functions."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from gormpo_density import density_run
from gormpo_density import evaluate as evaluate_command
from gormpo_density import train as train_command
from gormpo_density.persistence import load_tensors

#: A flow small enough that a run takes a fraction of a second, figures apart.
SMALL = (
    *("--device", "cpu", "--quiet", "--epochs", "2", "--set", "ood=[obs1, perm]"),
    *("--set", "model.num_layers=2", "--set", "model.hidden_dims=[8]"),
)


@dataclass(frozen=True)
class Run:
    """What is in a run folder."""

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.path / "metrics.json").read_text())

    @property
    def results(self) -> dict[str, Any]:
        """All metrics that the configuration and its seed decide."""
        return {key: value for key, value in self.metrics.items() if key != "seconds"}

    @property
    def history(self) -> list[str]:
        return (self.path / "history.csv").read_text().splitlines()

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "fit.safetensors"

    def assert_equals(self, other: "Run") -> None:
        """Fail unless results, history and weights are the same to the last bit."""
        assert self.results == other.results
        assert self.history == other.history
        ours, theirs = (
            load_tensors(run.path / "model" / "model.safetensors")[0] for run in (self, other)
        )
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


class Outcome(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def write_transitions(path: Path, n_episodes: int = 60, **changes: object) -> Path:
    """Write episodes of ten rows whose actions follow from the states, with some noise.

    Args:
        path: An npz file.
        n_episodes: How many.
        changes: Arrays that replace those of the file, or that it has besides; None removes one.
    """
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(n_episodes * 10, 3))
    action = np.tanh(obs[:, :2] + 0.2 * rng.normal(size=(len(obs), 2)))
    episode = np.repeat(np.arange(n_episodes), 10)
    arrays = {"obs": obs, "action": action, "reward": -(obs[:, 0] ** 2), "next_obs": obs + 0.1}
    arrays |= {"episode": episode, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def small_run(data_path: Path) -> list[str]:
    return ["--data_path", str(data_path), *SMALL]


@pytest.fixture(scope="session")
def transitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of transitions: three observations, two actions."""
    return write_transitions(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes other such files: name, and what is different about them."""

    def write(name: str, **changes: Any) -> Path:
        return write_transitions(tmp_path / name, **changes)

    return write


@pytest.fixture(scope="session")
def finished_run(transitions: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert train_command.main([*small_run(transitions), "--run-dir", str(path)]) == 0
    return Run(path)


@pytest.fixture
def small(transitions: Path) -> list[str]:
    """The command line that makes `finished_run`, but for its folder."""
    return small_run(transitions)


@pytest.fixture
def run_at(tmp_path: Path) -> Callable[[str], Run]:
    """A function of a name that gives the run of that name, made or still to be made."""
    return lambda name: Run(tmp_path / name)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time that figures take, where they are beside the point."""
    monkeypatch.setattr(density_run, "write_density_report", lambda *_: None)


@pytest.fixture
def train(capfd: pytest.CaptureFixture[str]) -> Command:
    return _caller(train_command.main, capfd)


@pytest.fixture
def evaluate(capfd: pytest.CaptureFixture[str]) -> Command:
    return _caller(evaluate_command.main, capfd)


def _caller(main: Callable[[Sequence[str]], int], capfd: pytest.CaptureFixture[str]) -> Command:
    def call(*args: object) -> Outcome:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def complaint(train: Command, tmp_path: Path) -> Callable[..., list[str]]:
    """A function of a command line of `train` that must be refused; it gives the lines told."""

    def refuse(*args: object, run: Path = tmp_path / "refused") -> list[str]:
        outcome = train(*args, "--run-dir", run)
        assert (outcome.code, outcome.out) == (2, "")
        assert not (run / "metrics.json").exists()
        return outcome.err.splitlines()

    return refuse


@pytest.fixture
def hostile_pickle(tmp_path: Path) -> tuple[bytes, Path]:
    """A pickle that makes a file when it is read without care, and that file."""
    proof = tmp_path / "proof"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (proof,)

    return pickle.dumps(Touch()), proof

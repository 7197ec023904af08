"""Small data, one finished run that many tests read, and the commands as functions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gormpo_density import evaluate as evaluate_command
from gormpo_density import train as train_command

#: A flow small enough that a run takes a fraction of a second, figures apart.
SMALL = (
    *("--device", "cpu", "--quiet", "--epochs", "2", "--set", "ood=[obs1, perm]"),
    *("--set", "model.num_layers=2", "--set", "model.hidden_dims=[8]"),
)


class Outcome(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str


def write_transitions(path: Path, n_episodes: int = 60, seed: int = 0, **changes: object) -> Path:
    """Write episodes of ten rows whose actions follow from the states, with some noise.

    Args:
        path: An npz file.
        n_episodes: How many.
        seed: Decides the numbers.
        changes: Arrays that replace those of the file, or that it has besides; None removes one.
    """
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(n_episodes * 10, 3))
    action = np.tanh(obs[:, :2] + 0.2 * rng.normal(size=(len(obs), 2)))
    episode = np.repeat(np.arange(n_episodes), 10)
    arrays = {"obs": obs, "action": action, "reward": -(obs[:, 0] ** 2), "next_obs": obs + 0.1}
    arrays |= {"episode": episode, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture(scope="session")
def transitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of transitions: three observations, two actions."""
    return write_transitions(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes other such files: name, and what is different about them."""

    def write(name: str, **changes: object) -> Path:
        return write_transitions(tmp_path / name, **changes)

    return write


@pytest.fixture(scope="session")
def finished_run(transitions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert train_command.main([*words(transitions), "--run-dir", str(path)]) == 0
    return path


def words(data_path: Path) -> list[str]:
    return ["--data_path", str(data_path), *SMALL]


@pytest.fixture
def small(transitions: Path) -> list[str]:
    """The command line of a small run, but for its folder."""
    return words(transitions)


Command = Callable[..., Outcome]


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

"""Augmentation runs of a second on the simulated set, and the command as a function."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from gormpo_density import augment
from gormpo_density.augmenting import run as augment_run
from gormpo_density.persistence import load_tensors

#: What a run needs seconds for.
TINY = (
    *("--device", "cpu", "--quiet", "--num_epochs", "2", "--batch-size", "8"),
    *("--set", "model.hidden_dims=[8]", "--latent_dim", "3"),
)
SMALL = (
    *("--dataset", "shapes", "--set", "data.time_steps=16", "--set", "data.test_rows=5"),
    *("--set", "data.train_rows=3", "--set", "classifier.name=nearest", *TINY),
)
ARMS = ("--set", "arms=[baseline, jitter, noise]")


@dataclass(frozen=True)
class Run:
    """What is in the folder of a run."""

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.path / "metrics.json").read_text())

    @property
    def results(self) -> dict[str, Any]:
        """All metrics that the configuration and its seed decide."""
        return {key: value for key, value in self.metrics.items() if "seconds" not in key}

    @property
    def history(self) -> list[str]:
        return (self.path / "history.csv").read_text().splitlines()

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.path / name).open() as file:
            return list(csv.DictReader(file))

    def assert_equals(self, other: "Run") -> None:
        """Fail unless results, predictions and weights are the same to the last bit."""
        assert self.results == other.results
        assert self.history == other.history
        assert self.table("predictions.csv") == other.table("predictions.csv")
        ours, theirs = (
            load_tensors(run.path / "model" / "model.safetensors")[0] for run in (self, other)
        )
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


class Outcome(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str


Augment = Callable[..., Outcome]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Augment:
    def call(*args: object) -> Outcome:
        capfd.readouterr()
        code = augment.main([str(arg) for arg in args])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time that figures take, where they are beside the point."""
    monkeypatch.setattr(augment_run, "write_augment_report", lambda *_: None)


@pytest.fixture(scope="session")
def small() -> list[str]:
    """The command line of a run with three arms, but for its folder."""
    return [*SMALL, *ARMS]


@pytest.fixture(scope="session")
def training() -> list[str]:
    """The command line of a run that trains the latent model alone."""
    return list(SMALL)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """What makes a run on any data short."""
    return [*TINY, "--set", "classifier.name=nearest"]


@pytest.fixture(scope="session")
def arms_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with three arms; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "arms"
    assert augment.main([*SMALL, *ARMS, "--run-dir", str(path)]) == 0
    return Run(path)


@pytest.fixture
def run_at(tmp_path: Path) -> Callable[[str], Run]:
    """A function of a name that gives the run of that name, made or still to be made."""
    return lambda name: Run(tmp_path / name)


@pytest.fixture
def write_set(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a set in the form of the UCR archive, and gives its folder."""

    def write(**changes: list[str]) -> Path:
        rng = np.random.default_rng(0)
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for half, rows in (("TRAIN", 6), ("TEST", 4)):
            lines = [
                "\t".join([str(i % 2 + 1), *map(str, rng.normal(size=12) + 3 * (i % 2))])
                for i in range(rows)
            ]
            lines = changes.get(half, lines)
            (folder / f"Mine_{half}.tsv").write_text("\n".join(lines) + "\n")
        return folder

    return write

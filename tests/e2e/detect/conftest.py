"""Detection runs of a second, one of each kind of data, and the command as a function."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from gormpo_density import detect
from gormpo_density.detection import run as detection_run
from gormpo_density.persistence import load_tensors

#: What a run needs seconds for.
SMALL = (
    *("--device", "cpu", "--quiet", "--epochs", "2", "--anomaly-fraction", "0.1"),
    *("--set", "model.hidden_dims=[8]", "--set", "model.latent_dim=3"),
    *("--set", "baselines=[random, zscore]"),
)
WINDOWS = (
    *("--task", "power_converter", "--set", "data.num_samples=120"),
    *("--set", "data.time_steps=12", *SMALL),
)
TIMES = {"seconds", "fit_seconds"}


@dataclass(frozen=True)
class Run:
    """What is in the folder of a run."""

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.path / "metrics.json").read_text())

    @property
    def history(self) -> list[str]:
        return (self.path / "history.csv").read_text().splitlines()

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.path / name).open() as file:
            return list(csv.DictReader(file))

    def assert_equals(self, other: "Run") -> None:
        """Fail unless results, scores and weights are the same to the last bit."""
        results, others = (
            {key: value for key, value in run.metrics.items() if key not in TIMES}
            for run in (self, other)
        )
        assert results == others
        assert self.history == other.history
        assert self.table("scores.csv") == other.table("scores.csv")
        ours, theirs = (
            load_tensors(run.path / "model" / "model.safetensors")[0] for run in (self, other)
        )
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


class Outcome(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str


Detect = Callable[..., Outcome]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Detect:
    def call(*args: object) -> Outcome:
        capfd.readouterr()
        code = detect.main([str(arg) for arg in args])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time that figures take, where they are beside the point."""
    monkeypatch.setattr(detection_run, "write_detect_report", lambda *_: None)


def write_recording(path: Path, rows: int = 400, **columns: object) -> Path:
    """Write two waves with a spike at row 350 and its label, ten rows a minute.

    Args:
        path: A csv file.
        rows: How many.
        columns: What replaces a column, or comes besides; None removes one.
    """
    time = np.datetime64("2024-01-01T00:00:00") + np.arange(rows) * np.timedelta64(6, "s")
    noise = np.random.default_rng(0).normal(0, 0.1, (rows, 2))
    label = (np.arange(rows) // 5 == 70).astype(int)
    x = np.sin(np.arange(rows) / 4) + noise[:, 0] + 4 * label
    table = {"time": time, "x": x, "y": np.cos(np.arange(rows) / 4) + noise[:, 1], "label": label}
    table = {name: value for name, value in (table | columns).items() if value is not None}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file of one's own, with times and labels."""
    return write_recording(tmp_path_factory.mktemp("data") / "plant.csv")


@pytest.fixture(scope="session")
def small() -> list[str]:
    """The command line of a run on simulated windows, but for its folder."""
    return list(WINDOWS)


@pytest.fixture(scope="session")
def series_args(recording: Path) -> list[str]:
    """The command line of a run on the recording, but for its folder."""
    return ["--data-path", str(recording), "--set", "detector.window=8", *SMALL]


@pytest.fixture(scope="session")
def windows_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on simulated windows; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "windows"
    assert detect.main([*WINDOWS, "--run-dir", str(path)]) == 0
    return Run(path)


@pytest.fixture(scope="session")
def series_run(series_args: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on the recording; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "series"
    assert detect.main([*series_args, "--run-dir", str(path)]) == 0
    return Run(path)

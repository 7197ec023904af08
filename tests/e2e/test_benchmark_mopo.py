"""The benchmark of MOPO: both parts run on tiny data, and what was measured is kept."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
PARTS = ("speed", "large")
LENGTH, EPISODES = 20, 30
pytestmark = pytest.mark.slow


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "mopo", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_standing_hopper(path: Path) -> None:
    """Write episodes of states around an upright hopper, which end by their length."""
    rng, n_rows = np.random.default_rng(0), EPISODES * LENGTH
    upright = np.concatenate([[1.25], np.zeros(10)])
    obs = upright + 0.01 * rng.normal(size=(n_rows + 1, 11))
    np.savez(
        path,
        observations=obs[:-1],
        next_observations=obs[1:],
        actions=rng.uniform(-1, 1, size=(n_rows, 3)),
        rewards=1 + 0.1 * rng.normal(size=n_rows),
        terminals=np.zeros(n_rows, dtype=bool),
        timeouts=np.arange(1, 1 + n_rows) % LENGTH == 0,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "mujoco").mkdir()
    write_standing_hopper(folder / "mujoco" / "hopper_medium.npz")
    return folder


@pytest.fixture(scope="module")
def out(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    finished = run("--data-dir", data_dir, "--out", folder, "--quick", "--parts", *PARTS)
    assert finished.returncode == 0, finished.stderr
    assert "shuffled" not in finished.stderr
    return folder


def cells_of(text: str, first: str) -> list[list[str]]:
    """Return the cells of every table row that begins with `first`."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_says_how_it_was_made_and_that_it_is_no_result(out: Path, part: str) -> None:
    text = (out / f"{part}.md").read_text()
    command = f"`python scripts/benchmark.py mopo --data-dir DIR --parts {part} --quick`"
    assert command in text
    assert "no results" in text


def test_both_learners_are_held_against_the_peer(out: Path) -> None:
    text = (out / "speed.md").read_text()
    (peer,) = cells_of(text, "stable_baselines3")
    assert float(peer[1].replace(",", "")) > 0
    for name in ("ours, plain SAC (kl 0)", "ours, default (KL to the clone)"):
        ((_, speed, _, ratio, _),) = cells_of(text, name)
        assert float(speed.replace(",", "")) > 0
        assert float(ratio) > 0


def test_rollouts_are_measured_for_every_penalty_and_number_of_starts(out: Path) -> None:
    rows = cells_of((out / "speed.md").read_text(), "a flow's surprise")
    assert [row[1] for row in rows] == ["20", "40"]
    for _, _, share, speed, *_ in rows:
        assert 20 <= int(share.rstrip("%")) <= 100
        assert float(speed.replace(",", "")) > 0


def test_a_whole_run_is_extrapolated_from_its_stages(out: Path) -> None:
    text = (out / "large.md").read_text()
    assert "**The last column is extrapolated**" in text
    stages = ("load the data", "clone", "critics", "density model", "dynamics", "put together")
    whole = []
    for stage in (*stages, "model rollouts", "updates"):
        ((_, _, _, _, minutes),) = cells_of(text, stage)
        whole.append(float(minutes))
    ((*_, total),) = cells_of(text, "together")
    assert float(total) == pytest.approx(sum(whole), abs=1)


def test_what_was_measured_is_used_again(data_dir: Path, out: Path) -> None:
    cells = sorted((out / "cells").rglob("*.json"))
    assert len(cells) == 5
    before = {path: path.stat().st_mtime_ns for path in cells}
    tables = {part: (out / f"{part}.md").read_text() for part in PARTS}
    finished = run("--data-dir", data_dir, "--out", out, "--quick", "--parts", *PARTS)
    assert finished.returncode == 0, finished.stderr
    assert {path: path.stat().st_mtime_ns for path in cells} == before
    assert {part: (out / f"{part}.md").read_text() for part in PARTS} == tables


def test_a_part_of_another_subject_is_refused(tmp_path: Path) -> None:
    finished = run("--data-dir", tmp_path, "--out", tmp_path, "--parts", "adbench")
    assert finished.returncode == 2
    assert "adbench" in finished.stderr

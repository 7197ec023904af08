"""The benchmark command: every part runs on tiny data, and what was measured is kept."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
pytestmark = pytest.mark.slow

PARTS = ("adbench", "alarms", "known", "speed", "ood", "ood_slow")
MUJOCO = {
    "hopper": (11, 3, ("medium", "random", "expert", "mixed")),
    "halfcheetah": (17, 6, ("medium", "random", "expert")),
}


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "density", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_tabular(folder: Path, name: str, n_normal: int, rng: np.random.Generator) -> None:
    normal, anomaly = rng.normal(size=(n_normal, 3)), 5 + rng.normal(size=(20, 3))
    is_anomaly = np.repeat([0, 1], [n_normal, 20])
    np.savez(folder / f"{name}.npz", X=np.concatenate([normal, anomaly]), y=is_anomaly)


def write_transitions(path: Path, obs_dim: int, action_dim: int, centre: float) -> None:
    n_episodes, length = 20, 20
    rng = np.random.default_rng(0)
    obs, next_obs = centre + rng.normal(size=(2, n_episodes * length, obs_dim))
    np.savez(
        path,
        observations=obs,
        next_observations=next_obs,
        actions=rng.uniform(-1, 1, size=(len(obs), action_dim)),
        rewards=np.zeros(len(obs)),
        terminals=np.zeros(len(obs), dtype=bool),
        timeouts=np.arange(1, 1 + len(obs)) % length == 0,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for part in ("adbench", "mujoco"):
        (folder / part).mkdir()
    rng = np.random.default_rng(0)
    write_tabular(folder / "adbench", "1_large", 400, rng)
    write_tabular(folder / "adbench", "2_small", 60, rng)
    for env, (obs_dim, action_dim, kinds) in MUJOCO.items():
        for number, kind in enumerate(kinds):
            path = folder / "mujoco" / f"{env}_{kind}.npz"
            write_transitions(path, obs_dim, action_dim, centre=0.1 * number)
    return folder


@pytest.fixture(scope="module")
def out(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    finished = run("--data-dir", data_dir, "--out", folder, "--quick")
    assert finished.returncode == 0, finished.stderr
    return folder


def rows_of(path: Path) -> dict[str, list[str]]:
    """Return the cells of the last table row that begins with each name."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_says_how_it_was_made_and_that_it_is_no_result(out: Path, part: str) -> None:
    text = (out / f"{part}.md").read_text()
    command = f"`python scripts/benchmark.py density --data-dir DIR --parts {part} --quick`"
    assert command in text
    assert "no results" in text


def test_constant_scores_are_worth_nothing_and_far_anomalies_are_found(out: Path) -> None:
    by_set = (out / "adbench.md").read_text().split("roc_auc x100")[1].split("pr_auc x100")[0]
    assert "| constant | 50.0 | 50.0 |" in by_set
    assert "| kde | 100.0 | 100.0 |" in by_set


def test_false_alarms_are_counted_only_where_calibration_rows_suffice(out: Path) -> None:
    text = (out / "alarms.md").read_text()
    assert "| large | 100 |" in text
    assert "small" not in text


def test_one_gaussian_is_near_a_gaussian_and_far_from_a_ring(out: Path) -> None:
    _, ring, _, factor, _ = rows_of(out / "known.md")["one Gaussian"]
    assert float(factor.split(" +- ")[0]) < 0.3
    assert float(ring.split(" +- ")[0]) > 1


def test_other_data_is_told_apart_the_better_the_farther_it_is(out: Path) -> None:
    text = (out / "ood.md").read_text()
    header, *_ = (line for line in text.splitlines() if line.startswith("| scorer | obs0.25"))
    levels = header.strip("| ").split(" | ")[1:]
    hopper = text.split("## halfcheetah_medium")[0].split("by set")[1]
    gmm = next(line for line in hopper.splitlines() if line.startswith("| gmm |"))
    aurocs = dict(zip(levels, map(float, gmm.strip("| ").split(" | ")[1:]), strict=True))
    assert aurocs["obs0.25"] < aurocs["obs2"]
    assert aurocs["random"] < aurocs["expert"] < aurocs["mixed"]


def test_what_was_measured_is_used_again(data_dir: Path, out: Path) -> None:
    cells = sorted((out / "cells").rglob("*.json"))
    assert len(cells) > 50
    before = {path: path.stat().st_mtime_ns for path in cells}
    tables = {part: (out / f"{part}.md").read_text() for part in PARTS}
    cells[0].unlink()
    finished = run("--data-dir", data_dir, "--out", out, "--quick")
    assert finished.returncode == 0, finished.stderr
    again = {path for path in cells if path.stat().st_mtime_ns != before[path]}
    assert again == {cells[0]}
    assert {part: (out / f"{part}.md").read_text() for part in PARTS} == tables


def test_missing_data_is_told_in_one_line(tmp_path: Path) -> None:
    finished = run("--data-dir", tmp_path, "--out", tmp_path, "--quick", "--parts", "adbench")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [f"{tmp_path / 'adbench'}: holds no npz files"]

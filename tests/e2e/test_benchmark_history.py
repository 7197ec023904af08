"""The part "history" of the benchmark, on tiny data: parts are trained once, errors measured."""

import importlib
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
LENGTH, EPISODES = 20, 30
pytestmark = pytest.mark.slow


def write_standing(path: Path, obs_dim: int, action_dim: int, height: float) -> None:
    """Write episodes of states around one pose, which end by their length."""
    rng, n_rows = np.random.default_rng(0), EPISODES * LENGTH
    obs = 0.01 * rng.normal(size=(n_rows + 1, obs_dim))
    obs[:, 0] += height
    np.savez(
        path,
        observations=obs[:-1],
        next_observations=obs[1:],
        actions=rng.uniform(-1, 1, size=(n_rows, action_dim)),
        rewards=1 + 0.1 * rng.normal(size=n_rows),
        terminals=np.zeros(n_rows, dtype=bool),
        timeouts=np.arange(1, 1 + n_rows) % LENGTH == 0,
    )


def test_a_smoke_run_makes_every_table_and_keeps_what_it_measured(monkeypatch, tmp_path) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    history = importlib.import_module("benchmarks.mopo.history")
    (tmp_path / "mujoco").mkdir()
    write_standing(tmp_path / "mujoco" / "hopper_medium.npz", 11, 3, height=1.25)
    write_standing(tmp_path / "mujoco" / "halfcheetah_medium.npz", 17, 6, height=0.0)
    bench = importlib.import_module("benchmarks.cells").Bench(tmp_path, tmp_path / "out", True)
    text = history.report(bench)
    assert "## hopper_medium: 16 steps of held-out episodes, corrupted or not" in text
    assert "| halfcheetah_medium | combination, path - total_std |" in text
    cells = sorted((tmp_path / "out" / "cells" / "history").iterdir())
    assert len(cells) == 2
    before = [path.stat().st_mtime_ns for path in cells]
    assert history.report(bench) == text
    assert [path.stat().st_mtime_ns for path in cells] == before

"""The benchmark of returns: what tuning chooses, on which seeds, and what the tables tell."""

import importlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rl.config import load_mopo_config

SCRIPTS = Path(__file__).parents[2] / "scripts"
CALLS: list[tuple[str, int]] = []


def made_up_run(bench, task, settings: Mapping[str, Any], seed: int, folder: Path) -> dict:
    """Return as a run would: best at coefficient 1 and a KL of .1; the clone gets 1,000."""
    CALLS.append((str(settings.get("penalty.name")), seed))
    is_clone = settings.get("algorithm") == "bc"
    off = abs(settings.get("penalty.coef", 1.0) - 1) + abs(
        settings.get("sac.kl_target", 0.1) - 0.1
    )
    value = 1000.0 if is_clone else 3000 - 100 * off + 10 * seed
    metrics = {"seed": seed, "return_mean": value, "stochastic_return_mean": value - 200}
    metrics |= {"cpu_seconds": 60.0, "behaviour_return": 1500.0}
    curves = {"updates": [1000.0, 2000.0], "return_det": [math.nan, value]}
    return {"metrics": metrics, "curves": curves}


@pytest.fixture
def returns(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("benchmarks.mopo.returns")
    monkeypatch.setattr(importlib.import_module("benchmarks.mopo.arms"), "_run", made_up_run)
    CALLS.clear()
    return module


@pytest.fixture
def bench(returns, tmp_path):
    return importlib.import_module("benchmarks.cells").Bench(tmp_path, tmp_path / "out")


def test_every_tuned_arm_has_a_grid_of_the_same_size(returns) -> None:
    assert {len(arm.points) for arm in returns.ARMS if arm.grid} == {6}


def test_tuning_chooses_by_the_tuning_seeds_and_nothing_else(returns, bench) -> None:
    chosen = returns.tune(bench, returns.HOPPER, returns.ARMS)
    assert chosen["BC"] == {}
    assert chosen["no penalty"] == {"sac.kl_target": 0.1}
    assert chosen["density (ours)"] == {"penalty.coef": 1.0, "sac.kl_target": 0.1}
    assert {seed for _, seed in CALLS} == set(returns.TUNING_SEEDS)
    assert set(returns.TUNING_SEEDS).isdisjoint(returns.SEEDS)


def test_the_tables_tell_every_arm_on_fresh_seeds(returns, bench, monkeypatch) -> None:
    text = returns.report(bench)
    fresh = [seed for _, seed in CALLS if seed not in returns.TUNING_SEEDS]
    assert set(fresh) == set(returns.SEEDS)
    for arm in (*returns.ARMS, *returns.EXTRA_ARMS):
        assert f"| {arm.name} |" in text
    assert "| density (ours) | 3030 [3010, 3050] | 16 | 3030 | 3010 |" in text
    assert "| BC | 2030 [2010, 2050] | 2030 [2010, 2050] |" in text  # ours minus the clone
    assert (bench.out / "returns.png").stat().st_size > 5000


def test_what_was_measured_is_not_run_again(returns, bench) -> None:
    settings = {"BC": {"algorithm": "bc"}}
    first = returns.confirm(bench, "returns", returns.HOPPER, settings, (1, 2))
    assert len(CALLS) == 2
    assert returns.confirm(bench, "returns", returns.HOPPER, settings, (1, 2)) == first
    assert len(CALLS) == 2
    assert np.mean(returns.metric(first["BC"], "return_mean")) == 1000


def test_arms_that_differ_in_the_penalty_alone_take_the_shipped_settings(returns, bench) -> None:
    shipped = importlib.import_module("benchmarks.mopo.shipped")
    default = load_mopo_config("mopo/hopper.yaml")
    for arm, values in shipped.settings().items():
        overrides = [f"{name}={json.dumps(value)}" for name, value in values.items()]
        config = load_mopo_config("mopo/hopper.yaml", overrides)
        assert config.penalty.name == {"MOPO std": "mopo", "no penalty": "none"}.get(
            arm, arm.removesuffix(" (ours)")
        )
        same = config.penalty.model_copy(update={"name": default.penalty.name})
        assert config.model_copy(update={"penalty": same}) == default
    # The made-up best point is the shipped one, so what tuning chose is measured already.
    returns.report(bench)
    CALLS.clear()
    text = shipped.report(bench)
    assert CALLS == []
    assert "| density (ours) minus |" in text
    assert "| combination minus |" in text
    assert (bench.out / "shipped.png").stat().st_size > 5000


def test_drift_shows_the_curve_of_each_penalty_of_ours(returns, bench) -> None:
    elsewhere = importlib.import_module("benchmarks.mopo.elsewhere")
    text = elsewhere.drift(bench)
    assert re.findall("## (.*)\n", text) == ["density (ours)", "combination"]
    assert text.count("| 2,000 | 3010 | 3020 | 3030 |") == 2
    assert "| 1,000 |" not in text  # not evaluated there
    assert (bench.out / "drift.png").stat().st_size > 5000


def test_a_changed_default_is_measured_again(returns, bench, tmp_path, monkeypatch) -> None:
    settings = {"BC": {"algorithm": "bc"}}
    returns.confirm(bench, "returns", returns.HOPPER, settings, (1,))
    files = sorted((bench.out / "cells").rglob("*.json"))
    shipped = (SCRIPTS.parent / "configs" / "mopo" / "hopper.yaml").read_text()
    (tmp_path / "mopo").mkdir()
    (tmp_path / "mopo" / "hopper.yaml").write_text(f"{shipped}\nfqe: {{steps: 7}}\n")
    monkeypatch.chdir(tmp_path)  # a configuration beside the user comes first
    returns.confirm(bench, "returns", returns.HOPPER, settings, (1,))
    assert len(CALLS) == 2
    assert sorted((bench.out / "cells").rglob("*.json")) == files


def test_a_cell_is_the_same_on_every_machine(returns, bench, tmp_path) -> None:
    arms = importlib.import_module("benchmarks.mopo.arms")
    task = arms.Task("own", "mopo/hopper.yaml", {"data.data_path": "OUT/own.npz"})
    elsewhere = type(bench)(tmp_path / "other", tmp_path / "there")
    for task_ in (task, returns.HOPPER):
        for place in (bench, elsewhere):
            returns.confirm(place, "part", task_, {"BC": {"algorithm": "bc"}}, (1,))
    found = [
        {
            file.name: json.loads(file.read_text())["settings"]
            for file in (place.out).rglob("*.json")
        }
        for place in (bench, elsewhere)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 2
    assert task.at(bench) == {"data.data_path": str(bench.out / "runs" / "own.npz")}
    assert returns.HOPPER.at(bench)["data.data_dir"] == str(tmp_path / "mujoco")


def test_a_smoke_run_is_not_taken_for_a_result(returns, bench) -> None:
    quick = type(bench)(bench.data_dir, bench.out, quick=True)
    settings = {"BC": {"algorithm": "bc"}}
    for place in (quick, bench):
        returns.confirm(place, "returns", returns.HOPPER, settings, (1,))
    assert len(CALLS) == 2

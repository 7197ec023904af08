"""The benchmark of penalties of paths: what is corrupted how, the baseline, and the tables."""

import importlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def module(monkeypatch):
    """A function that imports a module of the benchmark."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return lambda name: importlib.import_module(f"benchmarks.mopo.{name}")


@pytest.fixture
def stretches() -> np.ndarray:
    """Two stretches of six rows [s, a], 5 + 1 wide: 100 b + 10 t + column."""
    b, t, column = np.ix_(range(2), range(6), range(6))
    return (100 * b + 10 * t + column).astype(np.float32)


@pytest.fixture
def corrupted(module, stretches):
    """A function of the name of a corruption: what it makes of the stretches."""
    corruptions = module("corruptions")
    rows, std = np.full((3, 6), -1, np.float32), np.arange(1, 7, dtype=np.float32)

    def make(name: str) -> np.ndarray:
        of = corruptions.Material(rows, std, 5, np.random.default_rng(0))
        before = stretches.copy()
        wrong = corruptions.CORRUPTIONS[name](stretches, of)
        assert np.array_equal(stretches, before)
        assert wrong.shape == stretches.shape
        return wrong

    return make


def test_time_is_all_that_some_corruptions_change(corrupted, stretches) -> None:
    times = {name: corrupted(name)[0, :, 0].tolist() for name in ("frozen", "swapped halves")}
    assert times == {
        "frozen": [0, 10, 20, 20, 20, 20],
        "swapped halves": [30, 40, 50, 0, 10, 20],
    }
    shuffled = corrupted("shuffled")
    assert np.array_equal(np.sort(shuffled, 1), stretches)
    assert (shuffled[0] + 100 != shuffled[1]).any()  # each has an order of its own
    late = corrupted("delayed actions")
    assert late[0, :, 5].tolist() == [5, 5, 15, 25, 35, 45]
    assert np.array_equal(late[..., :5], stretches[..., :5])


def test_one_row_is_torn_out(corrupted, stretches) -> None:
    is_other = (corrupted("spliced step") != stretches).all(2)
    assert is_other.sum(1).tolist() == [1, 1]
    assert not is_other[:, :3].any()


def test_states_are_changed_by_so_many_standard_deviations(corrupted, stretches) -> None:
    moved = (corrupted("drift") - stretches) / np.arange(1, 7)
    size = np.sqrt(np.mean(moved[..., :5] ** 2, -1))
    assert size == pytest.approx(np.tile(0.1 * np.arange(6) / 5, (2, 1)), abs=1e-5)
    assert not moved[..., 5].any()
    faster = corrupted("faster") - stretches
    assert faster[:, 3:, 2] == pytest.approx(np.full((2, 3), 0.25 * 3))
    assert np.count_nonzero(faster) == 6


def test_the_baseline_finds_the_density_of_a_process_it_can_express(module) -> None:
    """x_t = .9 x_t-1 + .1 e_t from N(0, .1^2 / .19), beside a column of N(5, 2^2)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(600, 8, 2, generator=generator)
    x = [noise[:, 0, 0] * 0.1 / math.sqrt(0.19)]
    for t in range(1, 8):
        x.append(0.9 * x[-1] + 0.1 * noise[:, t, 0])
    data = torch.stack([torch.stack(x, 1), 5 + 2 * noise[..., 1]], 2)
    fit = module("next_step").fit_next_step
    model, same = (fit(data[:500], epochs=20, batch_size=25, seed=0) for _ in range(2))
    scales = math.log(0.1 / math.sqrt(0.19)) + 7 * math.log(0.1) + 8 * math.log(2)
    best = -scales - 8 * math.log(2 * math.pi) - 8
    with torch.no_grad():
        found = model.log_prob(data[500:]).mean().item()
        again = same.log_prob(data[500:]).mean()
    assert best - 1.5 < found < best + 1
    assert again.item() == found


@pytest.fixture
def history(module, monkeypatch) -> ModuleType:
    """The part, with numbers in the place of measurements."""
    part = module("history")

    def measure(bench: Any, scale: Any, task: Any, seed: int) -> dict[str, Any]:
        rho = {name: 0.5 for pair in part.PAIRS for name in pair}
        rho |= {f"surprise, {part.BOTH}": 0.4, "constant": math.nan}
        return {
            "auroc": {
                scorer: dict.fromkeys(part.CORRUPTIONS, 0.9 + 0.01 * seed)
                for scorer in part.SCORERS
            },
            "nats": {"LSTM": 2.0, "VAE-LSTM": 1.0 + seed},
            "rho": rho,
            "rho_drift": rho,
            "worst": rho,
            "rho_by_step": [rho, {name: 0.1 * seed for name in rho}],
            "gains": {" - ".join(pair): [0.01 * seed, -1.0, 1.0] for pair in part.PAIRS},
        }

    monkeypatch.setattr(part, "_measure", measure)
    return part


def rows_of(text: str, first: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_tell_means_over_splits(history) -> None:
    text = history.report(SimpleNamespace(quick=False))
    hopper, cheetah = rows_of(text, "VAE-LSTM")
    assert hopper == cheetah
    assert hopper[1] == "0.910 [0.885, 0.935]"  # 4.303 * .01 / sqrt(3)
    assert hopper[-1] == "2.00"
    assert [row[-1] for row in rows_of(text, "random")[:2]] == ["-", "-"]
    assert rows_of(text, "constant")[0][1:] == 6 * ["-"]
    (_, by_step, _) = rows_of(text, "surprise, path")
    assert by_step[1:] == ["0.500", "0.100"]
    gains = [row[2:] for row in rows_of(text, "hopper_medium")]
    shown = ["0.000 [-1.000, 1.000]", "0.010 [-1.000, 1.000]", "0.020 [-1.000, 1.000]"]
    assert gains == 3 * [[*shown, "0.010 [-0.015, 0.035]"]]


def test_their_returns_stand_beside_those_of_the_others(module, monkeypatch, tmp_path) -> None:
    asked = []

    def run(bench: Any, task: Any, settings: Any, seed: int, folder: Path) -> dict[str, Any]:
        asked.append((settings, seed))
        metrics = {"return_mean": 1000.0 + seed, "stochastic_return_mean": 900.0, "seed": seed}
        return {"metrics": metrics | {"cpu_seconds": 60.0}, "curves": {}}

    arms, returns = module("arms"), module("history_returns")
    monkeypatch.setattr(arms, "_run", run)
    bench = importlib.import_module("benchmarks.cells").Bench(tmp_path, tmp_path / "out")
    text = returns.report(bench)
    for arm in ("history", "density (ours)", "no penalty"):
        assert rows_of(text, arm)[0][1].startswith("1003 [")
    assert "| history minus |" in text
    own = [(settings, seed) for settings, seed in asked if "model.name" in settings]
    assert sorted(seed for _, seed in own) == list(arms.SEEDS)
    tuned = returns.tuned_settings(bench)[returns.OURS]
    assert all(settings.items() >= tuned.items() for settings, _ in own)
    assert {"penalty.coef", "sac.kl_target"} <= tuned.keys()

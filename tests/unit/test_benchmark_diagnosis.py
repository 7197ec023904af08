"""The benchmark of penalties against true errors: which weight, and what the tables tell."""

import importlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

#: Gain of each weight on the tuning split, by environment: hopper's best would harm the others.
TUNED = {
    "hopper": {0.05: 0.0, 0.1: 0.0, 0.2: 0.0, 0.02: 9.0},
    "halfcheetah": {0.05: 0.0, 0.1: 0.03, 0.2: 0.01, 0.02: -1.0},
    "walker2d": {0.05: 0.0, 0.1: 0.0, 0.2: 0.01, 0.02: -1.0},
}


@pytest.fixture
def diagnosis(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("benchmarks.mopo.diagnosis")


@pytest.fixture
def made_up(diagnosis, monkeypatch) -> list[tuple[str, int]]:
    """Put numbers in the place of measurements; what was asked for is in the list."""
    asked = []

    def measure(bench: Any, scale: Any, subject: Any, seed: int) -> dict[str, Any]:
        asked.append((subject.name, seed))
        gains = dict(TUNED[subject.environment])
        if seed != diagnosis.TUNING_SEED:
            gains = dict.fromkeys(gains, 0.01 + 0.001 * seed)
        names = [*diagnosis.SHOWN, *(f"combination {w:g}" for w in gains)]
        numbers = dict.fromkeys(names, 0.8) | {"constant": math.nan}
        spread = (0.0, -0.002, 0.002)
        resamples = {str(w): [g + s for s in spread] for w, g in gains.items()}
        return {"starts": 900, "rho": numbers, "auroc": numbers, "gains": resamples}

    monkeypatch.setattr(diagnosis, "_measure", measure)
    return asked


def rows_of(text: str, first: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_no_data_of_an_environment_chooses_its_weight(diagnosis, made_up) -> None:
    text = diagnosis.report(SimpleNamespace(quick=False))
    weights = text.split("## Weights")[1]
    chosen = {row[0]: row[-1] for row in rows_of(weights, "")[2:]}
    assert chosen == {
        "hopper_medium": "0.1",  # halfcheetah and walker2d: .015 against .01
        "halfcheetah_medium": "0.02",
        "halfcheetah_ppo": "0.02",
        "walker2d-medium": "0.02",
    }
    assert diagnosis.TUNING_SEED not in diagnosis.Scale().seeds
    assert {seed for _, seed in made_up} == {diagnosis.TUNING_SEED, *diagnosis.Scale().seeds}


@pytest.mark.usefixtures("made_up")
def test_the_gain_is_told_for_each_split_and_over_all(diagnosis) -> None:
    text = diagnosis.report(SimpleNamespace(quick=False))
    split = rows_of(text, "hopper_medium, split 2")[0]
    assert split[1:] == ["0.1", "900", "0.800", "0.800", "0.012 [0.010, 0.014]"]
    over_starts, over_splits = (row[-1] for row in rows_of(text, "**hopper_medium, mean"))
    assert over_starts == "0.011 [0.009, 0.013]"
    assert over_splits == "0.011 [0.009, 0.013]"  # 4.303 * .001 / sqrt(3)
    (earlier,) = rows_of(text, "(earlier) hopper_medium")
    assert earlier[3:] == ["0.845", "0.855", "0.010"]
    assert rows_of(text, "(earlier) halfcheetah_ppo") == []
    (constant, *_) = rows_of(text, "constant")
    assert constant[1:] == 4 * ["-"]

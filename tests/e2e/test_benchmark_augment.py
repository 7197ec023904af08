"""The benchmark of augmentation: every part runs on tiny sets, and what was measured is kept."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PARTS = ("arms", "low", "features", "speed")
pytestmark = pytest.mark.slow


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "augment", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_set(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Write 60 training and 12 test series of 16 steps, a rising and a falling class."""
    (folder / name).mkdir(parents=True)
    for split, n in (("TRAIN", 60), ("TEST", 12)):
        label = np.arange(n) % 2
        series = (2 * label - 1)[:, None] * np.linspace(-1, 1, 16) + rng.normal(size=(n, 16)) / 4
        lines = ["\t".join(map(str, (c, *row))) for c, row in zip(label + 1, series, strict=True)]
        (folder / name / f"{name}_{split}.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("augment")
    rng = np.random.default_rng(0)
    sys.path.insert(0, str(SCRIPTS))
    try:
        from benchmarks.augment import sets
    finally:
        sys.path.remove(str(SCRIPTS))
    for name in {*sets.TUNING[:2], *sets.CONFIRMATION[:2], *sets.LOW_DATA[:2]}:
        write_set(root / "data" / "ucr", name, rng)
    return root / "data", root / "out"


def test_every_part_runs_and_a_second_run_measures_nothing(folders) -> None:
    data, out = folders
    args = ("--data-dir", data, "--quick", "--out", out, "--parts", *PARTS)
    first = run(*args)
    assert first.returncode == 0, first.stderr
    second = run(*args)
    assert second.stdout == first.stdout
    assert "CPU s" not in second.stderr
    for part in PARTS:
        assert "smoke run" in (out / f"{part}.md").read_text()
    cells = sorted((out / "cells" / "confirmation").iterdir())
    accuracy = [json.loads(cell.read_text())["result"]["accuracy"] for cell in cells]
    assert len(cells) == 2 * 2 * 5
    assert all(0 <= value <= 1 for value in accuracy)


def test_data_that_are_not_there_are_told(tmp_path) -> None:
    result = run("--data-dir", tmp_path, "--quick", "--out", tmp_path / "out", "--parts", "arms")
    assert result.returncode == 2
    assert "ArrowHead" in result.stderr

"""The benchmark of detection: every part runs on tiny data, and what was measured is kept."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
PARTS = ("ecg5000", "nab", "power_converter", "skab", "respiration", "speed")
pytestmark = pytest.mark.slow


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "detection", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_beats(folder: Path, rng: np.random.Generator) -> None:
    """Write 300 and 60 beats of 12 steps; the classes 2 to 5 are shifted up."""
    folder.mkdir()
    for split, n in (("TRAIN", 300), ("TEST", 60)):
        classes = np.where(np.arange(n) % 5 < 4, 1, 2 + np.arange(n) // 5 % 4)
        beats = rng.normal(size=(n, 12)) + 6 * (classes != 1)[:, None]
        rows = [
            "\t".join([str(c), *map(str, beat)]) for c, beat in zip(classes, beats, strict=True)
        ]
        (folder / f"ECG5000_{split}.tsv").write_text("\n".join(rows) + "\n")


def write_nab(folder: Path, rng: np.random.Generator) -> None:
    """Write sines with a shift between two given rows, in NAB's layout."""
    windows, points = {}, {}
    (folder / "data" / "realKnownCause").mkdir(parents=True)
    (folder / "labels").mkdir()
    recordings = {
        "ambient_temperature_system_failure": (3700, 3500, 3550),
        "machine_temperature_system_failure": (16_000, 2000, 2100),
    }
    for name, (length, start, stop) in recordings.items():
        times = np.datetime64("2020-01-01T00:00:00") + 300 * np.arange(length)
        values = np.sin(np.arange(length) / 2) + 0.1 * rng.normal(size=length)
        values[start:stop] += 5
        stamps = [str(time).replace("T", " ") for time in times]
        lines = [f"{time},{value}" for time, value in zip(stamps, values, strict=True)]
        key = f"realKnownCause/{name}.csv"
        (folder / "data" / key).write_text("\n".join(["timestamp,value", *lines]) + "\n")
        windows[key] = [[stamps[start], stamps[stop - 1]]]
        points[key] = [stamps[start]]
    for name, content in (("windows", windows), ("labels", points)):
        (folder / "labels" / f"combined_{name}.json").write_text(json.dumps(content))


def write_skab(folder: Path, rng: np.random.Generator) -> None:
    (folder / "other").mkdir(parents=True)
    times = np.datetime64("2020-03-09T12:00:00") + np.arange(600)
    is_anomaly = (np.arange(600) >= 500) & (np.arange(600) < 560)
    values = rng.normal(size=(600, 2)) + 20 * is_anomaly[:, None]
    lines = [
        f"{str(time).replace('T', ' ')};{a};{b};{float(truth)};0.0"
        for time, (a, b), truth in zip(times, values, is_anomaly, strict=True)
    ]
    header = "datetime;Pressure;Current;anomaly;changepoint"
    (folder / "other" / "1.csv").write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    write_beats(folder / "ecg5000", rng)
    write_nab(folder / "nab", rng)
    write_skab(folder / "skab", rng)
    return folder


@pytest.fixture(scope="module")
def out(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    finished = run("--data-dir", data_dir, "--out", folder, "--quick")
    assert finished.returncode == 0, finished.stderr
    return folder


def rows_of(text: str, first: str) -> list[list[str]]:
    """Return the cells of every table row that begins with `first`."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_says_how_it_was_made_and_that_it_is_no_result(out: Path, part: str) -> None:
    text = (out / f"{part}.md").read_text()
    assert f"`python scripts/benchmark.py detection --data-dir DIR --parts {part} --quick`" in text
    assert "no results" in text


@pytest.mark.parametrize("part", [part for part in PARTS if part != "speed"])
def test_random_and_constant_scores_stand_in_every_table_of_detectors(
    out: Path, part: str
) -> None:
    text = (out / f"{part}.md").read_text()
    n_tables = text.count("| score | ")
    assert n_tables > 0
    for name in ("random", "constant"):
        assert len(rows_of(text, name)) == n_tables


def test_a_shifted_beat_is_found_and_a_constant_score_finds_nothing(out: Path) -> None:
    for row in rows_of((out / "ecg5000.md").read_text(), "1-NN"):
        assert float(row[1].split(" ")[0]) > 0.95
    for row in rows_of((out / "ecg5000.md").read_text(), "constant"):
        assert row[1].startswith("0.5000")


def test_point_adjustment_is_called_legacy_and_flatters_random_scores(out: Path) -> None:
    text = (out / "nab.md").read_text().split("## machine A")[1]
    assert "legacy: point-adjusted F1" in text
    (random,) = rows_of(text, "random")
    assert float(random[4].split(" ")[0]) > float(random[1].split(" ")[0]) + 0.1
    (theirs,) = rows_of(text, "(theirs, their notebook) Lin et al. VAE-LSTM")
    assert theirs[1] == "0.675"


def test_an_easy_fault_of_skab_is_flagged(out: Path) -> None:
    for row in rows_of((out / "skab.md").read_text(), "T2 + Q (PCA)"):
        assert float(row[1].split(" ")[0]) > 0.6


def test_severity_is_drawn(out: Path) -> None:
    assert (out / "power_converter.png").stat().st_size > 10_000
    assert "power_converter.png" in (out / "power_converter.md").read_text()


def test_what_was_measured_is_used_again(data_dir: Path, out: Path) -> None:
    cells = sorted((out / "cells").rglob("*.json"))
    assert len(cells) > 100
    before = {path: path.stat().st_mtime_ns for path in cells}
    tables = {part: (out / f"{part}.md").read_text() for part in PARTS}
    cells[0].unlink()
    finished = run("--data-dir", data_dir, "--out", out, "--quick")
    assert finished.returncode == 0, finished.stderr
    again = {path for path in cells if path.stat().st_mtime_ns != before[path]}
    assert again == {cells[0]}
    untouched = set(PARTS) - {"ecg5000"}  # whose table has the CPU seconds of that cell
    here = {part: (out / f"{part}.md").read_text() for part in untouched}
    assert here == {part: tables[part] for part in untouched}


def test_missing_data_is_told_in_one_line(tmp_path: Path) -> None:
    finished = run("--data-dir", tmp_path, "--out", tmp_path, "--quick", "--parts", "skab")
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.sweep_grid import make_grid
from gormpo_density.sweep_report import (
    Result,
    choose_metric,
    read_results,
    write_points,
    write_summary,
)
from gormpo_density.sweep_run import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    points = make_grid(["a.dims=[8,8],[16]", "b=$x"])
    return Sweep("toy", None, points, [1, 2, 3], [], tmp_path, shares_stages=False)


def finish(sweep: Sweep, run: str, **metrics: Any) -> None:
    (sweep.folder / run).mkdir()
    (sweep.folder / run / "metrics.json").write_text(json.dumps(metrics))


def results(*metrics: dict[str, Any] | None) -> list[Result]:
    (point,) = make_grid([])
    return [Result(point, seed, values) for seed, values in enumerate(metrics)]


def test_results_are_the_scalars_of_every_run_in_order(sweep: Sweep) -> None:
    finish(sweep, "dims=8-8-seed2", score=1.5, name="x", none=None, nested={"a": 1}, many=[1])
    found = read_results(sweep)
    assert [(r.point, r.seed) for r in found] == [(p, s) for p in sweep.points for s in (1, 2, 3)]
    assert [r.metrics for r in found[:2]] == [None, {"score": 1.5, "name": "x", "none": None}]
    assert found[1].number("score") == 1.5
    assert all(math.isnan(found[1].number(key)) for key in ("name", "none", "absent"))
    assert math.isnan(found[0].number("score"))
    assert read_results(sweep, {"dims=8-8-seed2"})[1].metrics is None


def test_every_run_has_a_line_of_the_csv(sweep: Sweep) -> None:
    finish(sweep, "dims=8-8-seed2", score=1.5, seed=2, text='a,"b"', none=None)
    finish(sweep, "dims=16-seed1", score=2, other=True)
    write_points(sweep, read_results(sweep))
    with (sweep.folder / "points.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["run", "a.dims", "b", "seed", "score", "text", "none", "other"]
    assert lines[1] == ["dims=8-8-seed1", "[8, 8]", "$x", "1", "", "", "", ""]
    assert lines[2] == ["dims=8-8-seed2", "[8, 8]", "$x", "2", "1.5", 'a,"b"', "", ""]
    assert lines[4] == ["dims=16-seed1", "[16]", "$x", "1", "2", "", "", "True"]
    assert len(lines) == 1 + 6


def test_the_summary_has_every_point_with_intervals_over_its_seeds(sweep: Sweep) -> None:
    for seed, score in ((1, 1.0), (2, 2.0), (3, 3.0)):
        finish(sweep, f"dims=8-8-seed{seed}", score=score)
    finish(sweep, "dims=16-seed3", score=None)
    table = write_summary(sweep, read_results(sweep), "score", "python -m ...")
    header, rule, first, second = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    ]
    assert header == ["point", "seeds", "mean", "from", "to", "IQM", "from", "to"]
    assert rule[0].strip("-") == "" == rule[1].rstrip(":").strip("-")
    assert first == ["dims=[8, 8]", "3", "2.000", "-0.484", "4.484", "2.000", "1.000", "3.000"]
    assert second[:2] == ["dims=[16]", "0 of 3"]
    assert len(set(second[2:])) == 1  # no numbers
    page = (sweep.folder / "summary.md").read_text()
    assert page.startswith("# score of toy\n")
    assert table in page
    assert page.endswith("    python -m ...\n")
    assert (sweep.folder / "summary.png").stat().st_size > 10_000


def test_the_known_metric_is_chosen(sweep: Sweep) -> None:
    known = {"test_nll": 1.0, "seconds": 2.0, "return_mean": 3.0}
    assert choose_metric(results(None, known), None) == "return_mean"
    assert choose_metric(results(known | {"return_mean": None}), None) == "test_nll"
    assert choose_metric(results({"a.roc_auc": 0.5, "lstm.vus_pr": 0.5}), None) == "lstm.vus_pr"
    assert choose_metric(results(known), "seconds") == "seconds"


def test_a_metric_that_no_run_has_is_told() -> None:
    known = results({"dataset": "x", "speed": 1.0, "nan": None})
    with pytest.raises(ConfigError, match=r"sped: no run has it; there are speed$"):
        choose_metric(known, "sped")
    with pytest.raises(ConfigError, match="metric dataset: no run has it"):
        choose_metric(known, "dataset")
    with pytest.raises(ConfigError, match=r"--metric: choose one of speed$"):
        choose_metric(known, None)

import json
import math

import numpy as np
import pytest

from gormpo_density.comparison import Comparison
from gormpo_density.comparison_report import comparison_tables, write_comparison
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.density_data import DensityData
from gormpo_density.evaluation import Evaluation
from gormpo_density.metrics import Interval

METRICS = {
    "first": {"test_nll": 4.0, "false_alarm_rate": 0.05, "obs1": 0.7, "perm": 0.5},
    "other": {"test_score": -2.0, "false_alarm_rate": 0.1, "obs1": 0.9, "perm": 0.8},
}
#: Scores -1, ..., -200: the threshold at 1 % is the second lowest.
NORMAL = -np.arange(200.0, dtype=np.float32) - 1
SCORES = {"cal": NORMAL, "test": NORMAL[:100]}


def compared(names=("first", "other"), levels=("obs1", "perm")) -> Comparison:
    rows = np.zeros((10, 1), dtype=np.float32)
    data = DensityData(
        {"test": rows},
        {"test": np.arange(10) // 5},
        DatasetInfo("toy", "arrays"),
        1,
        0,
        (rows[0], rows[0]),
        rows[:0],
    )
    evaluations = {}
    for name in names:
        metrics = dict(METRICS[name])
        aurocs = {level: metrics.pop(level) for level in ("obs1", "perm")}
        for level in levels:
            metrics |= {f"ood.{level}.{k}": aurocs[level] for k in ("roc_auc", "pr_auc", "fpr95")}
        evaluations[name] = Evaluation(dict(SCORES), dict.fromkeys(levels, NORMAL - 50), metrics)
    differences = {name: Interval(0.25, 0.2, 0.3) for name in names[1:] if levels}
    return Comparison("seed: 0\n", data, dict.fromkeys(levels, rows), evaluations, differences)


def test_the_tables_have_every_set_and_run_beside_the_trivial_score() -> None:
    detection, runs, *_ = comparison_tables(compared())
    assert detection.columns == ("set", "first", "other")
    assert detection.rows == [
        ("obs1", 0.7, 0.9),
        ("perm", 0.5, 0.8),
        ("mean", pytest.approx(0.6), pytest.approx(0.85)),
        ("(random or constant score)", 0.5, 0.5),
    ]
    assert runs.columns[-3:] == ("AUROC minus first", "from", "to")
    first, other = runs.rows
    assert first[:4] == ("first", "nll", 4.0, 0.05)
    assert all(map(math.isnan, first[4:]))
    assert other == ("other", "score", -2.0, 0.1, 0.25, 0.2, 0.3)


def test_without_sets_the_runs_are_still_listed() -> None:
    detection, runs, first, _ = comparison_tables(compared(levels=()))
    assert [row[0] for row in detection.rows] == ["(random or constant score)"]
    assert [row[0] for row in runs.rows] == ["first", "other"]
    assert [row[0] for row in first.rows] == ["(threshold)", "test rows"]


def test_every_run_has_a_table_of_thresholds() -> None:
    *_, first, other = comparison_tables(compared())
    assert first.columns == ("flagged by first", "1%", "5%", "10%", "15%", "20%")
    assert other.columns[0] == "flagged by other"
    threshold, test, obs1, perm = first.rows
    assert threshold == ("(threshold)", -199.0, -191.0, -181.0, -171.0, -161.0)
    assert test == ("test rows", *(5 * [0.0]))
    assert obs1 == ("obs1", *(pytest.approx(share / 200) for share in (51, 59, 69, 79, 89)))
    assert perm[1:] == obs1[1:]


def test_numbers_page_and_figure_are_written(tmp_path) -> None:
    page = write_comparison(compared(), tmp_path / "evaluation")
    assert page == tmp_path / "evaluation" / "report.html"
    assert "Evaluation: first, other" in page.read_text()
    for name in ("ood_levels", "thresholds"):
        assert (tmp_path / "evaluation" / "plots" / f"{name}.png").is_file()
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["first.test_nll"] == 4.0
    assert metrics["other.ood.obs1.roc_auc"] == 0.9
    assert metrics["other.alpha0.05.threshold"] == -191.0
    assert metrics["other.alpha0.05.false_alarm_rate"] == 0.0
    assert metrics["other.alpha0.05.detection.perm"] == pytest.approx(59 / 200)
    assert {key: value for key, value in metrics.items() if "difference" in key} == {
        "other.auroc_difference": 0.25,
        "other.auroc_difference_ci_low": 0.2,
        "other.auroc_difference_ci_high": 0.3,
    }


def test_without_sets_no_detection_is_drawn(tmp_path) -> None:
    write_comparison(compared(("first",), levels=()), tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["thresholds.png"]

"""The best run of a sweep: chosen by validation rows only, and linked."""

from pathlib import Path

import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.sweep_best import best_result, check_selectable, link_best
from gormpo_density.sweep_grid import make_grid
from gormpo_density.sweep_report import Result
from gormpo_density.sweep_run import Sweep

POINTS = make_grid(["a.x=1,2,3"])


def results(metric: str, *values: tuple[float | None, float | None]) -> list[Result]:
    """Two seeds of each point with these values of a metric; None for a run that failed."""
    return [
        Result(point, seed, None if value is None else {metric: value})
        for point, of_point in zip(POINTS, values, strict=True)
        for seed, value in enumerate(of_point)
    ]


def test_the_point_with_the_best_mean_wins_and_of_it_the_best_seed() -> None:
    best = best_result(
        results("injected.roc_auc", (0.9, 0.2), (0.6, 0.7), (0.5, 0.5)), "injected.roc_auc"
    )
    assert (best.point, best.seed) == (POINTS[1], 1)


def test_a_negative_log_likelihood_is_best_where_it_is_lowest() -> None:
    best = best_result(results("val_nll", (3, 4), (9, 9), (2, 4)), "val_nll")
    assert (best.point, best.seed) == (POINTS[2], 0)


def test_a_point_with_a_failed_run_does_not_win() -> None:
    best = best_result(results("val_score", (1, 2), (9, None), (0, 0)), "val_score")
    assert best.point is POINTS[0]


def test_no_whole_point_or_no_such_metric_is_told() -> None:
    with pytest.raises(ConfigError, match="no point has it from all of its runs"):
        best_result(results("val_nll", (1, None), (None, 2), (None, None)), "val_nll")
    with pytest.raises(ConfigError, match="no run has it; there are val_nll"):
        best_result(results("val_nll", (1, 1), (1, 2), (3, 3)), "val_nl")


@pytest.mark.parametrize("metric", ["elbo.roc_auc", "test_nll", "return_mean", "baseline.pca.f1"])
def test_what_is_measured_on_test_rows_must_not_choose(metric: str) -> None:
    with pytest.raises(ConfigError, match="must not choose"):
        check_selectable(metric)


@pytest.mark.parametrize("metric", ["val_nll", "injected.pr_auc", "noise.val_accuracy_mean"])
def test_what_is_measured_on_held_out_training_rows_may_choose(metric: str) -> None:
    check_selectable(metric)


def test_the_link_is_moved_to_a_better_run(tmp_path: Path) -> None:
    sweep = Sweep("toy", None, POINTS, [0, 1], [], tmp_path, shares_stages=False)
    for result in results("val_nll", (1, 1), (2, 2), (3, 3))[:2]:
        folder = sweep.run_folder(result.point, result.seed)
        folder.mkdir()
        assert link_best(sweep, result) == str(tmp_path / "best")
        assert (tmp_path / "best").resolve() == folder.resolve()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "x=1-seed0", "x=1-seed1"]

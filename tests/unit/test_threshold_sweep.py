"""Thresholds at several rates, and their figure."""

import io

import numpy as np
import pytest

from gormpo_density.evaluation import Evaluation
from gormpo_density.plots import plot_thresholds
from gormpo_density.threshold_sweep import ALPHAS, OperatingPoint, sweep_thresholds


def scores(seed: int, n: int = 20_000, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=n) - shift).astype(np.float32)


def evaluation(**ood: np.ndarray) -> Evaluation:
    return Evaluation({"cal": scores(0), "test": scores(1)}, ood, {})


def test_rates_are_those_aimed_at_and_detection_that_of_the_gaussian() -> None:
    points = sweep_thresholds(evaluation(near=scores(2, shift=1.0), far=scores(3, shift=9.0)))
    assert [point.alpha for point in points] == list(ALPHAS) == [0.01, 0.05, 0.1, 0.15, 0.2]
    quantiles = [-2.326, -1.645, -1.282, -1.036, -0.842]
    near = [0.0924, 0.2595, 0.3891, 0.4856, 0.5629]  # standard normal below quantile + 1
    for point, quantile, share in zip(points, quantiles, near, strict=True):
        assert point.threshold == pytest.approx(quantile, abs=0.06)
        assert point.false_alarm_rate == pytest.approx(point.alpha, abs=0.01)
        assert point.detection["near"] == pytest.approx(share, abs=0.02)
        assert point.detection["far"] == 1.0


def test_the_thresholds_are_the_calibrations_not_quantiles_of_the_test_rows() -> None:
    found = Evaluation({"cal": scores(0), "test": scores(1, shift=5.0)}, {}, {})
    assert all(point.false_alarm_rate > 0.99 for point in sweep_thresholds(found))
    assert all(point.detection == {} for point in sweep_thresholds(found))


def test_the_figure_has_a_line_for_each_run_and_a_panel_for_detection() -> None:
    points = [OperatingPoint(0.01, -3, 0.02, {"a": 0.1, "b": 0.3})]
    points += [OperatingPoint(0.2, -1, 0.25, {"a": 0.6, "b": 1.0})]
    figure = plot_thresholds({"flow": points, "a_$": points})
    figure.savefig(io.BytesIO(), format="png")
    alarms, detection = figure.axes
    assert list(alarms.lines[0].get_xdata()) == [0.01, 0.2]
    assert list(alarms.lines[0].get_ydata()) == [0.02, 0.25]
    assert list(detection.lines[1].get_ydata()) == pytest.approx([0.2, 0.8])


def test_without_sets_only_false_alarms_are_drawn() -> None:
    (ax,) = plot_thresholds({"flow": sweep_thresholds(evaluation())}).axes
    assert ax.get_title("left") == "test rows flagged"

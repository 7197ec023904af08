"""Accuracies with Wilson's interval, floors, and results that are kept for a resume."""

import math

import numpy as np
import pytest

from gormpo_density.augmenting.evaluation import (
    ArmResult,
    accuracy,
    accuracy_metrics,
    measure_floors,
)
from gormpo_density.timeseries.labelled import LabelledSet

TRUTH = np.repeat([0, 1], 5)
EIGHT = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])


def test_wilsons_interval_of_eight_out_of_ten() -> None:
    z = 1.959964
    middle = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half = z * math.sqrt(0.8 * 0.2 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert accuracy(EIGHT, TRUTH) == pytest.approx((0.8, middle - half, middle + half), abs=1e-6)


def test_the_interval_of_a_perfect_score_is_no_point() -> None:
    estimate, low, high = accuracy(TRUTH, TRUTH)
    assert (estimate, high) == (1, 1)
    assert 0.7 < low < 0.8


def test_metrics_are_flat_and_say_folds_only_where_there_are_some() -> None:
    arms = {"baseline": ArmResult(EIGHT), "noise": ArmResult(TRUTH, (0.5, 1.0))}
    found = accuracy_metrics(arms, TRUTH)
    assert list(found) == [
        *(f"baseline.{key}" for key in ("accuracy_mean", "ci_low", "ci_high")),
        *(f"noise.{key}" for key in ("accuracy_mean", "ci_low", "ci_high")),
        "noise.val_accuracy_mean",
    ]
    assert (found["baseline.accuracy_mean"], found["noise.val_accuracy_mean"]) == (0.8, 0.75)
    (first, *_) = accuracy_metrics({"nearest": arms["baseline"]}, TRUTH, "floor.")
    assert first == "floor.nearest.accuracy_mean"


def test_floors_are_the_nearest_neighbour_and_the_largest_class() -> None:
    train = np.array([[0.0, 0], [0, 1], [9, 9]])
    test = np.array([[8.0, 9], [0, 0]])
    floors = measure_floors(LabelledSet.of("two", train, [0, 0, 1], test, [1, 0]))
    assert {name: floor.predicted.tolist() for name, floor in floors.items()} == {
        "nearest": [1, 0],
        "majority": [0, 0],
    }


def test_a_result_is_read_back_as_it_was() -> None:
    result = ArmResult(EIGHT, (0.1, 1 / 3), 7, 2.5)
    again = ArmResult.from_json(result.to_json())
    np.testing.assert_array_equal(again.predicted, EIGHT)
    assert (again.val_accuracies, again.steps, again.seconds) == ((0.1, 1 / 3), 7, 2.5)

"""The `data` section: what stands in for what, and in which units series come."""

import numpy as np
import pytest

from gormpo_density.augmenting.config import AugmentDataConfig, augment_schema
from gormpo_density.augmenting.data import (
    AugmentData,
    absent_augment_data,
    load_augment_data,
    normalised,
    scaled,
)
from gormpo_density.timeseries.labelled import LabelledSet
from gormpo_density.timeseries.simulate import ShapesConfig

RNG = np.random.default_rng(0)


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.npz"
    x = 5 + 3 * RNG.normal(size=(6, 10, 2))
    np.savez(path, x_train=x[:4], y_train=[0, 0, 0, 1], x_test=x[4:], y_test=[0, 1])
    return path


def section(**values) -> AugmentDataConfig:
    return AugmentDataConfig(**values)


def test_every_series_is_normalised_by_itself() -> None:
    x = 5 + RNG.normal(size=(4, 30, 2)) * [1, 100]
    z = normalised(x)
    np.testing.assert_allclose(z.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(1), 1)
    np.testing.assert_allclose(normalised(7 * x - 3), z, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_series_becomes_zeros(value) -> None:
    np.testing.assert_array_equal(normalised(np.full((1, 9, 1), value)), 0)


def test_scaling_by_training_rows_takes_nothing_from_test_rows(mine) -> None:
    data = load_augment_data(section(data_path=mine, scale="train"), 0).source
    np.testing.assert_allclose(data.train_x.mean((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(data.train_x.std((0, 1)), 1, atol=1e-6)
    assert abs(data.test_x.mean()) > 1e-3


def test_unscaled_series_stay_as_they_are(mine) -> None:
    plain = load_augment_data(section(data_path=mine, scale="none"), 0)
    with np.load(mine) as file:
        np.testing.assert_array_equal(plain.source.test_x, file["x_test"])
    assert plain.shape == (10, 2)
    assert plain.channels == ["channel 1", "channel 2"]


def test_the_description_counts(mine) -> None:
    text = load_augment_data(section(data_path=mine), 0).description
    assert text == (
        "mine: 2 classes, series of 10 steps, 2 channels; 4 to learn from (1 to 3 a class), "
        "2 judged"
    )


def test_the_simulated_set_stands_in_only_where_no_folder_is_given(tmp_path) -> None:
    data = load_augment_data(section(dataset="Coffee"), 1)
    assert (data.source.name, data.requested) == ("shapes", "Coffee")
    config = augment_schema(ShapesConfig).model_fields["data"].annotation
    asked = load_augment_data(config(dataset="shapes", time_steps=20), 1)
    assert (asked.shape, asked.requested) == ((20, 1), None)


def test_what_is_absent_is_named(tmp_path) -> None:
    assert absent_augment_data(section(dataset="Coffee")) is None
    assert absent_augment_data(section(dataset="Coffee", data_dir=tmp_path)) is None
    away = tmp_path / "away"
    expected = f"{away}: no such file or folder"
    assert absent_augment_data(section(dataset="Coffee", data_dir=away)) == expected
    assert absent_augment_data(section(data_path=away)) == expected


def test_a_class_size_that_all_share_is_told_once() -> None:
    x = np.ones((2, 3))
    found = LabelledSet.of("a", x, [0, 1], x, [0, 1])
    assert scaled(found, section(dataset="a", scale="none")) is found
    assert AugmentData(found).description.startswith("a: 2 classes, series of 3 steps; 2 to")

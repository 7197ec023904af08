import logging

import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.timeseries.scaling import Scaler

ROWS = np.array([[1.0, 10.0], [3.0, 30.0], [np.nan, 50.0]])


def test_standard_has_mean_0_and_variance_1_without_the_nan() -> None:
    z = Scaler.fit(ROWS, "standard")(ROWS)
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(z, 0), 1, rtol=1e-6)
    assert np.isnan(z[2, 0])


def test_minmax_maps_the_training_data_to_0_1_and_later_data_beyond() -> None:
    scaler = Scaler.fit(ROWS, "minmax")
    np.testing.assert_array_equal(scaler(ROWS)[:2], [[0, 0], [1, 0.5]])
    np.testing.assert_array_equal(scaler(np.array([5.0, -30.0])), [2, -1])


def test_none_leaves_values_as_they_are() -> None:
    np.testing.assert_array_equal(Scaler.fit(ROWS, None)(ROWS), ROWS)
    assert Scaler.fit(ROWS, None).log_abs_det(7) == 0


def test_small_changes_of_large_values_survive_float32() -> None:
    values = 1e9 + np.array([[0.0], [1.0], [2.0]])
    np.testing.assert_allclose(Scaler.fit(values, "minmax")(values)[:, 0], [0, 0.5, 1])


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_constant_channel_has_scale_1_and_is_told(kind, caplog) -> None:
    values = np.array([[5.0, 1.0], [5.0, 2.0]])
    with caplog.at_level(logging.WARNING):
        scaler = Scaler.fit(values, kind)
    assert scaler.scale[0] == 1
    assert "constant channels [0]: their scale is set to 1" in caplog.text


def test_a_channel_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"channels \[1\] hold nothing but NaN in the training"):
        Scaler.fit(np.array([[1.0, np.nan], [2.0, np.nan]]), "standard")


def test_log_abs_det_is_that_of_the_whole_window() -> None:
    scaler = Scaler.fit(np.array([[0.0, 0.0], [2.0, 8.0]]), "minmax")
    assert scaler.log_abs_det(3) == pytest.approx(-3 * np.log(2 * 8))
    windows = np.random.default_rng(0).normal(size=(5, 3, 2))
    assert scaler(windows).shape == windows.shape

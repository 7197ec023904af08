"""What noise, scale, gain and mixtures do to series whose answer is known."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.classic import (
    Jitter,
    MagnitudeWarp,
    Mixup,
    Scaling,
    smooth_curves,
)
from gormpo_density.errors import ConfigError

N = 4000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def zeros(n):
    return np.zeros(n, int)


def test_jitter_is_white_and_in_units_of_each_channel():
    wave = np.sin(np.linspace(0, 20, 50))
    x = np.tile(np.stack([wave, 100 * wave, 0 * wave + 7], 1), (N, 1, 1))
    noise = Jitter(0.5).augment(x, zeros(N)).x - x
    assert (noise[..., 2] == 0).all()
    for channel in (0, 1):
        unit = noise[..., channel] / x[0, :, channel].std()
        np.testing.assert_allclose(unit.std(0), 0.5, rtol=0.06)
        np.testing.assert_allclose(unit.mean(0), 0, atol=0.04)
        assert abs((unit[:, :-1] * unit[:, 1:]).mean()) < 0.005
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_scaling_has_one_factor_a_channel_and_keeps_the_mean():
    x = np.tile(np.random.default_rng(0).normal(5, 1, (1, 8, 2)), (N, 1, 1))
    centred = x - x.mean(1, keepdims=True)
    made = Scaling(0.2).augment(x, zeros(N)).x
    factors = (made - x.mean(1, keepdims=True)) / centred
    np.testing.assert_allclose(factors, np.repeat(factors[:, :1], 8, 1), rtol=1e-9)
    np.testing.assert_allclose(made.mean(1), x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(factors[:, 0].mean(0), 1, atol=0.015)
    np.testing.assert_allclose(factors[:, 0].std(0), 0.2, rtol=0.05)
    assert abs(np.corrcoef(factors[:, 0].T)[0, 1]) < 0.05


def test_scaling_raises_the_variance_by_one_plus_sigma_squared():
    x = np.random.default_rng(0).normal(size=(N, 40))
    made = Scaling(0.5).augment(x, zeros(N)).x
    assert np.mean(made.var(1)) / np.mean(x.var(1)) == pytest.approx(1.25, rel=0.03)


def test_a_smooth_curve_passes_through_independent_normal_values():
    at_knots = smooth_curves(N, 6, 4, generator()).numpy()
    np.testing.assert_allclose(np.cov(at_knots.T), np.eye(6), atol=0.08)
    finer = smooth_curves(N, 51, 4, generator()).numpy()
    np.testing.assert_allclose(finer[:, ::10], at_knots, atol=1e-12)


def test_a_smooth_curve_is_a_natural_spline():
    curve = smooth_curves(3, 501, 4, generator()).numpy()
    bend = np.diff(curve, 2)
    assert np.abs(bend[:, [0, -1]]).max() < 0.02 * np.abs(bend).max()
    assert np.abs(np.diff(bend)).max() < 0.02 * np.abs(bend).max()  # no kink at a knot


def test_without_inner_knots_a_curve_is_a_line():
    line = smooth_curves(5, 11, 0, generator()).numpy()
    np.testing.assert_allclose(np.diff(line, 2), 0, atol=1e-12)


def test_magnitude_warp_has_a_gain_of_its_own_for_each_channel():
    x = np.tile([[1.0], [-1.0], [1.0], [-1.0], [1.0], [-1.0]], (N, 1, 2))
    gain = MagnitudeWarp(0.3, knots=4).augment(x, zeros(N)).x / x
    np.testing.assert_allclose(gain.mean(0), 1, atol=0.03)
    covariance = np.cov(gain.reshape(N, 12).T)
    np.testing.assert_allclose(covariance, 0.09 * np.eye(12), atol=0.01)


def test_mixup_mixes_with_the_others_of_the_class_evenly():
    y = np.array([0, 1, 0, 0, 1, 0])
    result = Mixup(1.0, num_samples=N).augment(np.eye(6)[:, :, None], y)
    made = result.x[..., 0].reshape(N, 6, 6)  # of round, row: weight of every real row
    own = made[:, range(6), range(6)]
    assert (result.source == -1).all()
    np.testing.assert_array_equal(result.y, np.tile(y, N))
    np.testing.assert_allclose(made.sum(2), 1, atol=1e-12)
    assert (own >= 0.5).all()
    assert (1 - own).mean() == pytest.approx(0.25, rel=0.02)  # E min(v, 1 - v), v uniform
    with_whom = (made > 0).mean(0)
    expected = np.where(y[:, None] == y, 1 / (np.bincount(y)[y] - 1), 0)
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(with_whom, expected, atol=0.04)


def test_mixup_leaves_a_row_alone_in_its_class_as_it_is():
    x = np.random.default_rng(0).normal(size=(3, 5))
    result = Mixup(1.0, num_samples=3).augment(x, np.array([0, 1, 0]))
    np.testing.assert_array_equal(result.x[1::3], np.tile(x[1], (3, 1)))
    assert result.source.tolist() == [-1, 1, -1] * 3


def test_a_small_alpha_seldom_changes_a_row_much():
    x, y = np.eye(100)[:, :, None], zeros(100)
    small, large = (1 - Mixup(a).augment(x, y).x.max(1) for a in (0.1, 10.0))
    assert np.median(small) < 0.02
    assert np.median(large) > 0.3


@pytest.mark.parametrize("wrong", [-1, 1.5, "4", None, True])
def test_knots_are_counted(wrong):
    with pytest.raises(ConfigError, match=f"knots must be an integer of at least 0, is {wrong!r}"):
        MagnitudeWarp(0.2, knots=wrong)

"""What warped, cut and shuffled time does to a ramp, whose values are the times that were read."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.registry import make_augmenter
from gormpo_density.augmentation.warping import (
    Permutation,
    TimeWarp,
    WindowSlice,
    WindowWarp,
    resample,
)
from gormpo_density.errors import ConfigError, ShapeError

N, T = 2000, 41
RAMPS = np.tile(np.arange(T, dtype=float), (N, 1))
Y = np.zeros(N, int)
WARPS = {
    "time_warp": {"sigma": 2.0},
    "window_slice": {"cut": 0.7},
    "window_warp": {"stretch": 9.0, "window": 0.4},
}


@pytest.mark.parametrize("name", WARPS)
def test_time_rises_from_step_to_step_and_stays_inside(name):
    times = make_augmenter(name, **WARPS[name]).augment(RAMPS, Y).x
    assert (np.diff(times) > 0).all()
    assert times.min() >= 0
    assert times.max() <= T - 1


@pytest.mark.parametrize("name", [*WARPS, "permutation"])
def test_every_channel_has_the_same_time(name):
    x = np.stack([RAMPS, 5 - 2 * RAMPS], 2)
    made = make_augmenter(name).augment(x, Y).x
    np.testing.assert_allclose(made[..., 1], 5 - 2 * made[..., 0], atol=1e-9)


@pytest.mark.parametrize("name", [*WARPS, "permutation"])
def test_one_seed_warps_several_series_alike(name):
    augmenter = make_augmenter(name)
    times = augmenter.augment(RAMPS, Y, seed=3).x
    np.testing.assert_allclose(
        augmenter.augment(3 * RAMPS, Y, seed=3).x, 3 * times, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", WARPS)
def test_short_series_have_no_time_to_warp(name):
    make_augmenter(name).augment(RAMPS[:2, :4], Y[:2])
    with pytest.raises(ShapeError, match="needs 4 time steps or more, x has 3"):
        make_augmenter(name).augment(RAMPS[:2, :3], Y[:2])


@pytest.mark.parametrize("name", ["time_warp", "window_warp"])
def test_the_ends_stay_where_they_are(name):
    times = make_augmenter(name, **WARPS[name]).augment(RAMPS, Y).x
    np.testing.assert_allclose(times[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(times[:, -1], T - 1, rtol=1e-12)


def test_time_warp_has_the_logarithm_of_the_speed_it_says():
    """With as many knots as steps between times, log speeds are independent but for their sum."""
    times = TimeWarp(0.1, knots=T - 3).augment(RAMPS, Y).x
    log_speed = np.log(np.diff(times))
    assert log_speed.std() == pytest.approx(0.1 * np.sqrt(1 - 1 / (T - 1)), rel=0.02)
    assert np.abs(times.mean(0) - np.arange(T)).max() < 0.05  # neither early nor late on average


def test_an_absurd_time_warp_is_finite_still():
    times = TimeWarp(1e4).augment(RAMPS, Y).x
    assert np.isfinite(times).all()
    assert (np.diff(times) >= 0).all()


def test_window_slice_runs_slower_from_an_even_start():
    times = WindowSlice(0.25).augment(RAMPS, Y).x
    np.testing.assert_allclose(np.diff(times), 0.75, rtol=1e-9)
    start = times[:, 0]
    assert 0 <= start.min() < 0.05
    assert 9.95 < start.max() <= 10
    assert start.mean() == pytest.approx(5, abs=0.25)
    assert start.std() == pytest.approx(10 / np.sqrt(12), rel=0.05)


def test_window_warp_doubles_or_halves_a_window():
    """w = .25 of the time lasts r = 2 or 1/2 times as long: outside, time runs (1 + (r - 1) w)."""
    times = WindowWarp(1.0, window=0.25).augment(RAMPS, Y).x
    speed = np.diff(times)
    is_longer = np.median(speed, 1) > 1
    assert is_longer.mean() == pytest.approx(0.5, abs=0.04)
    for ratio, found in ((2, speed[is_longer]), (0.5, speed[~is_longer])):
        outside = 1 + (ratio - 1) * 0.25
        steps_inside = (np.abs(found - outside / ratio) < 1e-9).sum(1)
        steps_outside = (np.abs(found - outside) < 1e-9).sum(1)
        expected = ratio * 0.25 * (T - 1) / outside
        assert (np.abs(steps_inside - expected) <= 2).all()
        assert (steps_inside + steps_outside >= T - 3).all()  # but for one step at either edge


def test_a_window_over_everything_changes_nothing():
    np.testing.assert_allclose(WindowWarp(1.0, window=1).augment(RAMPS, Y).x, RAMPS, atol=1e-9)


def test_permutation_moves_equal_segments():
    made = Permutation(4).augment(RAMPS, Y).x
    np.testing.assert_array_equal(np.sort(made), RAMPS)
    for row in made[:200]:
        edges = [0, *(np.flatnonzero(np.diff(row) != 1) + 1), T]
        assert len(edges) <= 6
        assert min(np.diff(edges)) >= T // 5


def test_one_cut_swaps_the_halves_of_every_fourth_series():
    made = Permutation(1).augment(RAMPS[:, :10], Y).x
    is_same = (made == np.arange(10)).all(1)
    is_swapped = (made == np.roll(np.arange(10), 5)).all(1)
    assert (is_same | is_swapped).all()
    assert is_swapped.mean() == pytest.approx(0.25, abs=0.03)


def test_permutation_takes_more_cuts_than_steps():
    made = Permutation(10**12).augment(RAMPS[:, :3], Y).x
    np.testing.assert_array_equal(np.sort(made), RAMPS[:, :3])
    assert (np.diff(made) < 0).all(1).any()  # back to front: three segments


def test_resample_is_exact_at_a_step_linear_between_and_stops_at_the_ends():
    x = torch.tensor([[[0.1], [0.7], [-3.3]]])
    times = torch.tensor([[0.0, 1.0, 2.0, 0.5, 1.25, -4.0, 9.0]], dtype=torch.float64)
    made = resample(x, times)[0, :, 0]
    assert torch.equal(made[:3], x[0, :, 0])
    torch.testing.assert_close(made[3:5], torch.tensor([0.4, -0.3]))
    assert made[5:].tolist() == x[0, [0, 2], 0].tolist()


@pytest.mark.parametrize("wrong", [1, 1.5])
def test_something_is_left_of_a_slice(wrong):
    with pytest.raises(ConfigError, match="cut must be a number of at least 0 and below 1"):
        WindowSlice(wrong)


@pytest.mark.parametrize("wrong", [0, 1.01, -0.1, "x"])
def test_the_window_of_a_warp_is_a_fraction(wrong):
    with pytest.raises(ConfigError, match="window must be"):
        WindowWarp(1.0, window=wrong)

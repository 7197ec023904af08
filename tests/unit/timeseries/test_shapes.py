import numpy as np

from gormpo_density.timeseries.simulate import ShapesConfig, simulate_shapes

QUIET = ShapesConfig(
    train_rows=2,
    test_rows=3,
    time_steps=101,
    shift=0.0,
    width_variability=0.0,
    height_variability=0.0,
    wander=0.0,
    noise=0.0,
)


def test_every_class_is_there_as_often():
    found = simulate_shapes(ShapesConfig(train_rows=3, test_rows=5, time_steps=30, channels=2))
    assert found.classes == ("bell", "burst", "plateau", "ramp")
    assert found.train_x.shape == (12, 30, 2)
    assert found.test_x.shape == (20, 30, 2)
    np.testing.assert_array_equal(np.bincount(found.train_y), [3] * 4)
    np.testing.assert_array_equal(np.bincount(found.test_y), [5] * 4)


def test_without_variation_a_series_is_its_formula():
    found = simulate_shapes(QUIET)
    u = (np.linspace(0, 1, 101) - 0.5) / 0.25
    bell = np.exp(-8 * u**2)
    expected = [bell, bell * np.cos(6 * np.pi * u), abs(u) < 0.5, (abs(u) < 0.5) * (u + 0.5)]
    for y, x in zip(found.train_y, found.train_x, strict=True):
        np.testing.assert_allclose(x[:, 0], expected[y], atol=1e-12)


def test_a_seed_fixes_the_set_and_another_changes_it():
    first, again, other = (simulate_shapes(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.test_x, again.test_x)
    assert not np.array_equal(first.test_x, other.test_x)


def test_channels_see_one_event_at_heights_of_their_own():
    config = QUIET.model_copy(update={"channels": 2, "height_variability": 0.5, "shift": 0.1})
    x = simulate_shapes(config).test_x
    ratio = x[..., 1].max(1) / x[..., 0].max(1)
    np.testing.assert_allclose(x[..., 1], x[..., 0] * ratio[:, None], atol=1e-12)
    assert np.ptp(ratio) > 0.1


def test_train_and_test_are_drawn_apart():
    found = simulate_shapes(ShapesConfig(train_rows=3, test_rows=3))
    assert not np.isclose(found.train_x[0], found.test_x).all(axis=(1, 2)).any()

"""Every classic augmenter keeps the promises of `Augmenter`; a new one is tested by its name."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.augmentation.registry import (
    augmenter_class,
    available_augmenters,
    make_augmenter,
)
from gormpo_density.errors import ConfigError, DataError, ShapeError

LATENT = ("noise", "posterior", "interpolate", "class_gaussian")
CLASSIC = [name for name in available_augmenters() if name not in LATENT]
STRENGTH = {
    name: next(iter(inspect.signature(augmenter_class(name)).parameters)) for name in CLASSIC
}
each = pytest.mark.parametrize("name", CLASSIC)


def rows(n=6, length=16, channels=2, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, length, channels)).astype(dtype)


def labels(n=6):
    return np.arange(n) % 2


def with_nan(x, place):
    x = x.copy()
    x[place] = np.nan
    return x


X, Y = rows(), labels()


def test_the_classic_ones_are_all_there():
    assert set(CLASSIC) == {
        *("jitter", "scaling", "magnitude_warp", "mixup"),
        *("time_warp", "window_slice", "window_warp", "permutation"),
    }


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strength_0_gives_the_real_rows_back(name, dtype):
    x = rows(length=101, dtype=dtype)
    augmenter = make_augmenter(name, **{STRENGTH[name]: 0}, num_samples=2)
    result = augmenter.augment(x, Y)
    np.testing.assert_array_equal(result.x, np.concatenate([x, x]))
    np.testing.assert_array_equal(result.source, np.tile(np.arange(6), 2))


@each
def test_the_default_strength_changes_rows_but_keeps_their_size(name):
    x = rows(n=64, length=50)
    made = make_augmenter(name).augment(x, labels(64)).x
    change = np.sqrt(np.mean((made - x) ** 2)) / x.std()
    assert 0.01 < change < 2
    np.testing.assert_allclose(made.std(), x.std(), rtol=0.5)


@each
@settings(max_examples=15, derandomize=True, deadline=None)
@given(
    n=st.integers(1, 6),
    length=st.integers(4, 20),
    channels=st.integers(0, 3),
    num_samples=st.integers(1, 3),
    seed=st.integers(0, 2**62),
)
def test_shapes_labels_and_sources_hold_for_any_rows(name, n, length, channels, num_samples, seed):
    x = rows(n, length, max(channels, 1), seed=n)
    x = x if channels else x[..., 0]
    result = make_augmenter(name, num_samples=num_samples).augment(x, labels(n), seed=seed)
    assert result.x.shape == (num_samples * n, *x.shape[1:])
    assert np.isfinite(result.x).all()
    assert result.rejected == 0
    np.testing.assert_array_equal(result.y, np.tile(labels(n), num_samples))
    of_one_row = result.source >= 0
    places = np.tile(np.arange(n), num_samples)
    np.testing.assert_array_equal(result.source[of_one_row], places[of_one_row])


@each
def test_numpy_and_torch_one_channel_and_none_agree(name):
    augmenter = make_augmenter(name)
    x = rows(channels=1, dtype=np.float32)
    expected = augmenter.augment(x, Y).x
    flat = augmenter.augment(x[..., 0], Y).x
    tensor = augmenter.augment(torch.from_numpy(x), torch.from_numpy(Y)).x
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(flat, expected[..., 0])
    np.testing.assert_array_equal(tensor.numpy(), expected)


@each
def test_the_seed_alone_decides_the_draws(name):
    augmenter = make_augmenter(name)
    first = augmenter.augment(X, Y, seed=1).x
    other = augmenter.augment(X, Y, seed=2).x
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = pickle.loads(pickle.dumps(augmenter)).augment(X, Y, seed=1).x
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state)


@each
def test_each_round_has_draws_of_its_own(name):
    first, second = np.split(make_augmenter(name, num_samples=2).augment(X, Y).x, 2)
    assert (first != second).any()


@each
def test_a_row_that_changes_changes_no_other_row(name):
    changed = X.copy()
    changed[0] += 10 * rows(n=1, seed=9)[0]
    source, x = make_augmenter(name).augment(X, Y).source, make_augmenter(name).augment(X, Y).x
    other = make_augmenter(name).augment(changed, Y).x
    of_one_row = source > 0
    np.testing.assert_array_equal(other[of_one_row], x[of_one_row])
    assert (other[0] != x[0]).any()


@each
def test_unit_and_offset_of_a_series_do_not_matter(name):
    made = make_augmenter(name).augment(X, Y).x
    in_another_unit = make_augmenter(name).augment(100 + 7 * X, Y).x
    np.testing.assert_allclose(in_another_unit, 100 + 7 * made, rtol=1e-9)


@each
def test_a_constant_series_stays_as_it_is(name):
    constant = np.full((3, 9, 2), 2.5)
    result = make_augmenter(name).augment(constant, np.zeros(3, int))
    np.testing.assert_allclose(result.x, constant, rtol=1e-12)


@each
def test_the_rows_of_the_caller_stay_as_they_are(name):
    x = X.copy()
    make_augmenter(name).augment(x, Y)
    np.testing.assert_array_equal(x, X)


@each
@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "0.1", True, None])
def test_a_wrong_strength_is_refused_by_name(name, wrong):
    with pytest.raises(ConfigError, match=rf"{STRENGTH[name]} must be .* {wrong!r}$"):
        make_augmenter(name, **{STRENGTH[name]: wrong})


@each
@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        (with_nan(X, (2, 3, 1)), Y, DataError, "column 3, 1 row 2 is nan"),
        (X, Y[:5], ShapeError, "6 rows, y has 5"),
        (X[0, 0], Y, ShapeError, r"\(n, T\) or \(n, T, D\)"),
        (X[:0], Y[:0], DataError, "no series"),
        (X, Y - 1, DataError, "row 0 is -1"),
        (X, Y / 1, DataError, "integer"),
    ],
)
def test_bad_rows_are_refused(name, x, y, error, match):
    with pytest.raises(error, match=match):
        make_augmenter(name).augment(x, y)

"""What every augmenter is given and gives back, and pipelines of them."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.augmenter import Augmented, Augmenter, Pipeline, labelled_tensors
from gormpo_density.errors import ConfigError, DataError, ShapeError


class Shift(Augmenter):
    """Adds a number to num_samples copies of each row."""

    def __init__(self, by, num_samples=1):
        super().__init__(num_samples)
        self.by = by
        self.fitted_to = None

    def _fit(self, x, y, *, seed):
        self.fitted_to = (x, y, seed)

    def _augment(self, x, y, generator):
        source = torch.arange(len(x)).repeat(self.num_samples)
        return Augmented(x[source] + self.by, y[source], source, rejected=1)


class InPlace(Augmenter):
    """Changes what it is given and hands it back."""

    def _augment(self, x, y, generator):
        return Augmented(x.add_(1), y, torch.arange(len(x)))


class Mix(Augmenter):
    """The mean of each pair of neighbours: of no single row."""

    def _augment(self, x, y, generator):
        return Augmented((x + x.roll(1, 0)) / 2, y, torch.full((len(x),), -1))


class Noise(Augmenter):
    """Adds normal draws."""

    def _augment(self, x, y, generator):
        noise = torch.empty_like(x).normal_(generator=generator)
        return Augmented(x + noise, y, torch.arange(len(x)))


X = np.arange(6.0).reshape(2, 3)
Y = np.array([0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 4)])
def test_a_result_has_the_kind_rank_and_dtype_of_the_rows(shape, dtype):
    x = np.zeros(shape, dtype)
    as_numpy = Shift(1.0, 2).augment(x, Y)
    assert as_numpy.x.shape == (4, *shape[1:])
    assert as_numpy.x.dtype == dtype
    as_torch = Shift(1.0, 2).augment(torch.as_tensor(x), torch.as_tensor(Y))
    for ours, theirs in zip(as_numpy[:3], as_torch[:3], strict=True):
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, torch.Tensor)
        np.testing.assert_array_equal(ours, theirs.numpy())
    assert as_numpy.source.tolist() == [0, 1, 0, 1]
    assert as_numpy.y.tolist() == [0, 1, 0, 1]
    assert as_numpy.y.dtype == as_numpy.source.dtype == np.int64


def test_whole_numbers_become_floating_ones():
    assert Shift(0.5).augment(np.ones((2, 3), int), Y).x.tolist() == [[1.5] * 3] * 2


def test_the_rows_of_the_caller_stay_as_they_are():
    x = X.copy()
    result = InPlace().augment(x, Y)
    np.testing.assert_array_equal(x, X)
    assert not np.shares_memory(result.y, Y)


def test_the_seed_decides_the_draws():
    first, same, other = (Noise().augment(X, Y, seed=seed).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()


def test_fit_hands_on_checked_rows_and_returns_the_augmenter():
    augmenter = Shift(1.0)
    assert augmenter.fit(X, Y, seed=3) is augmenter
    x, y, seed = augmenter.fitted_to
    assert x.shape == (2, 3, 1)
    assert y.tolist() == [0, 1]
    assert seed == 3
    assert Noise().fit(X, Y).augment(X, Y).x.shape == (2, 3)


def test_a_pipeline_runs_each_step_on_the_rows_of_the_one_before():
    steps = [Shift(1.0, 2), Shift(10.0, 3)]
    pipeline = Pipeline(steps).fit(X, Y, seed=3)
    result = pipeline.augment(X, Y)
    assert pipeline.num_samples == 6
    np.testing.assert_array_equal(result.x, np.tile(X + 11, (6, 1)))
    np.testing.assert_array_equal(result.source, [0, 1] * 6)
    np.testing.assert_array_equal(result.y, Y[result.source])
    assert result.rejected == 2
    assert all(step.fitted_to[2] == 3 for step in steps)


@pytest.mark.parametrize("steps", [[Mix(), Shift(1.0, 2)], [Shift(1.0, 2), Mix()]])
def test_what_is_of_no_single_row_stays_so(steps):
    assert Pipeline(steps).augment(X, Y).source.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        ([[1.0]], Y, DataError, "x must be a numpy array or a tensor, got list"),
        (np.zeros(3), Y, ShapeError, r"\(n, T\) or \(n, T, D\), got \(3,\)"),
        (np.zeros((0, 3)), Y[:0], DataError, r"x \(0, 3\) holds no series"),
        (np.array([["a"]]), Y[:1], DataError, "does not hold real numbers"),
        (np.array([[1.0], [np.nan]]), Y, DataError, "x column 0 row 1 is nan"),
        (torch.tensor([[np.inf], [1.0]]), Y, DataError, "x column 0 row 0 is inf"),
        (X, Y[:1], ShapeError, "x has 2 rows, y has 1 labels"),
        (X, Y[:, None], ShapeError, r"y must have shape \(B\), got \(2, 1\)"),
        (X, [0, 1], DataError, "y must be a numpy array or a tensor, got list"),
        (X, np.array([0.0, 1.0]), DataError, "integer class positions, is float64"),
        (X, np.array([True, False]), DataError, "integer class positions, is bool"),
        (X, np.array(["a", "b"]), DataError, "does not hold real numbers"),
        (X, np.array([0, -2]), DataError, "y row 1 is -2: class positions start at 0"),
    ],
)
def test_bad_rows_and_labels_are_named(x, y, error, text):
    for call in (labelled_tensors, Shift(1.0).fit, Shift(1.0).augment):
        with pytest.raises(error, match=text):
            call(x, y)


@pytest.mark.parametrize("num_samples", [0, -1, 1.5, "2"])
def test_num_samples_is_a_positive_integer(num_samples):
    with pytest.raises(ConfigError, match="num_samples must be an integer of at least 1"):
        Shift(1.0, num_samples)


def test_a_pipeline_needs_a_step():
    with pytest.raises(ConfigError, match="at least one step"):
        Pipeline([])

import json
import logging
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal

from gormpo_density.base import FLOOR, DensityModel
from gormpo_density.errors import (
    ConfigError,
    DataError,
    FitError,
    GormpoDensityError,
    NotFittedError,
    ShapeError,
)

PROPERTY = settings(derandomize=True, max_examples=20, deadline=None)
SHAPES = st.one_of(st.tuples(st.integers(1, 8)), st.tuples(st.integers(1, 4), st.integers(1, 4)))


class StandardNormal(DensityModel):
    """log N(z; 0, I); "twice" is double that, "rank" the same as a surrogate. Nothing to learn."""

    scores = {"log_prob": "exact", "twice": "bound", "rank": "surrogate"}  # noqa: RUF012

    def __init__(self, input_dim, scale=1.0, device="cpu"):
        super().__init__(input_dim)
        self.scale = scale
        self.weight = nn.Parameter(torch.zeros(4))
        self.fitted_to = None
        self.to(device)

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def _log_prob(self, z):
        return Normal(0, self.scale, validate_args=False).log_prob(z).flatten(1).sum(1)

    def _score(self, z, name):
        return 2 * self._log_prob(z) if name == "twice" else self._log_prob(z)

    def _fit(self, splits, options, hooks):
        self.fitted_to = splits
        if options.epochs == 13:
            raise FitError("epoch 1, batch 1: bad luck")
        return {"val_loss": [0.0]}


def rows(n, *shape, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, *shape)).astype(np.float32)


@pytest.fixture
def model():
    model = StandardNormal(2)
    model.fit(rows(50, 2))
    return model


# Construction -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input_dim", "event_shape"), [(3, (3,)), ((3,), (3,)), ([4, 2], (4, 2)), ((4, 2), (4, 2))]
)
def test_input_dim_gives_the_event_shape(input_dim, event_shape):
    assert StandardNormal(input_dim).event_shape == event_shape


@pytest.mark.parametrize("input_dim", [0, -1, (0,), (4, 0), (), (2, 3, 4), "3", 3.0, None])
def test_another_input_dim_is_refused(input_dim):
    with pytest.raises(ConfigError, match="input_dim must be D or"):
        StandardNormal(input_dim)


@pytest.mark.parametrize("input_dim", [np.int64(3), (np.int64(4), np.int32(2)), [4, 2]])
def test_sizes_as_numpy_counts_them_are_kept_as_plain_numbers(input_dim):
    model = StandardNormal(input_dim)
    assert json.loads(json.dumps(model.input_dim)) in (3, [4, 2])
    assert StandardNormal(model.input_dim).params() == model.params()


def test_params_are_the_constructor_arguments_without_the_device():
    model = StandardNormal((4, 2), scale=2.0)
    assert model.params() == {"input_dim": (4, 2), "scale": 2.0}
    assert "scale=2.0" in repr(model)


# Fitting ------------------------------------------------------------------------------------


def test_fit_standardises_by_the_training_rows_alone(model):
    train, val, test = rows(50, 2), rows(30, 2, seed=1) + 9, rows(20, 2, seed=2) - 9
    model.fit(train, val, test)
    mean, std = train.mean(0), train.std(0)
    for name, given_rows in (("train", train), ("val", val), ("test", test)):
        expected = torch.from_numpy((given_rows - mean) / std)
        torch.testing.assert_close(model.fitted_to[name], expected, atol=1e-5, rtol=1e-5)


def test_a_tenth_of_the_rows_is_held_out_when_no_validation_rows_are_given(model):
    train = np.arange(100, dtype=np.float32).reshape(50, 2)
    model.fit(train)
    used = [model.standardizer.inverse(model.fitted_to[name]) for name in ("train", "val")]
    assert [len(part) for part in used] == [45, 5]
    together = torch.cat(used).sort(0).values
    torch.testing.assert_close(together, torch.from_numpy(train), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("n", "n_val", "n_test"), [(1, 1, 1), (2, None, 1), (5, 0, 1), (5, 1, 0)])
def test_too_few_rows_are_counted(model, n, n_val, n_test):
    val = None if n_val is None else rows(n_val, 2)
    with pytest.raises(DataError, match=r"too few rows to fit: .'train': "):
        model.fit(rows(n, 2), val, rows(n_test, 2))


def test_bad_rows_are_named(model):
    bad = rows(20, 2).astype(np.float64)
    bad[3, 1] = np.nan
    with pytest.raises(DataError, match=r"^val_data column 1 row 3 is nan"):
        model.fit(rows(20, 2), bad)
    bad[3, 1] = 1e300  # infinite as float32
    with pytest.raises(DataError, match=r"^train_data column 1 row 3 is inf"):
        model.fit(bad)
    with pytest.raises(ShapeError, match=r"^test_data must have shape \(B, 2\), got \(20, 3\)"):
        model.fit(rows(20, 2), None, rows(20, 3))


def test_a_seed_fixes_the_weights(model):
    weights = []
    for seed in (0, 1, 0):
        model.fit(rows(20, 2), seed=seed)
        weights.append(model.weight.detach().clone())
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_a_fit_that_fails_leaves_no_model_behind(model):
    model.calibrate(rows(50, 2))
    with pytest.raises(FitError):
        model.fit(rows(20, 2), epochs=13)
    with pytest.raises(NotFittedError):
        model.score_samples(rows(20, 2))


# Scores -------------------------------------------------------------------------------------


@PROPERTY
@given(shape=SHAPES, batch=st.sampled_from([0, 1, 5]))
def test_log_prob_is_in_nats_of_data_units(shape, batch):
    model, train, x = StandardNormal(shape), rows(50, *shape), rows(batch, *shape, seed=1)
    logging.disable(logging.WARNING)
    model.fit(train, train)
    logging.disable(logging.NOTSET)
    features = train.reshape(-1, shape[-1]).astype(np.float64)
    truth = Normal(*(torch.from_numpy(s) for s in (features.mean(0), features.std(0))))
    expected = truth.log_prob(torch.from_numpy(x)).flatten(1).sum(1).float()
    torch.testing.assert_close(model.log_prob(torch.from_numpy(x)).detach(), expected)
    np.testing.assert_allclose(model.score_samples(x), expected, rtol=1e-4, atol=1e-4)


def test_a_surrogate_keeps_its_own_units_and_a_bound_is_shifted(model):
    x = rows(5, 2, seed=1)
    exact, twice, rank = (model.score_samples(x, name) for name in model.scores)
    shift = model.standardizer.log_abs_det.item()
    np.testing.assert_allclose(rank, exact - shift, rtol=1e-5)
    np.testing.assert_allclose(twice, 2 * rank + shift, rtol=1e-5)
    assert (model.default_score, model.score_kind) == ("log_prob", "exact")


def test_chunks_do_not_show(model, monkeypatch):
    x = rows(23, 2, seed=1)
    whole = model.score_samples(x)
    monkeypatch.setattr(StandardNormal, "chunk_rows", 5)
    np.testing.assert_array_equal(model.score_samples(x), whole)


def test_a_row_that_is_not_finite_gets_the_floor_and_its_neighbours_their_score(model):
    x = torch.from_numpy(rows(6, 2))
    good = model.score_samples(x)
    x[1, 0], x[2, 1], x[3, 0], x[4, 0] = math.nan, math.inf, -math.inf, 1e30
    expected = good.clone()
    expected[1:5] = FLOOR
    assert torch.equal(model.score_samples(x), expected)


def test_values_too_large_for_float32_score_the_floor(model):
    assert model.score_samples(np.array([[1e300, 0.0]])) == np.float32(FLOOR)


def test_an_unknown_score_is_answered_with_the_known(model):
    with pytest.raises(ConfigError, match="'elbo' is unknown; choose from log_prob, twice, rank"):
        model.score_samples(rows(5, 2), "elbo")


def test_before_fit_nothing_works():
    model = StandardNormal(2)
    for call in (
        lambda: model.score_samples(rows(5, 2)),
        lambda: model.calibrate(rows(5, 2)),
        lambda: model.sample(3),
        lambda: model.save("nowhere"),
        lambda: model.save_model("nowhere"),
    ):
        with pytest.raises(NotFittedError, match="StandardNormal: call fit or load_model first"):
            call()


def test_a_model_without_samples_says_so(model):
    with pytest.raises(GormpoDensityError, match="StandardNormal cannot be sampled from"):
        model.sample(3)


def test_float64_models_score_in_float64(model):
    model.double()
    assert model.score_samples(rows(5, 2)).dtype == np.float64

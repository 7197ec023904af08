"""Every registered model keeps its promises, and the suite that says so can fail."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from gormpo_density import registry
from gormpo_density.base import DensityModel
from gormpo_density.registry import available_models, make_model, register_model
from gormpo_density.testing import SHAPES, check_density_model, density_model_checks

#: Small and fast parameters of every model. A new model needs an entry.
SMALL = {
    "cnf": {"hidden_dims": [16, 16], "steps": 1},
    "diffusion": {"hidden_dims": [32, 32], "timesteps": 50, "draw_pairs": 8},
    "ensemble": {"k": 2, "model": {"name": "realnvp", "num_layers": 4, "hidden_dims": [16]}},
    "gmm": {"n_components": 2},
    "kde": {},
    "knn": {},
    "pca_flow": {"n_components": 2, "num_layers": 4, "hidden_dims": [16]},
    "realnvp": {"num_layers": 4, "hidden_dims": [16]},
    "recurrent_ae": {"latent_dim": 8, "num_layers": 2},
    "vae": {"latent_dim": 2, "hidden_dims": [16]},
    "vae_lstm": {"window": 2, "latent_dim": 2, "hidden_dims": [16], "lstm_hidden_dim": 8},
}
#: A decoder of one step has nothing to unroll: its cells are reached in windows only.
WINDOWS_FIRST = ((4, 2), (1, 2), 3, 1)
#: Event shapes of the models that do not take rows, or not first.
SHAPES_OF = {"recurrent_ae": WINDOWS_FIRST, "vae_lstm": ((6, 2), (4, 1), (8, 3))}


def test_every_model_is_checked():
    assert set(available_models()) <= set(SMALL)


def small(name):
    return lambda input_dim: make_model(name, input_dim=input_dim, **SMALL[name])


CASES = [
    pytest.param(check, id=f"{name}-{check}")
    for name in available_models()
    if name in SMALL
    for check in density_model_checks(small(name), SHAPES_OF.get(name, SHAPES))
]


@pytest.mark.parametrize("check", CASES)
def test_model(check):
    check()


# A plug-in of fifteen lines ---------------------------------------------------------------


class DiagonalGaussian(DensityModel):
    """Independent normals whose scales are learnt by gradient descent."""

    def __init__(self, input_dim):
        super().__init__(input_dim)
        self.log_scale = nn.Parameter(torch.zeros(math.prod(self.event_shape)))

    def reset_parameters(self):
        nn.init.normal_(self.log_scale, std=0.1)

    def _log_prob(self, z):
        u = z.flatten(1) * (-self.log_scale).exp()
        return -0.5 * (u.square() + math.log(2 * math.pi)).sum(1) - self.log_scale.sum()

    def _sample(self, num_samples, generator):
        z = torch.randn((num_samples, *self.event_shape), generator=generator)
        return z * self.log_scale.exp().reshape(self.event_shape)


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.mark.usefixtures("_own_registry")
def test_a_plug_in_passes():
    check_density_model(register_model("toy")(DiagonalGaussian))


# The suite can fail -----------------------------------------------------------------------


class ChangesItsArguments(DiagonalGaussian):
    def fit(self, train_data, *args, **options):
        train_data[0] = 0
        return super().fit(train_data, *args, **options)


class RaggedHistory(DiagonalGaussian):
    def _fit(self, *args):
        return {**super()._fit(*args), "extra": [1.0]}


class KeepsOldWeights(DiagonalGaussian):
    def _reset(self, seed):
        pass


class ForgetsAnArgument(DiagonalGaussian):
    def __init__(self, input_dim, bias=0.0):
        super().__init__(input_dim)
        self.bias = bias + 1


class UnseededFit(DiagonalGaussian):
    def _fit(self, *args):
        history = super()._fit(*args)
        rng = np.random.default_rng()
        nn.init.constant_(self.log_scale, rng.uniform(0, 0.1))
        return history


class GlobalTorch(DiagonalGaussian):
    def losses(self, z, generator=None, progress=1.0):
        return super().losses(z + 1e-3 * torch.randn(z.shape))


class GlobalNumpy(DiagonalGaussian):
    def _fit(self, *args):
        np.random.permutation(3)  # noqa: NPY002  # the very mistake
        return super()._fit(*args)


class GlobalRandom(DiagonalGaussian):
    def _sample(self, num_samples, generator):
        random.random()
        return super()._sample(num_samples, generator)


class RowsOnly(DiagonalGaussian):
    def _log_prob(self, z):
        if z.ndim > 2:
            raise IndexError("a row is not a window")
        return super()._log_prob(z)


class DividesByVariance(DiagonalGaussian):
    def _fit(self, splits, options, hooks):
        history = super()._fit(splits, options, hooks)
        with torch.no_grad():
            self.log_scale.copy_(splits["train"].flatten(1).std(0).log())
        return history


class BelievesAnything(DiagonalGaussian):
    def fit(self, train_data, *args, **options):
        return super().fit(torch.as_tensor(train_data).nan_to_num(), *args, **options)


class NotSaved(DiagonalGaussian):
    offset = 0.0

    def _fit(self, splits, options, hooks):
        self.offset = splits["train"].abs().mean().item()
        return super()._fit(splits, options, hooks)

    def _log_prob(self, z):
        return super()._log_prob(z) + self.offset


class AlwaysReady(DiagonalGaussian):
    def _require_fitted(self):
        pass


class Column(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z)[:, None]


class NoEmptyBatch(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z) + 0 * z.flatten().max()


class BatchNormalised(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z - 0.1 * z.mean(0))


class Noisy(DiagonalGaussian):
    def _log_prob(self, z):
        generator = torch.Generator()
        generator.seed()
        return super()._log_prob(z + 0.1 * torch.randn(z.shape, generator=generator))


class Detached(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z.detach())


class IdleParameter(DiagonalGaussian):
    def __init__(self, input_dim):
        super().__init__(input_dim)
        self.idle = nn.Parameter(torch.zeros(1))


class UnknownKind(DiagonalGaussian):
    scores = {"log_prob": "roughly"}  # noqa: RUF012


class ForgetsTheUnits(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z) - self.standardizer.log_abs_det


class UpsideDown(DiagonalGaussian):
    def _log_prob(self, z):
        return -super()._log_prob(z)


class MissesFarRows(DiagonalGaussian):
    def _log_prob(self, z):
        return super()._log_prob(z * (z.abs() < 5))


class ScoresNonsense(DiagonalGaussian):
    def score_samples(self, x, score=None):
        return super().score_samples(x if torch.is_tensor(x) else np.nan_to_num(x), score)


class NoFloor(DiagonalGaussian):
    _finite = staticmethod(lambda score, x: score.nan_to_num())


class AnyWidth(DiagonalGaussian):
    def log_prob(self, x):
        return super().log_prob(x[:, : self.event_shape[0]])


class WrongSign(DiagonalGaussian):
    def predict(self, x):
        return -super().predict(x)


class SameSample(DiagonalGaussian):
    def _sample(self, num_samples, generator):
        return super()._sample(num_samples, torch.Generator().manual_seed(0))


class UnseededSample(DiagonalGaussian):
    def sample(self, num_samples, seed=None):
        return super().sample(num_samples)


class StandardisedSample(DiagonalGaussian):
    def sample(self, num_samples, seed=None):
        return self.standardizer(super().sample(num_samples, seed))


BROKEN = {
    ChangesItsArguments: "fit_leaves_its_arguments_unchanged",
    RaggedHistory: "fit_returns_a_history",
    KeepsOldWeights: "fit_starts_afresh",
    ForgetsAnArgument: "constructor_arguments_and_seed_give_the_same_model",
    UnseededFit: "constructor_arguments_and_seed_give_the_same_model",
    GlobalTorch: "global_randomness_is_left_alone",
    GlobalNumpy: "global_randomness_is_left_alone",
    GlobalRandom: "global_randomness_is_left_alone",
    RowsOnly: "every_shape_fits",
    DividesByVariance: "a_constant_column_is_fine",
    BelievesAnything: "fit_refuses_bad_values",
    NotSaved: "saving_keeps_everything",
    AlwaysReady: "scoring_before_fit_is_refused",
    Column: "scores_keep_the_callers_kind",
    NoEmptyBatch: "an_empty_batch_has_no_scores",
    BatchNormalised: "a_score_ignores_the_rest_of_its_batch",
    Noisy: "a_score_ignores_the_rest_of_its_batch",
    Detached: "log_prob_is_the_differentiable_score",
    IdleParameter: "gradients_reach_every_parameter",
    UnknownKind: "each_named_score_works",
    ForgetsTheUnits: "scores_are_in_units_of_the_data",
    UpsideDown: "far_rows_score_below_the_data",
    MissesFarRows: "far_rows_score_below_the_data",
    ScoresNonsense: "bad_values_in_arrays_are_refused",
    NoFloor: "bad_rows_of_tensors_get_the_floor",
    AnyWidth: "wrong_shapes_are_refused",
    WrongSign: "decisions_follow_the_threshold",
    SameSample: "samples_follow_their_seed",
    UnseededSample: "samples_follow_their_seed",
    StandardisedSample: "samples_follow_their_seed",
}


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("cls", BROKEN)
def test_a_broken_model_is_caught_by_its_check(cls):
    register_model("broken")(cls)
    check = {str(check): check for check in density_model_checks(cls)}[BROKEN[cls]]
    with pytest.raises(AssertionError, match=BROKEN[cls]):
        check()

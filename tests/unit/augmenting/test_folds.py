"""Augmenters of folds: a latent model learns nothing from the rows that are held out."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.classic import Jitter
from gormpo_density.augmenting.arms import make_arm
from gormpo_density.augmenting.config import load_augment_config
from gormpo_density.augmenting.folds import Retrained, fold_augmenter
from gormpo_density.augmenting.training import make_latent_model, model_rows
from gormpo_density.errors import NotFittedError

CPU = torch.device("cpu")
CONFIG = load_augment_config(
    None,
    (
        *("data.dataset=shapes", "model.latent_dim=2", "model.hidden_dims=[4]", "num_epochs=2"),
        "arms={baseline: {}, jitter: {}, strong: {method: noise, noise: 0.5, num_samples: 3}}",
    ),
)
X = np.random.default_rng(0).normal(size=(10, 6, 1)).astype(np.float32)
Y = np.arange(10) % 2


def trained(rows):
    model = make_latent_model(CONFIG, (6, 1), CPU)
    model.fit(model_rows(model, rows.astype(np.float64)), seed=3, **dict(CONFIG.fit))
    return model


def test_synthetic_rows_of_a_fold_are_those_of_a_model_of_its_rows_alone() -> None:
    retrained = Retrained(CONFIG, "strong", CPU)
    for rows in (slice(0, 8), slice(2, 10)):  # fitted twice, as folds do
        made = retrained.fit(X[rows], Y[rows], seed=3).augment(X[rows], Y[rows], seed=1)
        by_hand = make_arm(CONFIG, "strong", trained(X[rows])).fit(X[rows], Y[rows], seed=3)
        np.testing.assert_array_equal(made.x, by_hand.augment(X[rows], Y[rows], seed=1).x)
    assert retrained.num_samples == 3
    assert len(made.y) == 24


def test_other_arms_are_what_they_are() -> None:
    model = trained(X)
    assert fold_augmenter(CONFIG, "baseline", model, CPU) is None
    assert isinstance(fold_augmenter(CONFIG, "jitter", model, CPU), Jitter)
    assert isinstance(fold_augmenter(CONFIG, "strong", model, CPU), Retrained)


def test_a_fit_comes_first() -> None:
    with pytest.raises(NotFittedError, match="arm strong: call fit first"):
        Retrained(CONFIG, "strong", CPU).augment(X, Y)

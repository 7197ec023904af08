"""Augmenters of folds: what an arm adds where some training rows are held out."""

import torch
from torch import Tensor

from gormpo_density.augmentation.augmenter import Augmented, Augmenter
from gormpo_density.augmentation.latent import METHODS
from gormpo_density.augmenting.arms import make_arm
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.training import make_latent_model, model_rows
from gormpo_density.base import LatentModel
from gormpo_density.errors import NotFittedError


class Retrained(Augmenter):
    """The latent augmenter of an arm, whose model is trained anew on the rows it is fitted to.

    The model of the run has seen all training rows, those of the fold too.

    Args:
        config: The arm, its model and its training.
        name: Of the arm.
        device: Where to train.
    """

    def __init__(self, config: AugmentConfig, name: str, device: torch.device) -> None:
        super().__init__(config.arms[name].params.get("num_samples") or config.augment.num_samples)
        self._config, self._name, self._device = config, name, device
        self._augmenter: Augmenter | None = None

    def _fit(self, x: Tensor, y: Tensor, *, seed: int) -> None:
        model = make_latent_model(self._config, (x.shape[1], x.shape[2]), self._device)
        rows = model_rows(model, x.double().cpu().numpy())
        model.fit(rows, seed=seed, **dict(self._config.fit))
        augmenter = make_arm(self._config, self._name, model)
        assert augmenter is not None  # a latent method always has one
        self._augmenter = augmenter.fit(x, y, seed=seed)

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        if self._augmenter is None:
            raise NotFittedError(f"arm {self._name}: call fit first")
        return self._augmenter._augment(x, y, generator)


def fold_augmenter(
    config: AugmentConfig, name: str, model: LatentModel, device: torch.device
) -> Augmenter | None:
    """Return an arm's augmenter for rows that are told by `fit`; None for the baseline."""
    method = config.arms[name].method or name
    if method in METHODS:
        return Retrained(config, name, device)
    return make_arm(config, name, model)

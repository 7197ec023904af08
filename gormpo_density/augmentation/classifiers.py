"""Classifiers of time series by name, and how well they do on rows that are held out."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.augmentation.augmenter import Augmenter, labelled_tensors
from gormpo_density.augmentation.classifier import Classifier, Labels, OnStep, with_synthetic
from gormpo_density.augmentation.deep import DeepClassifier
from gormpo_density.augmentation.random_convolutions import MiniRocket
from gormpo_density.errors import ConfigError
from gormpo_density.registry import suggestion


class FeatureClassifier(Classifier):
    """Ridge regression on the features of random convolutions, its penalty by leave-one-out.

    With an augmenter it learns from the real rows and one draw of the synthetic ones.

    Args:
        n_features: Features, rounded down to a multiple of the 84 kernels.

    Source:
        Dempster, Schmidt & Webb 2021, "MiniRocket", https://arxiv.org/abs/2012.08791.
    """

    def __init__(self, n_features: Annotated[int, Ge(84)] = 9_996) -> None:
        self.features = MiniRocket(n_features)
        self.n_features = n_features

    def _fit(
        self,
        x: Tensor,
        y: Tensor,
        augmenter: Augmenter | None,
        seed: int,
        on_step: OnStep | None,
    ) -> None:
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        x, y = with_synthetic(x, y, augmenter, seed)
        self.features.fit(x, seed)
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
        self._ridge = make_pipeline(StandardScaler(with_mean=False), ridge)
        self._ridge.fit(self.features(x).numpy(), y.numpy())

    def _predict(self, x: Tensor) -> Any:
        return self._ridge.predict(self.features(x).numpy())


class NearestNeighbour(Classifier):
    """The class of the nearest row, Euclidean: the floor for every other classifier.

    With an augmenter the synthetic rows of one draw are neighbours too.
    """

    def _fit(
        self,
        x: Tensor,
        y: Tensor,
        augmenter: Augmenter | None,
        seed: int,
        on_step: OnStep | None,
    ) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        x, y = with_synthetic(x, y, augmenter, seed)
        self._neighbours = KNeighborsClassifier(1).fit(x.flatten(1).numpy(), y.numpy())

    def _predict(self, x: Tensor) -> Any:
        return self._neighbours.predict(x.flatten(1).numpy())


_CLASSIFIERS: Mapping[str, tuple[type[Classifier], Mapping[str, Any]]] = {
    "resnet": (DeepClassifier, {"network": "resnet"}),
    "fcn": (DeepClassifier, {"network": "fcn"}),
    "minirocket": (FeatureClassifier, {}),
    "nearest": (NearestNeighbour, {}),
}


def available_classifiers() -> tuple[str, ...]:
    """Return the names that `make_classifier` knows."""
    return tuple(_CLASSIFIERS)


def classifier_class(name: str) -> type[Classifier]:
    """Return the class behind a name.

    Raises:
        ConfigError: Nothing has that name.
    """
    if name not in _CLASSIFIERS:
        hint = suggestion(name, available_classifiers())
        raise ConfigError(f"classifier {name!r} is unknown{hint}")
    return _CLASSIFIERS[name][0]


def make_classifier(name: str, **params: Any) -> Classifier:
    """Build a classifier, for instance `make_classifier("resnet", steps=500)`.

    Raises:
        ConfigError: The name is unknown or a parameter does not fit.
    """
    cls = classifier_class(name)
    try:
        return cls(**_CLASSIFIERS[name][1], **params)
    except TypeError as error:
        raise ConfigError(f"classifier {name!r}: {error}") from error


def cross_validate(
    make: Callable[[], Classifier],
    x: Data,
    y: Data,
    *,
    folds: int,
    augmenter: Augmenter | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the accuracy on each of k folds (k,), learnt from the others.

    Folds are stratified; the rows of a class with fewer rows than folds are spread over some of
    them. The augmenter is fitted anew without the fold.

    Args:
        make: Returns a new classifier.
        x: (n, T) or (n, T, D).
        y: (n,) integer class positions.
        folds: k.
        augmenter: Makes synthetic rows of the rows that are learnt from.
        seed: Of folds, fits and draws.

    Raises:
        ConfigError: There are fewer than two folds, or more than rows.
    """
    rows, labels = labelled_tensors(x, y)
    if not 2 <= folds <= len(rows):
        raise ConfigError(f"folds must be 2 to {len(rows)}, the number of rows; is {folds}")
    fold = _folds(labels.cpu().numpy(), folds, seed)
    accuracies = []
    for k in range(folds):
        train, held_out = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if augmenter is not None:
            augmenter.fit(rows[train], labels[train], seed=seed)
        model = make().fit(rows[train], labels[train], augmenter=augmenter, seed=seed)
        is_right = model.predict(rows[held_out]) == labels[held_out].cpu().numpy()
        accuracies.append(float(is_right.mean()))
    return np.array(accuracies)


def _folds(y: Labels, folds: int, seed: int) -> Labels:
    """Return the fold of each row: within a class in turn, going on where the last one ended."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(y == c)) for c in np.unique(y)])
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold

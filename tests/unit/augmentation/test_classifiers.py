"""Training and judging classifiers: equal steps, own seeds, typed errors."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.augmenter import Augmented, Augmenter
from gormpo_density.augmentation.classic import Jitter
from gormpo_density.augmentation.classifiers import (
    _folds,
    available_classifiers,
    classifier_class,
    cross_validate,
    make_classifier,
)
from gormpo_density.augmentation.deep import DeepClassifier
from gormpo_density.errors import ConfigError, DataError, FitError, NotFittedError, ShapeError

QUICK = {"resnet": {"steps": 3}, "fcn": {"steps": 3}, "minirocket": {"n_features": 168}}


def waves(n: int = 24, seed: int = 0, length: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return sines of two frequencies, any phase, in noise, and which it is."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    angle = (0.3 + 0.4 * y[:, None]) * np.arange(length) + rng.uniform(0, 6, (n, 1))
    return np.sin(angle) + 0.1 * rng.normal(size=(n, length)), y


def quick(name: str):
    return make_classifier(name, **QUICK.get(name, {}))


@pytest.mark.parametrize("name", available_classifiers())
class TestEveryClassifier:
    @pytest.mark.parametrize("kind", ["numpy", "torch"])
    @pytest.mark.parametrize("channels", [None, 2])
    def test_predicts_classes_of_what_it_was_fitted_to(self, name, kind, channels) -> None:
        x, y = waves()
        x = x if channels is None else np.stack([x, -x], 2)
        if kind == "torch":
            x, y = torch.from_numpy(x), torch.from_numpy(y)
        predicted = quick(name).fit(x, y).predict(x[:5])
        assert predicted.shape == (5,)
        assert predicted.dtype == np.int64
        assert set(predicted) <= {0, 1}

    def test_the_same_seed_gives_the_same_and_arguments_stay(self, name) -> None:
        x, y = waves()
        before = x.copy(), y.copy()
        runs = [quick(name).fit(x, y, augmenter=Jitter(0.5), seed=3).predict(x) for _ in range(2)]
        assert np.array_equal(*runs)
        assert np.array_equal(x, before[0])
        assert np.array_equal(y, before[1])

    def test_synthetic_rows_are_learnt_from(self, name) -> None:
        x, y = waves()
        counted = Counted()
        quick(name).fit(x, y, augmenter=counted)
        assert counted.calls >= 1

    def test_the_global_random_state_is_left_alone(self, name) -> None:
        x, y = waves()
        state = torch.get_rng_state()
        quick(name).fit(x, y, seed=1)
        assert torch.equal(state, torch.get_rng_state())

    def test_bad_input_is_told(self, name) -> None:
        x, y = waves()
        model = quick(name)
        with pytest.raises(NotFittedError):
            model.predict(x)
        with pytest.raises(DataError, match="two classes at least; all rows are 1"):
            model.fit(x, np.ones(len(x), int))
        with pytest.raises(ShapeError):
            model.fit(x, y[:-1])
        model.fit(x, y)
        with pytest.raises(ShapeError, match=r"x must have shape \(m, 32, 1\), has \(24, 31, 1\)"):
            model.predict(x[:, :-1])
        x[3, 2] = np.nan
        with pytest.raises(DataError, match="nan"):
            model.predict(x)


class Counted(Augmenter):
    """Gives the rows back, and counts how often it was asked and with which rows."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0

    def _augment(self, x, y, generator) -> Augmented:
        self.calls += 1
        return Augmented(x, y, torch.arange(len(x)))


@pytest.mark.parametrize("name", ["resnet", "fcn"])
def test_a_network_learns_two_frequencies(name) -> None:
    x, y = waves()
    model = make_classifier(name, steps=40, batch_size=16, lr=3e-3).fit(x, y)
    test_x, test_y = waves(100, seed=1)
    assert np.mean(model.predict(test_x) == test_y) > 0.9


@pytest.mark.parametrize("name", ["minirocket", "nearest"])
def test_a_closed_form_learns_two_frequencies(name) -> None:
    x, y = waves(60)
    test_x, test_y = waves(100, seed=1)
    assert np.mean(make_classifier(name).fit(x, y).predict(test_x) == test_y) > 0.9


def test_the_number_of_steps_is_the_same_with_synthetic_rows(monkeypatch) -> None:
    x, y = waves(20)
    batches: list[int] = []
    forward = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        "torch.nn.functional.cross_entropy",
        lambda logits, labels: batches.append(len(labels)) or forward(logits, labels),
    )
    for augmenter in (None, Jitter(num_samples=3)):
        batches.clear()
        DeepClassifier(steps=7, batch_size=8).fit(x, y, augmenter=augmenter)
        assert batches == [8] * 7


def test_synthetic_rows_are_drawn_anew_each_epoch() -> None:
    x, y = waves(8)
    counted = Counted()
    DeepClassifier(steps=6, batch_size=8).fit(x, y, augmenter=counted)  # two steps an epoch
    assert counted.calls == 3


def test_seeds_draw_other_weights() -> None:
    x, y = waves()
    first, second = (
        DeepClassifier(steps=1, lr=1e-9).fit(x, y, seed=seed).predict_proba(x) for seed in (0, 1)
    )
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)


def test_bfloat16_agrees_with_float32() -> None:
    x, y = waves()
    single, half = (
        DeepClassifier(steps=20, precision=precision).fit(x, y).predict_proba(x)
        for precision in ("float32", "bfloat16")
    )
    assert np.mean(single.argmax(1) == half.argmax(1)) > 0.9
    assert not np.array_equal(single, half)


def test_steps_are_told_with_their_loss() -> None:
    x, y = waves()
    told: list[tuple[int, float]] = []
    DeepClassifier(steps=45).fit(x, y, on_step=lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [20, 40, 45]
    assert all(loss > 0 for _, loss in told)


def test_a_loss_that_is_no_number_stops_with_its_step() -> None:
    x, y = waves()
    with pytest.raises(FitError, match="loss is nan at step 20"):
        DeepClassifier(steps=30, lr=1e30).fit(x, y)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"steps": 0}, "steps must be at least 1, is 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, is 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"precision": "half"}, "precision must be float32 or bfloat16"),
        ({"widths": 3}, "unexpected keyword argument 'widths'"),
    ],
)
def test_parameters_out_of_range(params, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_classifier("resnet", **params)


def test_unknown_classifier() -> None:
    with pytest.raises(ConfigError, match="'resnett' is unknown, did you mean 'resnet'"):
        classifier_class("resnett")


def test_folds_are_stratified_and_rare_classes_are_spread() -> None:
    y = np.array([0] * 12 + [1] * 6 + [2])
    fold = _folds(y, 3, seed=0)
    assert np.bincount(fold).tolist() == [7, 6, 6]
    for label, counts in ((0, [4, 4, 4]), (1, [2, 2, 2])):
        assert np.bincount(fold[y == label]).tolist() == counts


def test_cross_validation_judges_rows_that_were_not_learnt_from() -> None:
    x, y = waves(30)
    noise = np.random.default_rng(0).normal(size=x.shape)  # nothing to learn: only memory helps
    accuracy = cross_validate(lambda: make_classifier("nearest"), noise, y, folds=3, seed=0)
    assert accuracy.shape == (3,)
    assert accuracy.mean() < 0.8
    good = cross_validate(lambda: make_classifier("minirocket"), x, y, folds=3, augmenter=Jitter())
    assert good.mean() > 0.9


def test_cross_validation_needs_rows_for_its_folds() -> None:
    x, y = waves(4)
    with pytest.raises(ConfigError, match="folds must be 2 to 4"):
        cross_validate(lambda: make_classifier("nearest"), x, y, folds=5)

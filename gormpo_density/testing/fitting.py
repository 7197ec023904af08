"""Checks of fitting and saving."""

import random
import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch

from gormpo_density.errors import DataError, NotCalibratedError
from gormpo_density.persistence import load_model
from gormpo_density.testing.claims import error_of, require, require_close, require_normal_scores
from gormpo_density.testing.sampling import samples_of
from gormpo_density.testing.subject import Subject, normal_rows


def check_fit_leaves_its_arguments_unchanged(subject: Subject) -> None:
    """The rows handed to fit are only read."""
    given = [torch.from_numpy(subject.train.copy()), torch.from_numpy(subject.val.copy())]
    subject.fit(subject.new(), given[0], given[1])
    for rows, original in zip(given, (subject.train, subject.val), strict=True):
        require(np.array_equal(rows.numpy(), original), "fit changed the rows it was given")


def check_fit_returns_a_history(subject: Subject) -> None:
    """Curves are finite and of one length."""
    curves = subject.history
    require(isinstance(curves, dict), f"fit returned a {type(curves).__name__}, not a dict")
    require(len({len(c) for c in curves.values()}) <= 1, "curves are not equally long")
    for name, curve in curves.items():
        require(np.isfinite(curve).all(), f"curve {name} is not finite: {curve}")


def check_fit_starts_afresh(subject: Subject) -> None:
    """A second fit forgets weights and calibrations of the first."""
    model = subject.fitted
    model.calibrate(subject.rows)
    model.threshold = 0.0
    subject.fit(model, subject.train, subject.val)
    expected = subject.fitted.score_samples(subject.rows)
    require_close(model.score_samples(subject.rows), expected, "fit twice, one seed", 0.0)
    require(model.calibration is None, "calibration of the old fit is kept")
    error_of(NotCalibratedError, lambda: model.threshold, "threshold after a new fit")


def check_constructor_arguments_and_seed_give_the_same_model(subject: Subject) -> None:
    """params() rebuilds the model; a seed makes its fit repeatable."""
    rebuilt = type(subject.fitted)(**subject.fitted.params())
    require(rebuilt.params() == subject.fitted.params(), "params() does not rebuild the model")
    subject.fit(rebuilt, subject.train, subject.val)
    expected = subject.fitted.score_samples(subject.rows)
    require_close(rebuilt.score_samples(subject.rows), expected, "scores of the rebuilt", 0.0)


def check_global_randomness_is_left_alone(subject: Subject) -> None:
    """Fitting, scoring and sampling use generators of their own."""

    def state() -> list[Any]:
        numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002  # only read
        return [torch.get_rng_state().tolist(), str(numpy_state), random.getstate()]

    model = subject.new()
    before = state()
    subject.fit(model, subject.train, subject.val)
    model.score_samples(subject.rows)
    samples_of(model, 2, seed=None)
    for name, old, new in zip(("torch", "numpy", "random"), before, state(), strict=True):
        require(old == new, f"the global random state of {name} has changed")


def check_every_shape_fits(subject: Subject) -> None:
    """Every event shape can be fitted and scored."""
    for shape in subject.shapes:
        model, rows = subject.factory(shape), normal_rows(shape, 2)
        subject.fit(model, normal_rows(shape, 0), normal_rows(shape, 1))
        require_normal_scores(model.score_samples(rows), len(rows), f"event shape {shape}")


def check_a_constant_column_is_fine(subject: Subject) -> None:
    """A feature without variance does no harm."""
    train, val, rows = (x.copy() for x in (subject.train, subject.val, subject.rows))
    for x in (train, val, rows):
        x[..., 0] = 5.0
    model = subject.new()
    subject.fit(model, train, val)
    require_normal_scores(model.score_samples(rows), len(rows), "a constant column")


def check_fit_refuses_bad_values(subject: Subject) -> None:
    """NaN and infinity are refused, in arrays and tensors, with the column named."""
    for value in (np.nan, np.inf):
        bad = subject.train.copy()
        bad[1, ..., 1] = value
        for data in (bad, torch.from_numpy(bad)):
            text = error_of(DataError, partial(subject.new().fit, data), f"fit on {value}")
            require("column" in text, f"no column named in {text!r}")


def check_saving_keeps_everything(subject: Subject) -> None:
    """A loaded model gives the same scores, calibrations and threshold."""
    model = subject.fitted
    for name in model.scores:
        model.calibrate(subject.rows, 0.1, name)
    model.threshold = -12.5
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        loaded = load_model(folder)
    require(type(loaded) is type(model), f"a {type(loaded).__name__} is loaded")
    require(loaded.threshold == -12.5, "the threshold set by hand is lost")
    for name in model.scores:
        saved, expected = (m.score_samples(subject.rows, name) for m in (loaded, model))
        require_close(saved, expected, f"{name} after loading", 0.0)
        old, new = model.calibrations[name], loaded.calibrations[name]
        require(old.threshold == new.threshold, f"the threshold of {name} is lost")
        require(torch.equal(old.scores, new.scores), f"the calibration of {name} is lost")

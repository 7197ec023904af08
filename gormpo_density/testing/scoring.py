"""Checks of scores."""

import tempfile
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gormpo_density.base import FLOOR
from gormpo_density.errors import ConfigError, DataError, NotFittedError, ShapeError
from gormpo_density.testing.claims import (
    error_of,
    require,
    require_close,
    require_normal_scores,
    require_scores,
)
from gormpo_density.testing.subject import Subject


def check_scoring_before_fit_is_refused(subject: Subject) -> None:
    """Nothing is scored, calibrated, sampled or saved before fit."""
    model = subject.new()
    error_of(NotFittedError, lambda: model.score_samples(subject.rows), "score_samples before fit")
    error_of(NotFittedError, lambda: model.calibrate(subject.rows), "calibrate before fit")
    error_of(NotFittedError, lambda: model.sample(1), "sample before fit")
    with tempfile.TemporaryDirectory() as folder:
        error_of(NotFittedError, lambda: model.save(folder), "save before fit")


def check_scores_keep_the_callers_kind(subject: Subject) -> None:
    """Arrays give arrays, tensors give tensors, with equal numbers."""
    model, rows = subject.fitted, subject.rows
    from_array, from_tensor = model.score_samples(rows), model.score_samples(torch.tensor(rows))
    require_normal_scores(from_array, len(rows), "an array")
    require_scores(from_tensor, len(rows), "a tensor")
    require(isinstance(from_array, np.ndarray), "an array gave no array")
    require(isinstance(from_tensor, Tensor), "a tensor gave no tensor")
    require(not from_tensor.requires_grad, "score_samples keeps gradients")
    require_close(from_tensor, from_array, "tensor and array", 0.0)


def check_an_empty_batch_has_no_scores(subject: Subject) -> None:
    """No rows give no scores, and no error."""
    nothing = subject.rows[:0]
    require_scores(subject.fitted.score_samples(nothing), 0, "no rows")
    require_scores(subject.fitted.log_prob(torch.from_numpy(nothing)).detach(), 0, "no rows")


def check_a_score_ignores_the_rest_of_its_batch(subject: Subject) -> None:
    """A row's score is deterministic and does not depend on order or batch."""
    model, rows = subject.fitted, subject.rows
    scores = model.score_samples(rows)
    require_close(model.score_samples(rows), scores, "the same rows again", 0.0)
    require_close(model.score_samples(rows[::-1].copy())[::-1].copy(), scores, "rows reversed")
    for size in (1, 7):
        parts = [model.score_samples(rows[i : i + size]) for i in range(0, len(rows), size)]
        require_close(np.concatenate(parts), scores, f"batches of {size}")


def check_log_prob_is_the_differentiable_score(subject: Subject) -> None:
    """log_prob equals score_samples and has a finite gradient."""
    model, x = subject.fitted, torch.from_numpy(subject.rows).requires_grad_()
    scores = model.log_prob(x)
    require_close(scores.detach(), model.score_samples(subject.rows), "log_prob, score_samples")
    require(scores.requires_grad, "log_prob is not differentiable")
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    require(gradient.isfinite().all(), "a gradient of log_prob is not finite")
    require(gradient.any(), "the gradient of log_prob is zero everywhere")


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """No parameter is left out of the score."""
    model = subject.fitted
    parameters = {k: p for k, p in model.named_parameters() if p.requires_grad}
    if parameters:
        model.log_prob(torch.from_numpy(subject.rows)).sum().backward()
    for name, parameter in parameters.items():
        reached = parameter.grad is not None and parameter.grad.isfinite().all()
        require(reached, f"no finite gradient reaches {name}")


def check_each_named_score_works(subject: Subject) -> None:
    """Every entry of `scores` can be asked for and is of a known kind."""
    model = subject.fitted
    require(model.default_score in model.scores, f"no score {model.default_score!r}")
    require(model.score_kind == model.scores[model.default_score], "score_kind is another's")
    for name, kind in model.scores.items():
        require(kind in ("exact", "bound", "surrogate"), f"{name} is {kind!r}, which is no kind")
        require_normal_scores(model.score_samples(subject.rows, name), len(subject.rows), name)
    default = model.score_samples(subject.rows, model.default_score)
    require_close(model.score_samples(subject.rows), default, "the default score", 0.0)
    error_of(ConfigError, lambda: model.score_samples(subject.rows, "nonsense"), "unknown score")


def check_scores_are_in_units_of_the_data(subject: Subject) -> None:
    """Fitting on a x + b lowers a log-density by D log a; a surrogate only ranks."""
    a, b, model = 4.0, 3.0, subject.new()
    subject.fit(model, a * subject.train + b, a * subject.val + b)
    shift = -subject.rows[0].size * np.log(a)
    for name in (name for name, kind in model.scores.items() if kind != "surrogate"):
        expected = subject.fitted.score_samples(subject.rows, name) + shift
        scaled = model.score_samples(a * subject.rows + b, name)
        require_close(scaled, expected, f"{name} of 4 x + 3, shifted by -D log 4", 1e-2)


def check_far_rows_score_below_the_data(subject: Subject) -> None:
    """At 10 and 1e20 standard deviations a score is finite and below all of the data's."""
    model = subject.fitted
    lowest = model.score_samples(subject.rows).min()
    for deviations in (10.0, -10.0, 1e20):
        score = model.score_samples(subject.far(deviations))
        require_scores(score, 1, f"a row at {deviations:g} standard deviations")
        require(
            score.item() < lowest,
            f"a row at {deviations:g} standard deviations scores {score.item():.4g}, "
            f"above the lowest normal row, {lowest:.4g}",
        )


def check_bad_values_in_arrays_are_refused(subject: Subject) -> None:
    """NaN and infinity in arrays are refused with the column named."""
    for value in (np.nan, np.inf, -np.inf):
        bad = subject.rows.copy()
        bad[2, ..., 1] = value
        text = error_of(DataError, partial(subject.fitted.score_samples, bad), f"{value}")
        require("column" in text, f"no column named in {text!r}")


def check_bad_rows_of_tensors_get_the_floor(subject: Subject) -> None:
    """NaN and infinity in tensors give the lowest score and leave other rows alone."""
    model, bad = subject.fitted, torch.from_numpy(subject.rows.copy())
    bad[2, ..., 1], bad[3, ..., 0] = torch.nan, torch.inf
    scores, expected = model.score_samples(bad), model.score_samples(torch.tensor(subject.rows))
    expected[2:4] = FLOOR
    require_close(scores, expected, "scores beside bad rows")


def check_wrong_shapes_are_refused(subject: Subject) -> None:
    """A wrong width or rank is refused, naming both shapes."""
    model, width = subject.fitted, subject.rows.shape[-1]
    wide = np.concatenate([subject.rows, subject.rows], axis=-1)
    for call in (model.score_samples, model.calibrate, subject.new().fit):
        text = error_of(ShapeError, partial(call, wide), f"{call.__name__} of too wide rows")
        require(f"{width}" in text and f"{2 * width}" in text, f"no widths in {text!r}")
    error_of(ShapeError, lambda: model.log_prob(torch.from_numpy(wide)), "log_prob of wide rows")
    error_of(ShapeError, lambda: model.score_samples(subject.rows[0]), "a row without a batch")

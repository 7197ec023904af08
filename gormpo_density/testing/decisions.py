"""Checks of thresholds, verdicts and penalties."""

import numpy as np
import torch

from gormpo_density.base import DensityModel
from gormpo_density.errors import NotCalibratedError
from gormpo_density.penalty import OODPenalty
from gormpo_density.testing.claims import error_of, require, require_scores
from gormpo_density.testing.subject import Rows, Subject


def check_decisions_follow_the_threshold(subject: Subject) -> None:
    """All verdicts agree with score < threshold, calibrated or set by hand."""
    model, rows = subject.fitted, np.concatenate([subject.rows, subject.far(10.0)])
    error_of(NotCalibratedError, lambda: model.predict(rows), "predict before calibrate")
    threshold = model.calibrate(subject.rows, alpha=0.1).threshold
    require(model.threshold == threshold, "threshold is not the calibration's")
    _require_decisions(model, rows)
    false_alarms = model.predict_anomaly(subject.rows).mean()
    require(false_alarms <= 0.1, f"{false_alarms:.0%} of the calibration rows at alpha = 10 %")
    require(model.predict_anomaly(rows)[-1], "a row at 10 standard deviations is no anomaly")
    model.threshold = float(np.median(model.score_samples(rows)))
    _require_decisions(model, rows)
    require(model.set_threshold(subject.rows, 0.1) == threshold, "set_threshold differs")


def _require_decisions(model: DensityModel, rows: Rows) -> None:
    """Require that all four ways to decide tell the same."""
    anomaly = model.score_samples(rows) < model.threshold
    require(np.array_equal(model.decision_function(rows) < 0, anomaly), "decision_function")
    require(np.array_equal(model.predict_anomaly(rows), anomaly), "predict_anomaly")
    require(np.array_equal(model.predict(rows), np.where(anomaly, -1, 1)), "predict")


def check_penalties_are_finite(subject: Subject) -> None:
    """A row however far, or not a number, gets a finite penalty, no smaller than a normal row."""
    model = subject.fitted
    model.calibrate(subject.rows)
    far = [subject.far(deviations) for deviations in (10.0, 1e20, np.inf, np.nan)]
    penalties = OODPenalty(model)(torch.from_numpy(np.concatenate([subject.rows, *far])))
    require_scores(penalties, len(subject.rows) + len(far), "penalties")
    require((penalties >= 0).all(), "a penalty is negative")
    require((penalties[-4:] >= penalties[:-4].max()).all(), "a far row has a small penalty")

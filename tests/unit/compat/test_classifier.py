"""Our models in GORMPO's loop: one scale for threshold and score, arrays and tensors alike."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density import KNN, VAE
from gormpo_density.base import FLOOR
from gormpo_density.compat import as_gormpo_classifier
from gormpo_density.errors import NotCalibratedError, NotFittedError


def transition_penalty(classifier: dict[str, Any], rows: Any, kind: str) -> np.ndarray:
    """Penalty of their TransitionModel: only the score is standardised, not the threshold."""
    score = classifier["model"].score_samples(rows, "cuda")
    score = score.detach().cpu().numpy() if isinstance(score, Tensor) else score
    assert "name" not in classifier  # it means something else there
    if classifier.get("mean") is not None and classifier.get("std") is not None:
        score = (score - classifier["mean"]) / classifier["std"]
    low = classifier["thr"] - score
    if kind == "tanh":
        return np.clip(np.tanh(0.1 * low), 0, None)
    with np.errstate(over="ignore"):
        inverse = np.exp(classifier["thr"]) / (np.exp(score) + 1e-6)
    return np.where(low > 0, inverse, 0.0)


RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(400, 4)).astype(np.float32)
#: From well inside to far out.
ROWS = (np.geomspace(0.1, 30, 60)[:, None] * RNG.normal(size=(60, 4))).astype(np.float32)


@pytest.fixture(scope="module", params=["knn", "vae"])
def model(request):
    made = {"knn": lambda: KNN(4), "vae": lambda: VAE(4, 2, [8])}[request.param]()
    made.fit(NORMAL[:200], NORMAL[200:250], **({"epochs": 2} if request.param == "vae" else {}))
    made.calibrate(NORMAL[250:], alpha=0.1)
    return made


@pytest.mark.parametrize("kind", ["tanh", "inverse"])
@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy])
def test_their_penalty_is_positive_just_where_a_row_is_an_anomaly(model, kind, as_kind):
    penalty = transition_penalty(as_gormpo_classifier(model), as_kind(ROWS), kind)
    flagged = model.predict_anomaly(ROWS)
    assert 0 < flagged.sum() < len(ROWS)
    np.testing.assert_array_equal(penalty > 0, flagged)


def test_other_code_of_theirs_compares_raw_scores_with_the_threshold(model):
    classifier = as_gormpo_classifier(model)
    scores = classifier["model"].score_samples(ROWS)
    np.testing.assert_array_equal(scores, model.score_samples(ROWS))
    assert classifier["thr"] == classifier["model"].threshold == model.threshold
    assert (classifier["mean"], classifier["std"]) == (0.0, 1.0)


def test_a_tensor_gives_a_tensor_and_an_array_an_array(model):
    ours = as_gormpo_classifier(model)["model"]
    tensor = torch.from_numpy(ROWS).double()
    for name in ("score_samples", "predict", "predict_anomaly"):
        array, other = getattr(ours, name)(ROWS), getattr(ours, name)(tensor)
        assert isinstance(array, np.ndarray)
        assert isinstance(other, torch.Tensor)
        np.testing.assert_array_equal(array, other.numpy())
    assert set(ours.predict(ROWS)) == {-1, 1}
    np.testing.assert_array_equal(ours.predict(ROWS), model.predict(ROWS))


def test_a_rollout_that_diverges_is_the_least_normal(model):
    ours = as_gormpo_classifier(model)["model"]
    bad = np.full((2, 4), np.nan)
    assert ours.score_samples(bad).tolist() == pytest.approx([FLOOR, FLOOR])
    assert ours.predict(bad).tolist() == [-1, -1]


def test_their_percentiles_are_thresholds_of_the_calibration_rows(model):
    candidates = as_gormpo_classifier(model)["threshold_candidates"]
    assert list(candidates) == [1, 5, 10, 15, 20]
    assert candidates[10] == model.calibration.threshold
    shares = [(model.score_samples(NORMAL[250:]) < thr).mean() for thr in candidates.values()]
    assert shares == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2], abs=0.011)


def test_a_threshold_set_by_hand_is_enough(model):
    bare = KNN(4)
    bare.fit(NORMAL)
    with pytest.raises(NotCalibratedError):
        as_gormpo_classifier(bare)
    bare.threshold = -1.0
    classifier = as_gormpo_classifier(bare)
    assert (classifier["thr"], classifier["threshold_candidates"]) == (-1.0, {})
    fresh = KNN(4)
    fresh.threshold = -1.0
    with pytest.raises(NotFittedError):
        as_gormpo_classifier(fresh)

import pytest
import torch

from gormpo_density.errors import ConfigError, DataError, NotFittedError, ShapeError
from gormpo_density.models.ensemble import Ensemble
from gormpo_density.models.vae_lstm import VAELSTM
from gormpo_density.penalty import OODPenalty
from gormpo_density.persistence import load_model
from gormpo_density.registry import make_model

SMALL = {"latent_dim": 2, "hidden_dims": [8], "lstm_hidden_dim": 4}


@pytest.fixture
def model():
    return VAELSTM(3, window=2, sequence_length=4, **SMALL)


def test_the_event_is_the_whole_sequence(model):
    assert model.event_shape == (8, 3)
    assert (model.n_features, model.window, model.sequence_length) == (3, 2, 4)


def test_a_sequence_model_is_made_from_an_event_shape():
    model = make_model("vae_lstm", input_dim=(8, 3), window=2, **SMALL)
    assert model.params() == VAELSTM(3, window=2, sequence_length=4, **SMALL).params()
    assert make_model("vae_lstm", input_dim=[8, 3], **SMALL).sequence_length == 8
    by_itself = make_model("vae_lstm", n_features=3, sequence_length=5, **SMALL)
    assert by_itself.event_shape == (5, 3)


def test_an_ensemble_hands_the_event_shape_down():
    ensemble = Ensemble({"name": "vae_lstm", "window": 2, **SMALL}, k=2, input_dim=(8, 3))
    assert ensemble.event_shape == (8, 3)
    again = Ensemble(**ensemble.params())
    assert again.members[1].params() == ensemble.members[0].params()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"input_dim": 3}, r"VAELSTM scores sequences: input_dim must be \(L, D\), is 3"),
        ({"input_dim": (3,)}, r"input_dim must be \(L, D\)"),
        (
            {"input_dim": (7, 3), "window": 2},
            r"window 2 scores .* \(6, 3\), input_dim is \(7, 3\)",
        ),
        ({"input_dim": (8, 3), "n_features": 2}, r"scores sequences \(8, 2\)"),
        ({"input_dim": (8, 3), "window": 0}, "window must be an integer > 0, is 0"),
        ({"input_dim": (8, 3), "window": 9}, "sequence_length must be an integer > 0, is 0"),
        ({"input_dim": (8, 3), "window": 8}, "sequence_length must be at least 2, is 1"),
        ({"input_dim": (8, 3), "windw": 2}, "windw"),
        ({"n_features": 0, "window": 1.5}, r"n_features .*is 0\nwindow .*is 1.5"),
    ],
)
def test_wrong_sizes_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        make_model("vae_lstm", **params)


def test_a_state_begins_with_nothing_or_with_a_history(model):
    x = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0))
    empty = model.init_state(5)
    assert all(len(tensor) == 5 and not tensor.any() for tensor in empty)
    assert all(len(tensor) == 1 for tensor in model.init_state())
    for old, new in zip(empty, model.init_state(x[:, :0]), strict=True):
        assert torch.equal(old, new)
    _, stepped = model.step(x[:, :2], empty)
    for old, new in zip(stepped, model.init_state(x[:, :2]), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("shape", [(5, 3, 3), (8, 3), (5, 4, 2)])
def test_a_history_of_another_shape_is_refused(model, shape):
    with pytest.raises(ShapeError):
        model.init_state(torch.zeros(shape))


def test_a_window_of_another_shape_is_refused(model):
    with pytest.raises(ShapeError, match=r"window_t must have shape \(B, 2, 3\)"):
        model.step(torch.zeros(5, 3, 3), model.init_state(5))


def fitted() -> VAELSTM:
    model = VAELSTM(3, window=1, sequence_length=4, **SMALL)
    x = torch.randn(60, 4, 3, generator=torch.Generator().manual_seed(1))
    model.fit(x[:40], x[40:], epochs=1, seed=0)
    return model


def test_single_steps_have_a_threshold_of_their_own_that_is_saved(tmp_path):
    model = fitted()
    x = torch.randn(99, 3, 3, generator=torch.Generator().manual_seed(2))
    state = model.init_state(x[:, :2])
    calibration = model.calibrate_steps(x[:, 2:], state, alpha=0.1, n_episodes=7)
    with torch.no_grad():
        scores, _ = model.step(x[:, 2:], state)
    assert torch.equal(calibration.scores, scores.sort().values)
    assert calibration.threshold == scores.sort().values[9]
    first, _ = model.step(x[:, 2:], model.init_state(99))
    found = model.calibrations[model.FIRST_STEP].scores
    torch.testing.assert_close(found, first.detach().sort().values)
    assert model.calibration is None  # that of whole sequences
    model.save(tmp_path)
    again = load_model(tmp_path).calibrations[model.STEP]
    assert torch.equal(again.scores, calibration.scores)
    assert (again.alpha, again.threshold, again.n_episodes) == (0.1, calibration.threshold, 7)


def test_a_penalty_of_known_scores_is_that_of_the_rows():
    model = fitted()
    x = torch.randn(99, 4, 3, generator=torch.Generator().manual_seed(3))
    model.calibrate(x)
    penalty = OODPenalty(model, coef=2.0)
    for found, expected in zip(
        penalty.of_score(model.score_samples(2 * x)), penalty.with_surprise(2 * x), strict=True
    ):
        assert torch.equal(found, expected)


def test_steps_that_cannot_be_calibrated_are_told(model):
    with pytest.raises(NotFittedError):
        model.calibrate_steps(torch.zeros(5, 2, 3), model.init_state(5))
    bad = torch.zeros(5, 1, 3)
    bad[2, 0, 1] = torch.nan
    with pytest.raises(DataError, match="window_t"):
        fitted().calibrate_steps(bad, fitted().init_state(5))
    with pytest.raises(ShapeError):
        fitted().calibrate_steps(torch.zeros(5, 3), fitted().init_state(5))

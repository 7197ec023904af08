"""Models built to fit windows, and what a fitted one says of windows."""

import numpy as np
import pytest
import torch

from gormpo_density import TimeSeriesDetector
from gormpo_density.errors import ConfigError
from gormpo_density.registry import make_model
from gormpo_density.timeseries.baselines import available_baselines, make_baseline
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.scorer import (
    WindowScorer,
    build_model,
    describe,
    local_window,
    window_of,
)
from gormpo_density.timeseries.windows import collection_windows

LSTM = {"name": "vae_lstm", "window": 3, "latent_dim": 2, "hidden_dims": [4]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("vae", None),
        ({"name": "vae"}, None),
        ({"name": "vae", "input_dim": None}, None),
        ({"name": "vae", "input_dim": 2}, 1),
        ({"name": "vae", "input_dim": 10}, 5),
        ({"name": "vae", "input_dim": [5, 2]}, 5),
        ({"name": "vae", "input_dim": (2, 5)}, 5),
        ({**LSTM, "sequence_length": 4}, 12),
        ({"name": "vae_lstm", "sequence_length": 4}, 4),
        (LSTM, None),
        ({"name": "ensemble", "model": {**LSTM, "sequence_length": 4}}, 12),
        ({"name": "ensemble", "model": "vae"}, None),
        (
            {
                "name": "ensemble",
                "model": {"name": "ensemble", "model": make_model("knn", input_dim=6)},
            },
            3,
        ),
        (make_model("knn", input_dim=(4, 2)), 4),
        (make_baseline("pca", 2), 1),
    ],
)
def test_a_model_may_decide_the_window(spec, expected):
    assert window_of(spec, n_channels=2) == expected


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"name": "vae", "input_dim": 5}, "takes 5 values, not a whole number of steps of 2 chan"),
        ({"name": "vae", "input_dim": 0}, "input_dim must be D or"),
        ({"name": "vae", "input_dim": "all"}, "input_dim must be D or"),
        ({"name": "vae_lstm", "sequence_length": 0}, "sequence_length must be an integer above 0"),
        ({**LSTM, "window": 1.5, "sequence_length": 2}, "window must be an integer .* is 1.5"),
        ({"name": "ensemble", "model": {"input_dim": -1}}, "input_dim must be D or"),
    ],
)
def test_sizes_that_are_none(spec, text):
    with pytest.raises(ConfigError, match=text):
        window_of(spec, n_channels=2)


def test_only_sequence_models_have_windows_of_their_own():
    assert local_window(LSTM) == 3
    assert local_window({"name": "ensemble", "model": LSTM}) == 3
    assert local_window("vae_lstm") == local_window(make_model("knn", input_dim=4)) == 1


@pytest.mark.parametrize("name", ["vae", "realnvp", "knn", "recurrent_ae", "vae_lstm", "ensemble"])
def test_a_name_is_built_for_the_windows(name):
    assert build_model(name, 6, 2, "cpu").event_shape == (6, 2)


def test_a_sequence_model_gets_whole_windows_of_its_own():
    model = build_model(LSTM, 6, 2, "cpu")
    assert (model.n_features, model.window, model.sequence_length) == (2, 3, 2)
    members = build_model({"name": "ensemble", "k": 2, "model": LSTM}, 6, 2, "cpu").members
    assert [member.sequence_length for member in members] == [2, 2]


def test_members_of_members_are_built_for_the_windows():
    inner = {"name": "ensemble", "k": 1, "model": {"name": "knn"}}
    model = build_model({"name": "ensemble", "k": 1, "model": inner}, 6, 2, "cpu")
    assert model.members[0].members[0].event_shape == (6, 2)


def test_a_model_of_rows_as_long_as_a_window_fits():
    assert build_model(make_model("knn", input_dim=12), 6, 2, "cpu").event_shape == (12,)
    with pytest.raises(ConfigError, match=r"the model takes \(12,\), windows are \(5, 2\)"):
        build_model(make_model("knn", input_dim=12), 5, 2, "cpu")


@pytest.mark.parametrize("name", [*available_baselines(), "vae", "vae_lstm", "ensemble"])
def test_a_description_makes_the_model_again(name):
    model = build_model(name, 6, 2, "cpu")
    again = build_model(describe(model), 6, 2, "cpu")
    assert type(again) is type(model)
    assert describe(again) == describe(model)


# What it says of windows ------------------------------------------------------------------


class OfChannels:
    """A surrogate that is -sum_d weight_d sum_t |z_td|, and counts what it is asked."""

    scores = {"score": "surrogate", "log_prob": "exact"}  # noqa: RUF012
    event_shape = (3, 2)

    def __init__(self, weights):
        self.weights, self.asked = np.array(weights), 0

    def score_samples(self, z, name):
        self.asked += len(z)
        return -(np.abs(z).sum(1) @ self.weights)


def scorer(model, references, scale=(1.0, 1.0)):
    scaler = Scaler("standard", np.zeros(2), np.array(scale), np.zeros(2))
    return WindowScorer(model, scaler, 3, 2, None, True, np.asarray(references, np.float32))


def test_densities_change_with_the_units_and_surrogates_do_not():
    z = np.ones((2, 3, 2), np.float32)
    found = scorer(OfChannels([1, 1]), z, scale=(2.0, 5.0))
    np.testing.assert_allclose(found.score(z, "score"), [-6, -6])
    np.testing.assert_allclose(found.score(z, "log_prob"), -6 - 3 * np.log(10) * np.ones(2))


def test_a_channel_counts_what_the_likest_reference_would_gain():
    # In channel 1 the window is like the second reference, whose channel 0 is 4.
    references = np.stack([np.tile([1.0, 1.0], (3, 1)), np.tile([4.0, 7.0], (3, 1))])
    window = np.tile([9.0, 6.0], (1, 3, 1)).astype(np.float32)
    model = OfChannels([1, 10])
    gains = scorer(model, references).occlusion(collection_windows(window, "x"), "score")
    np.testing.assert_allclose(gains, [[3 * (9 - 4), 3 * 10 * (6 - 7)]])
    assert model.asked == 3  # D + 1 scores a window


def test_a_normal_window_has_gains_of_about_nothing():
    windows = np.random.default_rng(0).normal(size=(20, 3, 2)).astype(np.float32)
    gains = scorer(OfChannels([1, 1]), windows).occlusion(
        collection_windows(windows, "x"), "score"
    )
    np.testing.assert_allclose(gains, 0, atol=1e-6)


def test_many_windows_are_scored_as_few_are(monkeypatch):
    windows = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    few = scorer(OfChannels([1, 2]), windows[:5])
    cut = collection_windows(windows, "x")
    scores, gains = few.score_all(cut, "score"), few.occlusion(cut, "score")
    monkeypatch.setattr("gormpo_density.timeseries.windows._CHUNK_VALUES", 7 * 6)
    monkeypatch.setattr("gormpo_density.timeseries.scorer._OCCLUDED_AT_A_TIME", 4)
    np.testing.assert_array_equal(few.score_all(cut, "score"), scores)
    np.testing.assert_array_equal(few.occlusion(cut, "score"), gains)


def test_building_leaves_global_randomness_alone():
    before = torch.get_rng_state()
    build_model("vae", 6, 2, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_references_are_windows_of_the_training_part():
    x = np.arange(400.0)[:, None]
    detector = TimeSeriesDetector("constant", window=4, scaler=None)
    detector.fit(x)
    references = detector._scorer.references
    assert references.shape == (317, 4, 1)
    assert references.max() == 319  # rows 320 on are held out

"""Every model and every baseline keeps the detector's promises, on series and on collections."""

import functools
import random

import numpy as np
import pytest
import torch

from gormpo_density import TimeSeriesDetector
from gormpo_density.registry import available_models
from gormpo_density.timeseries.baselines import available_baselines

WINDOW = 6
SPIKE = 40
#: Small and fast parameters of every model, without its size. A new model needs an entry.
TRAINED = {
    "cnf": {"hidden_dims": [8, 8], "steps": 1},
    "diffusion": {"hidden_dims": [16], "timesteps": 50, "draw_pairs": 8},
    "ensemble": {"k": 2, "model": {"name": "realnvp", "num_layers": 2, "hidden_dims": [8]}},
    "pca_flow": {"n_components": 4, "num_layers": 2, "hidden_dims": [8]},
    "realnvp": {"num_layers": 2, "hidden_dims": [8]},
    "recurrent_ae": {"latent_dim": 4},
    "vae": {"latent_dim": 2, "hidden_dims": [8]},
    "vae_lstm": {"window": 2, "latent_dim": 2, "hidden_dims": [8], "lstm_hidden_dim": 4},
}
CLOSED = {"gmm": {"n_components": 2}, "kde": {}, "knn": {}}
MODELS = {**TRAINED, **CLOSED, **{name: {} for name in available_baselines()}}
#: They cannot tell a spike from normal data, or not every time.
BLIND = {"random", "constant", "isolation_forest"}
SEEING = sorted(MODELS.keys() - BLIND)
SHAPES = {"one": (300,), "three": (300, 3), "collection": (80, WINDOW, 3)}

pytestmark = pytest.mark.usefixtures("_quiet")


@pytest.fixture
def _quiet(caplog):
    """The small calibration parts warn, which is tested elsewhere."""
    caplog.set_level("ERROR")


def waves(shape, seed=0):
    """Return a noisy sine, in windows where they are asked for, each channel in its own units."""
    n_channels = 1 if len(shape) == 1 else shape[-1]
    t = np.arange(int(np.prod(shape)) // n_channels)[:, None]
    x = np.sin(0.5 * t) + 0.2 * np.random.default_rng(seed).normal(size=(len(t), n_channels))
    return (7 + x * [1, 100, 0.01][:n_channels]).reshape(shape)


def fit(name, kind, **arguments):
    given = {} if kind == "collection" else {"window": WINDOW}
    detector = TimeSeriesDetector({"name": name, **MODELS[name]}, **given, **arguments)
    options = {"epochs": 3, "batch_size": 64} if name in TRAINED else {}
    detector.fit(waves(SHAPES[kind]), val_ratio=0.15, cal_ratio=0.25, seed=1, **options)
    return detector


@functools.cache
def fitted(name, kind, aggregation="mean"):
    """Return a detector that tests share and must not change."""
    return fit(name, kind, aggregation=aggregation)


def spiked(kind, channel=0):
    """Return new data with a spike in one channel at row or window SPIKE."""
    shape = SHAPES[kind]
    x = waves(shape, seed=2)
    size = 30 * np.ptp(x if x.ndim == 1 else x[..., channel])
    x[{"one": (SPIKE,), "three": (SPIKE, channel)}.get(kind, (SPIKE, 2, channel))] += size
    return x


def test_every_model_is_checked():
    assert set(MODELS) == {*available_models(), *available_baselines()}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_every_point_has_a_finite_score(name, kind):
    detector, x = fitted(name, kind), spiked(kind)
    for score in detector.scores:
        scores = detector.score_samples(x, score)
        assert scores.shape == x.shape[:1]
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(detector.anomaly_score(x, score), -scores)
    assert set(detector.thresholds) == set(detector.stream_thresholds) == set(detector.scores)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", SEEING)
def test_a_spike_scores_lowest_and_is_an_event(name, kind):
    detector, x = fitted(name, kind), spiked(kind)
    away = np.abs(np.arange(len(x)) - SPIKE) >= (1 if kind == "collection" else WINDOW)
    scores = detector.score_samples(x)
    assert scores[SPIKE] < scores[away].min()
    assert detector.predict_anomaly(x)[SPIKE]
    if kind != "collection":
        assert [SPIKE in range(len(x))[e.rows] for e in detector.events(x)].count(True) == 1


@pytest.mark.parametrize("kind", ["three", "collection"])
@pytest.mark.parametrize("name", SEEING)
def test_the_channel_of_a_spike_is_named(name, kind):
    detector = fitted(name, kind)
    for channel in range(3):
        x = spiked(kind, channel)
        gains = detector.attribution(x)
        assert gains.shape == (len(x), 3)
        assert gains[SPIKE].argmax() == channel
        assert gains[SPIKE, channel] > 0


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_verdicts_follow_the_threshold(name, kind):
    detector, x = fitted(name, kind), spiked(kind)
    flagged = detector.score_samples(x) < detector.threshold
    np.testing.assert_array_equal(detector.predict_anomaly(x), flagged)
    np.testing.assert_array_equal(detector.predict(x), np.where(flagged, -1, 1))
    np.testing.assert_array_equal(detector.decision_function(x) < 0, flagged)
    assert detector.threshold == detector.thresholds[detector.default_score].value
    if kind == "collection":
        return
    events = detector.events(x)
    held = np.zeros(len(x), dtype=bool)
    for event in events:
        held[event.rows] = True
        assert flagged[[event.start, event.end, event.peak]].all()
    assert (held | ~flagged).all()


@pytest.mark.parametrize("name", MODELS)
def test_tensors_are_answered_with_tensors(name):
    detector, x = fitted(name, "three"), spiked("three")
    of_tensor = detector.score_samples(torch.from_numpy(x))
    assert isinstance(of_tensor, torch.Tensor)
    np.testing.assert_array_equal(of_tensor.numpy(), detector.score_samples(x))
    assert detector.predict_anomaly(torch.from_numpy(x)).dtype == torch.bool


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_gives_the_causal_scores(name):
    detector, x = fitted(name, "three", "causal"), spiked("three")[:80]
    x[50, 1] = np.nan
    for score in detector.scores:
        stream, causal = detector.stream(score), detector.score_samples(x, score)
        streamed = [stream.update(row) for row in x]
        np.testing.assert_allclose(streamed, causal, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(np.isnan(causal[:WINDOW]), [True] * (WINDOW - 1) + [False])
        assert stream.threshold == detector.thresholds[score].value


@pytest.mark.parametrize("kind", ["three", "collection"])
@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"isolation_forest"}))
def test_saving_keeps_everything(name, kind, tmp_path):
    detector, x = fitted(name, kind), spiked(kind)
    detector.save(tmp_path)
    loaded = TimeSeriesDetector.load(tmp_path)
    for score in detector.scores:
        np.testing.assert_array_equal(
            loaded.score_samples(x, score), detector.score_samples(x, score)
        )
    np.testing.assert_array_equal(loaded.attribution(x), detector.attribution(x))
    assert list(loaded.scores) == list(detector.scores)
    assert loaded.thresholds == detector.thresholds
    assert loaded.stream_thresholds == detector.stream_thresholds
    for score, calibration in detector.calibrations.items():
        assert torch.equal(loaded.calibrations[score].scores, calibration.scores)
    if kind != "collection":
        streams = [each.stream() for each in (loaded, detector)]
        for row in x[:20]:
            np.testing.assert_equal(*(stream.update(row) for stream in streams))


def _random_states():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_decides_everything_and_global_randomness_is_left_alone(name):
    kind = "collection"  # its split is drawn too
    x, first, before = spiked(kind), fitted(name, kind), _random_states()
    second = fit(name, kind)
    np.testing.assert_array_equal(first.score_samples(x), second.score_samples(x))
    assert second.thresholds == first.thresholds
    second.attribution(x)
    assert _random_states() == before


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", TRAINED)
def test_a_killed_fit_goes_on_as_if_it_had_not_been(name, tmp_path):
    def kill(epoch, row):
        if epoch == 2:
            raise Killed

    x, options = waves(SHAPES["one"]), {"epochs": 3, "seed": 1, "val_ratio": 0.15}
    spec = {"name": name, **MODELS[name]}
    whole, resumed = (TimeSeriesDetector(spec, window=WINDOW) for _ in range(2))
    history = whole.fit(x, **options)
    with pytest.raises(Killed):
        resumed.fit(x, checkpoint=tmp_path / "state.safetensors", on_epoch=kill, **options)
    assert resumed.fit(x, checkpoint=tmp_path / "state.safetensors", **options) == history
    np.testing.assert_array_equal(resumed.score_samples(x), whole.score_samples(x))
    assert resumed.thresholds == whole.thresholds

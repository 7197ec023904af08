"""What a detector says to arguments, data and times it cannot use."""

import math

import numpy as np
import pytest

from gormpo_density import TimeSeriesDetector
from gormpo_density.errors import ConfigError, DataError, NotFittedError, ShapeError

RNG = np.random.default_rng


def noise(n=400, n_channels=2, seed=0):
    return RNG(seed).normal(size=(n, n_channels))


def fitted(model="zscore", data=None, window=4, fit=None, **arguments):
    detector = TimeSeriesDetector(model, window=window, **arguments)
    detector.fit(noise() if data is None else data, **fit or {})
    return detector


def holed(rows):
    x = noise()
    x[rows, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"alpha": 0}, r"alpha must be in \(0, 1\), is 0"),
        ({"alpha": 1.5}, r"alpha must be in \(0, 1\), is 1.5"),
        ({"alpha": math.nan}, "alpha must be"),
        ({"alpha": "few"}, "alpha must be .* is 'few'"),
        ({"window": 0}, "window must be 'auto' or an integer above 0, is 0"),
        ({"window": "long"}, "window must be 'auto'"),
        ({"window": 2.0}, "window must be 'auto'"),
        ({"stride": True}, "stride must be an integer above 0, is True"),
        ({"scaler": "robust"}, "scaler 'robust' is unknown; choose from standard, minmax, None"),
        ({"aggregation": "median"}, "aggregation 'median' is unknown; choose from mean, max"),
        ({"threshold": "best"}, "threshold 'best' is unknown; choose from conformal"),
        ({"model": 5}, "model must be a name, a mapping or a model, is 5"),
        ({"model": None}, "model must be a name"),
        ({"alpha": 2, "stride": 0}, "alpha must be.*"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ConfigError, match=text):
        TimeSeriesDetector(**arguments)


def test_all_bad_arguments_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        TimeSeriesDetector(alpha=2, stride=0, scaler="x")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("vea", "model 'vea' is unknown, did you mean 'vae'"),
        ({"latent_dim": 2}, "the model has no name"),
        ({"name": "vae", "latent_dims": 2}, "model 'vae': .*latent_dims"),
        ({"name": "kmeans", "k": 2}, "baseline 'kmeans': .*'k'"),
        ({"name": "ensemble", "model": {"window": 2}}, "the model has no name"),
        ({"name": "knn", "input_dim": "big"}, "input_dim must be D or"),
        ({"name": "knn", "input_dim": 5}, "5 values, not a whole number of steps of 2 channels"),
        ({"name": "knn", "input_dim": (5, 2)}, "window is 4, the model is made for 5 rows"),
        ({"name": "vae_lstm", "window": 3}, "window is 4, no multiple of the model's own 3"),
        ({"name": "vae_lstm", "window": 0}, "the model's window must be an integer above 0, is 0"),
        ({"name": "vae_lstm", "sequence_length": "x"}, "sequence_length must be an integer"),
    ],
)
def test_bad_models(model, text):
    with pytest.raises(ConfigError, match=text):
        fitted(model)


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        ("zscore", {"epoch": 3}, "fit has no option 'epoch'"),
        ("vae", {"epoch": 3}, "fit has no option 'epoch', did you mean 'epochs'"),
        ("vae", {"epochs": 0}, "epochs must be at least 1, is 0"),
        ("zscore", {"val_ratio": 0}, r"val_ratio must be in \(0, 1\), is 0"),
        ("zscore", {"val_ratio": 0.5, "cal_ratio": 0.6}, "val_ratio \\+ cal_ratio must be below"),
    ],
)
def test_bad_options_of_fit(model, options, text):
    with pytest.raises(ConfigError, match=text):
        fitted(model, fit=options)


def test_an_unknown_score_is_told_before_training():
    with pytest.raises(ConfigError, match="score 'nll' is unknown; choose from elbo"):
        fitted(
            "vae",
            score="nll",
            fit={"epochs": 3, "on_epoch": lambda epoch, row: pytest.fail("it was trained")},
        )


@pytest.mark.parametrize(
    ("data", "options", "text"),
    [
        (noise(30), {}, "30 rows are too few for windows of 4: .* about 80 rows would do"),
        (noise(2), {}, "2 rows are too few"),
        (noise(0), {}, "0 rows are too few"),
        (noise() * np.nan, {}, r"channels \[0, 1\] hold nothing but NaN in the training part"),
        (holed(slice(None, None, 3)), {}, "the train part .* no window of 4 rows fits, .* has 2"),
        (holed(slice(330, None)), {}, r"the cal part .*\(rows 364 to 399\): no window of 4 rows"),
        (np.full((40, 4, 2), np.nan), {}, "train: all 40 windows hold NaN"),
        (np.zeros((0, 4, 2)), {}, "0 windows are too few"),
        (noise(12).reshape(3, 4, 2), {}, "3 windows are too few"),
        (noise().tolist(), {}, "train must be a numpy array or a tensor, got list"),
        (np.where(noise() > 3, np.inf, noise()), {}, r"train row \d+ channel \d is inf"),
        (noise(), {"timestamps": np.arange(400)[::-1]}, "timestamps row 1 is 398, not after"),
        (noise(), {"timestamps": np.arange(400) // 2}, "timestamps row 1 is 0, not after row 0"),
        (noise().reshape(100, 4, 2), {"timestamps": np.arange(100)}, "timestamps belong to a ser"),
    ],
)
def test_bad_training_data(data, options, text):
    with pytest.raises(DataError, match=text):
        fitted(data=data, fit=options)


def test_timestamps_of_another_length():
    with pytest.raises(ShapeError, match=r"timestamps must have shape \(400,\), got \(399,\)"):
        fitted(fit={"timestamps": np.arange(399)})
    with pytest.raises(ShapeError, match=r"timestamps must have shape \(50,\), got \(3,\)"):
        fitted().score_samples(noise(50), timestamps=np.arange(3))


def test_a_collection_of_another_window():
    with pytest.raises(ConfigError, match="window is 4, the collection's windows have 5 rows"):
        fitted(data=RNG(0).normal(size=(50, 5, 2)))


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (noise(3), DataError, "x has 3 rows, a window needs 4"),
        (noise(50, 3), ShapeError, "x has 3 channels, the detector 2"),
        (noise(50)[:, 0], ShapeError, "x has 1 channels, the detector 2"),
        (noise(48).reshape(12, 4, 2), ShapeError, r"x must have shape \(L, 2\), got \(12, 4, 2\)"),
        (holed(range(0, 400, 2)), DataError, "x: no window of 4 rows fits"),
        (np.full((9, 2), np.inf), DataError, "x row 0 channel 0 is inf"),
    ],
)
def test_bad_data_to_score(x, error, text):
    detector = fitted()
    for judge in (detector.score_samples, detector.predict, detector.attribution, detector.events):
        with pytest.raises(error, match=text):
            judge(x)


def test_a_detector_of_windows_judges_no_series():
    detector = fitted(data=RNG(0).normal(size=(50, 4, 2)), window="auto")
    with pytest.raises(ShapeError, match=r"x must have shape \(n, 4, 2\), got \(50, 2\)"):
        detector.score_samples(noise(50))
    with pytest.raises(ShapeError, match=r"x must have shape \(n, 4, 2\), got \(9, 5, 2\)"):
        detector.score_samples(np.zeros((9, 5, 2)))
    with pytest.raises(DataError, match="events are those of a series"):
        detector.events(np.zeros((9, 4, 2)))
    with pytest.raises(DataError, match="no stream of points"):
        detector.stream()


@pytest.mark.parametrize(
    "use", ["score_samples", "anomaly_score", "predict", "events", "attribution", "calibrate"]
)
def test_nothing_is_judged_before_fit(use):
    with pytest.raises(NotFittedError, match="TimeSeriesDetector: call fit or load first"):
        getattr(TimeSeriesDetector(), use)(noise())


@pytest.mark.parametrize("what", ["model", "scaler", "window_length", "n_channels"])
def test_nothing_is_known_before_fit(what):
    with pytest.raises(NotFittedError):
        getattr(TimeSeriesDetector(), what)


def test_bad_calibrations():
    detector = fitted()
    with pytest.raises(DataError, match=r"alpha must be in \(0, 1\), got 2"):
        detector.calibrate(noise(), alpha=2)
    with pytest.raises(ConfigError, match="score 'nll' is unknown"):
        detector.calibrate(noise(), score="nll")
    with pytest.raises(DataError, match="data has 3 rows"):
        detector.calibrate(noise(3))
    with pytest.raises(DataError, match="threshold must be finite"):
        detector.threshold = math.inf

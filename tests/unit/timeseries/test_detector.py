"""The detector: units, windows, holes and gaps, fitting."""

import numpy as np
import pytest
import torch

from gormpo_density import TimeSeriesDetector
from gormpo_density.errors import ConfigError, NotFittedError, ShapeError
from gormpo_density.registry import make_model
from gormpo_density.timeseries.baselines import make_baseline

RNG = np.random.default_rng
VAE = {"name": "vae", "latent_dim": 1, "hidden_dims": [4]}


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


# Scores -----------------------------------------------------------------------------------


def test_densities_are_in_units_of_the_data():
    x, new = noise(), noise(50, seed=1)
    for scaler in ("standard", "minmax", None):
        score = fitted("gmm", x, scaler=scaler).score_samples(new)
        scaled = fitted("gmm", 10 * x + 3, scaler=scaler).score_samples(10 * new + 3)
        np.testing.assert_allclose(scaled, score - 4 * 2 * np.log(10), rtol=1e-3)


def test_surrogates_have_no_units():
    x, new = noise(), noise(50, seed=1)
    score = fitted("median_distance", x).score_samples(new)
    np.testing.assert_allclose(fitted("median_distance", 9 * x).score_samples(9 * new), score)


def test_a_window_of_one_row_scores_rows():
    x, new = noise(), noise(50, seed=1)
    detector = fitted(make_model("gmm", input_dim=2), x, "auto", scaler=None)
    model = make_model("gmm", input_dim=2)
    model.fit(x[:320], x[321:360])
    assert detector.window_length == 1
    np.testing.assert_allclose(detector.score_samples(new), model.score_samples(new), rtol=1e-6)


@pytest.mark.parametrize("aggregation", ["mean", "max", "causal"])
def test_aggregations_agree_where_one_window_is_all_there_is(aggregation):
    detector = fitted(aggregation=aggregation)
    scores = detector.score_samples(noise(4, seed=1))
    first = 3 if aggregation == "causal" else 0
    assert np.isnan(scores[:first]).all()
    assert (scores[first:] == fitted().score_samples(noise(4, seed=1))[-1]).all()


def test_max_takes_the_worst_window_and_mean_lies_above():
    new = noise(60, seed=1)
    new[30] = 50
    mean, worst, causal = (
        fitted(aggregation=how).score_samples(new) for how in ("mean", "max", "causal")
    )
    assert (worst <= mean).all()
    assert (worst[27:34] == worst.min()).all()
    assert (causal[30:34] == worst.min()).all()
    assert causal[29] > worst.min() < causal[34]


def test_a_stride_leaves_every_point_a_score():
    detector = fitted(stride=3)
    assert np.isfinite(detector.score_samples(noise(60, seed=1))).all()


def test_a_stride_above_the_window_leaves_points_without_one():
    detector = fitted(stride=10)
    scores = detector.score_samples(noise(24, seed=1))
    np.testing.assert_array_equal(
        np.flatnonzero(np.isnan(scores)), [*range(4, 10), *range(14, 20)]
    )
    assert detector.calibration.n_episodes == 5  # windows, not stretches of their length


def test_holes_have_no_score_and_count_as_normal():
    new = holed([10, 11])[:60]
    new[40] = 50
    detector = fitted()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(detector.score_samples(new))), [10, 11])
    assert detector.predict(new)[10] == 1
    assert np.isnan(detector.attribution(new)[10]).all()


def test_no_window_crosses_a_gap_in_time():
    times = np.arange(60.0)
    times[20:] += 100
    times[23:] += 100  # three rows alone
    detector = fitted(fit={"timestamps": np.arange(400.0)})
    scores = detector.score_samples(noise(60, seed=1), timestamps=times)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scores)), [20, 21, 22])


def test_events_tell_their_times_and_end_at_gaps():
    new, times = noise(60, seed=1), np.arange(60.0)
    new[18:22] = 50
    times[20:] += 100
    events = fitted(fit={"timestamps": np.arange(400.0)}).events(new, times)
    assert [(e.start <= 18, e.end) for e in events[:1]] == [(True, 19)]
    assert (events[1].start, events[1].start_time) == (20, 120.0)
    assert fitted().events(new)[0].start_time is None


def test_a_training_series_with_holes_is_used_around_them(caplog):
    whole, partly = fitted(), fitted(data=holed(slice(100, 103)))
    assert len(partly.calibration.scores) == len(whole.calibration.scores)
    assert partly.scaler.offset[1] == pytest.approx(np.nanmean(holed(slice(100, 103))[:320, 1]))


def test_a_constant_channel_is_told_and_a_change_of_it_is_seen(caplog):
    x = noise(400, 3)
    x[:, 1] = 7
    detector = fitted("pca", x)
    assert "constant channels [1]" in caplog.text
    new = noise(50, 3, seed=1)
    new[:, 1] = 7
    calm = detector.score_samples(new)
    assert np.isfinite(calm).all()
    new[25, 1] = 1000
    assert detector.score_samples(new)[25] <= calm.min()


def test_a_reading_beyond_all_bounds_is_an_anomaly():
    new = noise(50, seed=1)
    new[25, 0] = 1e38  # infinite once it is scaled, as float32
    assert fitted("gmm", 1e-3 * noise()).predict_anomaly(new)[25]


def test_the_window_is_the_period_in_whole_windows_of_the_model():
    wave = np.sin(2 * np.pi * np.arange(800) / 21)[:, None] + 0.1 * noise(800, 1)
    assert fitted("zscore", wave, "auto").window_length == 21
    member = {"name": "vae_lstm", "window": 4, "latent_dim": 2, "hidden_dims": [4]}
    model = {"name": "ensemble", "k": 1, "model": {**member, "lstm_hidden_dim": 4}}
    short = {"epochs": 1, "batch_size": 512}
    assert fitted(model, wave, "auto", short).window_length == 20


def test_windows_with_nan_are_left_out_of_a_collection():
    windows = RNG(0).normal(size=(60, 4, 2))
    windows[::6, 2, 1] = np.nan
    detector = fitted(data=windows, window="auto", fit={"cal_ratio": 0.2})
    assert len(detector.calibration.scores) == 10
    unseen = np.isnan(detector.score_samples(windows))
    np.testing.assert_array_equal(np.flatnonzero(unseen), np.arange(0, 60, 6))
    assert detector.score_samples(windows[:0]).shape == (0,)


# Fitting ----------------------------------------------------------------------------------


def test_the_users_model_is_copied():
    model = make_baseline("zscore", (4, 2))
    detector = fitted(model)
    assert detector.model is not model
    with pytest.raises(NotFittedError):
        model.score_samples(noise(8).reshape(2, 4, 2))


def test_a_second_fit_forgets_the_first():
    once, twice = fitted(data=noise(seed=3)), fitted()
    twice.threshold = 0.0
    twice.fit(noise(seed=3))
    assert twice.threshold == once.threshold
    np.testing.assert_array_equal(twice.score_samples(noise()), once.score_samples(noise()))


def test_a_model_can_be_looked_at_only_while_it_is_trained():
    seen = []

    def look(epoch, row):
        seen.append(detector.in_training.model)
        raise KeyboardInterrupt

    detector = TimeSeriesDetector("zscore", window=4)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(noise(), on_epoch=look)
    assert len(seen) == 1
    assert detector.in_training is None


def test_the_named_score_decides():
    detector = fitted(VAE, score="reconstruction", fit={"epochs": 1})
    new, name = noise(20, seed=1), detector.default_score
    assert name == "reconstruction"
    np.testing.assert_array_equal(detector.score_samples(new), detector.score_samples(new, name))


def test_a_tensor_of_one_channel_may_come_flat():
    detector = fitted(data=torch.from_numpy(noise(400, 1)[:, 0]))
    assert detector.score_samples(torch.zeros(20)).shape == (20,)


def test_too_few_calibration_points_for_alpha_are_told_once(caplog):
    detector = fitted(VAE, noise(100), alpha=0.01, fit={"epochs": 1})
    assert [record.getMessage()[:59] for record in caplog.records] == [
        "6 calibration scores are too few for alpha=0.01 (99 needed)"
    ]
    assert detector.thresholds["elbo"].false_alarm_rate == pytest.approx(1 / 7)
    caplog.clear()
    detector.calibrate(noise(100), alpha=0.2)
    assert caplog.text == ""


@pytest.mark.parametrize("model", ["knn", "gmm", "pca", VAE])
def test_a_series_that_never_moves_flags_nothing_like_it(model, caplog):
    still = np.full((200, 1), 3.0)
    detector = fitted(model, still, fit={"epochs": 1} if model is VAE else {})
    assert "constant channels [0]" in caplog.text
    assert "nothing like them is flagged" in caplog.text
    assert not detector.predict_anomaly(still).any()


# Known anomalies --------------------------------------------------------------------------


def test_a_loss_that_tells_anomalies_apart_is_given_them_scaled():
    windows, anomalies = RNG(0).normal(50, 5, (60, 6, 1)), RNG(1).normal(80, 5, (9, 6, 1))
    model = {"name": "recurrent_ae", "latent_dim": 3, "loss": "mse_auc"}
    with pytest.raises(ConfigError, match="needs anomalies"):
        fitted(model, windows, "auto", {"epochs": 1})
    given = {}
    detector = TimeSeriesDetector(model)
    detector.fit(
        windows,
        anomalies=anomalies,
        epochs=1,
        on_epoch=lambda *_: given.update(z=detector.in_training.model._labelled["anomalies"]),
    )
    z = given["z"] * detector.model.standardizer.scale + detector.model.standardizer.mean
    assert detector.scaler.scale.item() * z.mean() + detector.scaler.offset.item() == (
        pytest.approx(80, abs=5)
    )
    with pytest.raises(ShapeError, match=r"anomalies must have shape \(m, 6, 1\)"):
        detector.fit(windows, anomalies=anomalies[:, :5], epochs=1)


def test_other_models_are_not_given_known_anomalies():
    windows, anomalies = RNG(0).normal(size=(60, 6, 1)), RNG(1).normal(9, 1, (9, 6, 1))
    first, second = TimeSeriesDetector(VAE), TimeSeriesDetector(VAE)
    first.fit(windows, epochs=1)
    second.fit(windows, anomalies=anomalies, epochs=1)
    np.testing.assert_array_equal(first.score_samples(windows), second.score_samples(windows))

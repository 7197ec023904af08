import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans as Clusters
from sklearn.decomposition import PCA as Directions
from sklearn.ensemble import IsolationForest as Forest

from gormpo_density.base import FLOOR
from gormpo_density.errors import (
    ConfigError,
    DataError,
    GormpoDensityError,
    NotCalibratedError,
    NotFittedError,
    ShapeError,
)
from gormpo_density.models.knn import KNN
from gormpo_density.timeseries.baselines import available_baselines, make_baseline

NAMES = available_baselines()
SHAPES = (3, 1, (4, 2), (5, 1))


def windows(n, shape, seed=0):
    shape = (shape,) if isinstance(shape, int) else shape
    units = 10.0 ** np.arange(shape[-1])
    return 5.0 + units * np.random.default_rng(seed).normal(size=(n, *shape))


def fitted(name, shape=(4, 2), seed=0, **params):
    baseline = make_baseline(name, shape, **params)
    baseline.fit(windows(100, shape), seed=seed)
    return baseline


# Known answers ----------------------------------------------------------------------------


def test_zscore_is_the_most_extreme_value():
    train = np.array([[[3.0], [-1.0]], [[3.0], [-1.0]]])  # mean 1, standard deviation 2
    baseline = make_baseline("zscore", (2, 1))
    baseline.fit(train)
    x = np.array([[[1.0], [1.0]], [[1.0], [7.0]], [[-5.0], [3.0]]])
    np.testing.assert_allclose(baseline.score_samples(x), [0.0, -3.0, -3.0])


def test_median_distance_is_a_mean_over_the_window():
    train = np.array([[[0.0], [0.0]], [[0.0], [4.0]]])  # median 0, standard deviation sqrt(3)
    baseline = make_baseline("median_distance", (2, 1))
    baseline.fit(train)
    x = np.array([[[0.0], [0.0]], [[3.0], [-1.0]]])
    np.testing.assert_allclose(baseline.score_samples(x), [0.0, -2.0 / np.sqrt(3)], atol=1e-12)


def test_nearest_is_the_distance_to_a_training_row():
    train = np.array([[-2.0], [2.0]])  # standard deviation 2
    baseline = make_baseline("nearest", 1)
    baseline.fit(train)
    np.testing.assert_allclose(
        baseline.score_samples(np.array([[-2.0], [0.5], [8.0]])), [0.0, -0.75, -3.0]
    )


def test_nearest_agrees_with_the_model_of_one_neighbour():
    model, x = KNN((4, 2), k=1), windows(30, (4, 2), seed=1)
    model.fit(windows(100, (4, 2)), x)
    np.testing.assert_allclose(
        fitted("nearest").score_samples(x), model.score_samples(x), rtol=1e-4
    )


def test_kmeans_is_the_distance_to_the_closest_centre():
    train = np.array([[-5.0], [-3.0], [3.0], [5.0]])  # centres -4 and 4
    baseline = make_baseline("kmeans", 1, n_clusters=2)
    baseline.fit(train)
    scores = baseline.score_samples(np.array([[-4.0], [4.0], [0.0], [5.0]])) * train.std()
    np.testing.assert_allclose(scores, [0.0, 0.0, -4.0, -1.0], atol=1e-12)


def test_kmeans_has_at_most_as_many_centres_as_different_rows():
    baseline = make_baseline("kmeans", 1)
    baseline.fit(np.array([[0.0], [1.0], [0.0]]))
    np.testing.assert_allclose(baseline.score_samples(np.array([[0.0], [1.0]])), 0.0, atol=1e-12)


def test_kmeans_is_scikit_learns_of_standardised_windows():
    train, x = windows(100, (4, 2)), windows(20, (4, 2), seed=1)
    units = train.reshape(-1, 2)
    z, q = (((a - units.mean(0)) / units.std(0)).reshape(len(a), -1) for a in (train, x))
    clusters = Clusters(n_clusters=20, n_init=3, random_state=0).fit(z)
    expected = -clusters.transform(q).min(1)
    np.testing.assert_allclose(fitted("kmeans").score_samples(x), expected, rtol=1e-6)


def test_pca_is_the_formula_of_pyod():
    train, x = windows(100, (4, 2)), windows(20, (4, 2), seed=1)
    flat, rows = train.reshape(100, -1), x.reshape(20, -1)
    mean, std = flat.mean(0), flat.std(0)
    found = Directions().fit((flat - mean) / std)
    distances = cdist((rows - mean) / std, found.components_)
    expected = -(distances / found.explained_variance_ratio_).sum(1)
    np.testing.assert_allclose(fitted("pca").score_samples(x), expected, rtol=1e-8)


def test_pca_of_two_values_by_hand():
    """Equal values give one direction, (1, 1) / sqrt(2), with all of the variance."""
    train = np.array([[[-1.0], [-1.0]], [[1.0], [1.0]]])
    baseline = make_baseline("pca", (2, 1))
    baseline.fit(train)
    x = np.array([[[0.0], [0.0]], [[1.0], [1.0]], [[1.0], [-1.0]]])
    root = np.sqrt(2.0)
    np.testing.assert_allclose(
        baseline.score_samples(x), [-1.0, -(root - 1), -np.sqrt(3.0)], rtol=1e-9
    )


def test_t2_q_is_the_worse_of_two_control_charts():
    train, x = windows(200, 4), windows(20, 4, seed=1)
    train[:, 1] += 20 * train[:, 0]
    z, q = ((a - train.mean(0)) / train.std(0) for a in (train, x))
    found = Directions(n_components=3).fit(z)  # 3 of 4 carry over 90 %, 2 do not
    charts = []
    for rows in (z, q):
        u = found.transform(rows)
        left = rows - found.inverse_transform(u)
        t2 = (u**2 / (found.explained_variance_ * 199 / 200)).sum(1)
        charts.append(np.stack([t2, (left**2).sum(1)], 1))
    expected = -(charts[1] / np.quantile(charts[0], 0.99, axis=0)).max(1)
    baseline = make_baseline("t2_q", 4)
    baseline.fit(train)
    np.testing.assert_allclose(baseline.score_samples(x), expected, rtol=1e-6)
    assert 0.01 <= (baseline.score_samples(train) < -1).mean() <= 0.02


def test_t2_q_keeps_the_directions_that_carry_the_share():
    train = windows(200, 4)
    train[:, 1:] += train[:, :1] * [20, 200, 2000]
    for share, kept in ((0.5, 1), (0.999999, 4)):
        baseline = make_baseline("t2_q", 4, share=share)
        baseline.fit(train)
        assert baseline.state()["directions"].shape == (4, kept)


def test_isolation_forest_is_scikit_learns():
    train, x = windows(100, 1), windows(20, 1, seed=1)
    baseline = make_baseline("isolation_forest", 1, n_estimators=10)
    baseline.fit(train, seed=3)
    z, q = ((a - train.mean()) / train.std() for a in (train, x))
    forest = Forest(n_estimators=10, random_state=3).fit(z)
    np.testing.assert_allclose(baseline.score_samples(x), forest.score_samples(q))


def test_random_scores_are_uniform_and_follow_row_and_seed():
    x = windows(5000, (4, 2))
    scores = fitted("random").score_samples(x)
    assert scores.min() >= 0
    assert scores.max() < 1
    shares, _ = np.histogram(scores, bins=10, range=(0, 1))
    assert abs(shares - 500).max() < 100  # five standard deviations
    assert abs(np.corrcoef(scores, x[:, 0, 0])[0, 1]) < 0.05
    np.testing.assert_array_equal(fitted("random").score_samples(x[::-1]), scores[::-1])
    other = fitted("random", seed=1).score_samples(x)
    assert abs(np.corrcoef(scores, other)[0, 1]) < 0.05


def test_a_constant_flags_nothing():
    baseline, x = fitted("constant"), windows(50, (4, 2), seed=1)
    baseline.calibrate(x)
    assert baseline.threshold == 0.0
    assert not baseline.predict_anomaly(100 * x).any()


# What all promise -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_shape_fits_and_calibrates(name, shape):
    baseline = make_baseline(name, shape)
    train, rows = windows(100, shape), windows(50, shape, seed=1)
    history = baseline.fit(train, rows, seed=0)
    assert history.keys() == {"train_loss", "val_loss"}
    assert np.isfinite([history["train_loss"], history["val_loss"]]).all()
    scores = baseline.score_samples(rows)
    assert scores.shape == (50,)
    assert np.isfinite(scores).all()
    assert history["val_loss"] == [pytest.approx(-scores.mean())]
    with pytest.raises(NotCalibratedError):
        baseline.predict(rows)
    threshold = baseline.calibrate(rows, alpha=0.1).threshold
    np.testing.assert_array_equal(baseline.predict_anomaly(rows), scores < threshold)
    assert baseline.predict_anomaly(rows).mean() <= 0.1
    assert baseline.score_kind == "surrogate"


@pytest.mark.parametrize("name", NAMES)
def test_a_score_ignores_its_batch_and_its_kind(name):
    baseline, rows = fitted(name), windows(40, (4, 2), seed=1)
    scores = baseline.score_samples(rows)
    np.testing.assert_allclose(baseline.score_samples(rows[::-1])[::-1], scores, rtol=1e-9)
    one_by_one = np.concatenate([baseline.score_samples(row[None]) for row in rows])
    np.testing.assert_allclose(one_by_one, scores, rtol=1e-9)
    tensor = baseline.score_samples(torch.from_numpy(rows).requires_grad_())
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), scores)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_scores_and_leaves_global_randomness_alone(name):
    rows = windows(40, (4, 2), seed=1)
    before = str(np.random.get_state())  # noqa: NPY002  # only read
    first, again = (fitted(name, seed=5).score_samples(rows) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert str(np.random.get_state()) == before  # noqa: NPY002


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("random", "constant")])
@pytest.mark.parametrize("distance", [20.0, 1e6, 1e300])
def test_far_windows_score_below_the_data(name, distance):
    baseline, rows = fitted(name), windows(50, (4, 2), seed=1)
    far = np.full((1, 4, 2), distance) * [1.0, 10.0]
    score = baseline.score_samples(far)
    assert np.isfinite(score).all()
    assert score < baseline.score_samples(rows).min()


@pytest.mark.parametrize("name", NAMES)
def test_bad_rows_of_tensors_get_the_floor_and_bad_arrays_are_refused(name):
    baseline, rows = fitted(name), windows(10, (4, 2), seed=1)
    expected = baseline.score_samples(rows)
    expected[[2, 5]] = FLOOR
    rows[2, 1, 1], rows[5, 0, 0] = np.nan, np.inf
    np.testing.assert_allclose(
        baseline.score_samples(torch.from_numpy(rows)).numpy(), expected, rtol=1e-9
    )
    with pytest.raises(DataError, match="column 1, 1 row 2"):
        baseline.score_samples(rows)
    with pytest.raises(DataError, match="train_data column 1, 1 row 2"):
        make_baseline(name, (4, 2)).fit(rows)


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_have_no_scores(name):
    assert fitted(name).score_samples(np.zeros((0, 4, 2))).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_misuse_is_told(name):
    baseline, rows = make_baseline(name, (4, 2)), windows(10, (4, 2))
    with pytest.raises(NotFittedError):
        baseline.score_samples(rows)
    with pytest.raises(NotFittedError):
        baseline.state()
    with pytest.raises(DataError, match=r"too few rows to fit: \{'train': 1\}"):
        baseline.fit(rows[:1])
    with pytest.raises(DataError, match=r"too few rows to fit: \{'train': 10, 'val': 0\}"):
        baseline.fit(rows, rows[:0])
    with pytest.raises(ShapeError, match=r"\(B, 4, 2\), got \(10, 2, 4\)"):
        baseline.fit(rows.reshape(10, 2, 4))
    with pytest.raises(ConfigError, match="'epoch'"):
        baseline.fit(rows, epoch=3)
    baseline.fit(rows, epochs=3, batch_size=2)
    with pytest.raises(ShapeError, match=r"\(B, 4, 2\), got \(10, 3, 2\)"):
        baseline.score_samples(rows[:, :3])
    with pytest.raises(ConfigError, match="score 'elbo' is unknown"):
        baseline.score_samples(rows, "elbo")


@pytest.mark.parametrize("name", NAMES)
def test_constant_channels_and_equal_rows_do_no_harm(name):
    rows = windows(60, (4, 2))
    rows[..., 0] = 3.0
    for train in (rows, np.repeat(rows[:1], 60, axis=0)):
        baseline = make_baseline(name, (4, 2))
        baseline.fit(train)
        assert (baseline.score_samples(rows) > FLOOR).all()


@pytest.mark.parametrize("name", NAMES)
def test_fit_leaves_its_arguments_alone_and_forgets_the_old_fit(name):
    baseline, train = fitted(name), windows(60, (4, 2), seed=2)
    baseline.calibrate(train)
    copy, rows = train.copy(), []
    baseline.fit(train, on_epoch=lambda epoch, row: rows.append((epoch, row)))
    np.testing.assert_array_equal(train, copy)
    assert not baseline.has_threshold
    fresh = make_baseline(name, (4, 2))
    history = fresh.fit(train)
    assert rows == [(1, {"train_loss": history["train_loss"][0]})]
    np.testing.assert_array_equal(baseline.score_samples(train), fresh.score_samples(train))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "isolation_forest"])
def test_its_arrays_and_parameters_are_the_baseline(name, tmp_path):
    baseline, rows = fitted(name, seed=7), windows(20, (4, 2), seed=1)
    np.savez(tmp_path / "state.npz", **baseline.state())
    restored = make_baseline(name, **json.loads(json.dumps(baseline.params())))
    with np.load(tmp_path / "state.npz") as state:
        restored.restore(state)
    np.testing.assert_array_equal(restored.score_samples(rows), baseline.score_samples(rows))


def test_a_forest_is_not_saved():
    with pytest.raises(GormpoDensityError, match="not saved"):
        fitted("isolation_forest").state()


def test_a_wrong_name_or_parameter_is_told():
    with pytest.raises(ConfigError, match="'kmean' is unknown, did you mean 'kmeans'"):
        make_baseline("kmean", 3)
    with pytest.raises(ConfigError, match=r"baseline 'pca': .*'k'"):
        make_baseline("pca", 3, k=2)
    with pytest.raises(ConfigError, match="input_dim must be D or"):
        make_baseline("pca", (3, 0))

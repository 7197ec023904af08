import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from gormpo_density import persistence
from gormpo_density.errors import DataError
from gormpo_density.models.gmm import GMM, REG_COVARS


def normal(n, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def clusters(n, seed=0):
    """Rows of four tight, well separated Gaussians."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-10.0, -10.0], [-10.0, 10.0], [10.0, -10.0], [10.0, 10.0]])
    return centres[rng.integers(4, size=n)] + rng.normal(size=(n, 2))


def test_one_component_is_the_normal_with_the_rows_moments():
    rows = normal(500, 3) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 0.3]])
    model = GMM(3, n_components=1, reg_covar=1e-9)
    model.fit(rows, rows[:10])
    exact = multivariate_normal(rows.mean(0), np.cov(rows.T, bias=True))
    np.testing.assert_allclose(model.score_samples(rows), exact.logpdf(rows), rtol=1e-4, atol=1e-4)


def test_held_out_rows_choose_the_number_of_components():
    train, val = (
        np.sign(normal(400, 1, seed)) + 0.1 * normal(400, 1, seed + 2) for seed in (0, 1)
    )
    model = GMM(1)
    model.fit(train, val)
    assert len(model.means) == 2
    np.testing.assert_allclose(model.log_weights.exp(), 0.5, atol=0.06)
    model.fit(normal(400, 1), normal(400, 1, seed=1))
    assert len(model.means) == 1


def test_held_out_rows_choose_the_regularisation():
    train, val = normal(40, 6), normal(40, 6, seed=1)
    chosen = GMM(6, n_components=4).fit(train, val)["val_loss"][0]
    losses = [
        GMM(6, n_components=4, reg_covar=value).fit(train, val)["val_loss"][0]
        for value in REG_COVARS
    ]
    assert chosen == pytest.approx(min(losses))


def test_two_rows_are_enough():
    model = GMM(1)
    model.fit(np.array([[0.0], [2.0]]), np.array([[0.0], [2.0]]))
    assert len(model.means) == 2


def test_more_components_than_rows_are_refused():
    with pytest.raises(DataError, match="4 components for 3 training rows"):
        GMM(2, n_components=4).fit(normal(3), normal(3))
    with pytest.raises(DataError, match="4 components for 2 training rows"):
        GMM(2, n_components=4, max_rows=2).fit(normal(9), normal(3))


def test_a_seed_fixes_the_mixture():
    first, again, other = (GMM(2, n_components=8) for _ in range(3))
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        model.fit(normal(300), normal(30, seed=1), seed=seed)
    assert torch.equal(first.means, again.means)
    assert not torch.equal(first.means, other.means)


def test_far_rows_rank_by_distance():
    model = GMM(2)
    model.fit(clusters(200), clusters(50, seed=1))
    distances = np.array([50.0, 100.0, 101.0, 1e3, 1.01e3, 1e4, 1e7, 1e12, 1e15])
    scores = model.score_samples(np.stack([distances, np.zeros_like(distances)], 1))
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(model.score_samples(np.array([[1e20, 0.0], [0.0, -1e38]]))).all()


def test_samples_have_the_mixtures_moments():
    rows = clusters(400) @ np.array([[1.0, 0.5], [0.0, 0.7]])
    model = GMM(2, n_components=4)
    model.fit(rows, rows[:50])
    samples = model.sample(50_000, seed=0).numpy()
    np.testing.assert_allclose(samples.mean(0), rows.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(rows.T), rtol=0.03)


def test_samples_of_one_component_are_correlated_like_the_rows():
    rows = normal(1000, 2) @ np.array([[1.0, 0.9], [0.0, 0.1]])
    model = GMM(2, n_components=1, reg_covar=1e-6)
    model.fit(rows, rows[:50])
    samples = model.sample(50_000, seed=0).numpy()
    np.testing.assert_allclose(np.cov(samples.T), np.cov(rows.T), rtol=0.03)


def test_a_saved_model_scores_the_same(tmp_path):
    windows = normal(100, 6).reshape(100, 2, 3)
    model, x = GMM((2, 3), n_components=3), normal(20, 6, seed=2).reshape(20, 2, 3)
    model.fit(windows, windows[:10])
    model.save(tmp_path)
    loaded = persistence.load_model(tmp_path)
    assert loaded.params() == model.params()
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))
    torch.testing.assert_close(loaded.sample(5, seed=0), model.sample(5, seed=0), rtol=0, atol=0)


def test_no_samples_may_be_asked_for():
    rows = normal(50, 2)
    model = GMM(2, n_components=2, reg_covar=1e-3)
    model.fit(rows, rows)
    assert model.sample(0).shape == (0, 2)
    assert model.sample(1).shape == (1, 2)

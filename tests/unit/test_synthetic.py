import numpy as np
import pytest
import torch
from scipy import stats

from gormpo_density.data.synthetic import (
    ANOMALY_TYPES,
    GaussianMixture,
    LinearFactorModel,
    Ring,
    SineChain,
    create_synthetic_data,
)
from gormpo_density.errors import ConfigError

MIXTURE = GaussianMixture(
    np.array([0.3, 0.7]), np.array([[1.0, -1.0], [-2.0, 0.5]]), np.array([0.5, 0.8])
)
FACTORS = LinearFactorModel(np.array([[1.0], [-0.5]]), np.array([0.5, 1.0]), 0.4)
PLANE = {
    "mixture": MIXTURE,
    "factors": FACTORS,
    "ring": Ring(),
    "wide ring": Ring(radius=1.0, width=0.8),
    "sine": SineChain(dim=2),
}


def mass(density, x_range, y_range):
    """Integrate a density of the plane over a box by midpoints."""
    x, y = (np.arange(low, high, 0.02) + 0.01 for low, high in (x_range, y_range))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return np.exp(density.log_prob(grid)).sum() * 0.02**2


@pytest.mark.parametrize("density", PLANE.values(), ids=PLANE)
def test_mass_is_one(density):
    assert mass(density, (-7, 7), (-7, 7)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("density", PLANE.values(), ids=PLANE)
def test_samples_fall_where_the_mass_is(density):
    x = density.sample(50_000, np.random.default_rng(0))
    assert x.shape == (50_000, density.dim)
    inside = (np.abs(x - [1, 0]) < 1).all(axis=1).mean()
    assert inside == pytest.approx(mass(density, (0, 2), (-1, 1)), abs=0.008)


def test_mixture_is_the_weighted_sum_of_scipy_densities():
    x = np.random.default_rng(0).normal(size=(20, 2))
    parts = [
        weight * stats.multivariate_normal(mean, scale**2).pdf(x)
        for weight, mean, scale in zip(MIXTURE.weights, MIXTURE.means, MIXTURE.scales, strict=True)
    ]
    np.testing.assert_allclose(MIXTURE.log_prob(x), np.log(sum(parts)))


def test_mixture_is_finite_far_away():
    assert np.isfinite(MIXTURE.log_prob([[1e3, 1e3]])).all()


def test_factor_model_is_scipys_gaussian():
    covariance = FACTORS.loadings @ FACTORS.loadings.T + 0.16 * np.eye(2)
    x = np.random.default_rng(0).normal(size=(20, 2))
    expected = stats.multivariate_normal([0.5, 1.0], covariance).logpdf(x)
    np.testing.assert_allclose(FACTORS.log_prob(x), expected)
    np.testing.assert_allclose(FACTORS.log_prob(x[:1]), expected[:1])
    sample = FACTORS.sample(50_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(sample.T), covariance, atol=0.02)


def test_ring_by_hand():
    ring = Ring()
    expected = stats.norm.logpdf(3.2, 3, 0.2) - np.log(2 * np.pi * 3.2)
    np.testing.assert_allclose(ring.log_prob([[0, 3.2], [-3.2, 0]]), expected)
    r = np.linalg.norm(ring.sample(20_000, np.random.default_rng(0)), axis=1)
    assert stats.kstest(r, stats.norm(3, 0.2).cdf).pvalue > 0.01


def test_a_wide_ring_is_truncated_not_folded():
    ring = Ring(radius=1.0, width=0.8)
    r = np.linalg.norm(ring.sample(20_000, np.random.default_rng(0)), axis=1)
    assert stats.kstest(r, stats.truncnorm(-1.25, np.inf, 1, 0.8).cdf).pvalue > 0.01
    assert ring.log_prob([[0.0, 0.0]]) == np.inf


def test_sine_chain_by_hand():
    x = np.array([[0.5, 1.0, 0.2]])
    expected = (
        stats.norm.logpdf(0.5)
        + stats.norm.logpdf(1.0, np.sin(1.0), 0.3)
        + stats.norm.logpdf(0.2, np.sin(2.0), 0.3)
    )
    np.testing.assert_allclose(SineChain(dim=3).log_prob(x), [expected])


def test_sine_chain_has_the_entropy_of_its_noise():
    chain = SineChain()
    x = chain.sample(50_000, np.random.default_rng(0))
    entropy = 6 * 0.5 * np.log(2 * np.pi * np.e) + 5 * np.log(0.3)
    assert chain.log_prob(x).mean() == pytest.approx(-entropy, abs=0.03)


@pytest.mark.parametrize("density", PLANE.values(), ids=PLANE)
def test_the_generator_fixes_the_sample(density):
    one, two = (density.sample(5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("anomaly_type", ANOMALY_TYPES)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_synthetic_data(anomaly_type, dim):
    normal, anomalies = create_synthetic_data(200, dim, anomaly_type)
    assert normal.shape == (200, dim)
    assert anomalies.shape == (40, dim)
    assert normal.dtype == anomalies.dtype == torch.float32
    again = create_synthetic_data(200, dim, anomaly_type, seed=0)
    assert torch.equal(normal, again[0])
    assert torch.equal(anomalies, again[1])
    assert not torch.equal(normal, create_synthetic_data(200, dim, anomaly_type, seed=1)[0])


@pytest.mark.parametrize("anomaly_type", ANOMALY_TYPES)
def test_anomalies_are_less_likely_than_normals(anomaly_type):
    normal, anomalies = create_synthetic_data(2000, 5, anomaly_type)
    truth = GaussianMixture(
        np.array([0.5, 0.5]), np.outer([2.0, -2.0], np.ones(5)), np.array([1.0, 1.0])
    )
    threshold = np.quantile(truth.log_prob(normal.numpy()), 0.01)
    assert (truth.log_prob(anomalies.numpy()) < threshold).mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"anomaly_type": "outliers"}, "'outliers' is unknown, did you mean 'outlier'"),
        ({"anomaly_type": "?"}, "is unknown; choose from outlier, uniform, shift, cluster"),
        ({"n_samples": 0}, "n_samples 0 and dim 5 must be at least 1"),
        ({"dim": 0}, "dim 0 must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_synthetic_data(**arguments)

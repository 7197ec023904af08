"""The density of PCA flows in float64: closed forms, mass, inverses and samples."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from gormpo_density.models.pca_flow import PCAFlow
from gormpo_density.models.subspace import Subspace


def rows(n, dim, seed=0):
    """Return curved rows of a few large and many small directions, in units of their own."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, dim)) * 2.0 ** -np.arange(dim)
    z[:, 1] += 0.5 * z[:, 0] ** 2
    rotation = np.linalg.qr(np.random.default_rng(99).normal(size=(dim, dim)))[0]
    return torch.as_tensor(5 + 3 * z @ rotation)


def fitted(dim, n_components, epochs=3):
    model = PCAFlow(dim, n_components, num_layers=4, hidden_dims=[16]).double()
    model.fit(rows(300, dim), rows(100, dim, seed=1), epochs=epochs)
    return model


def test_directions_are_those_of_scikit_learn():
    x = rows(200, 6)
    subspace = Subspace(6).double()
    subspace.fit(x, n_components=3)
    reference = PCA(3).fit(x.numpy())
    overlap = (subspace.basis.T.numpy() @ reference.components_.T).__abs__()
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(subspace.centre, reference.mean_, atol=1e-12)
    expected = reference.inverse_transform(reference.transform(x.numpy()))
    np.testing.assert_allclose(subspace.inverse(subspace(x)[0]), expected, atol=1e-9)


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_an_untrained_flow_is_probabilistic_pca(n_components):
    model = fitted(5, n_components)
    model.flow._reset(seed=0)  # the identity on standardised components
    model.flow.standardizer.fit(model.subspace(model.standardizer(rows(300, 5)))[0])
    basis = model.subspace.basis.numpy()
    variances = model.flow.standardizer.scale.square().numpy()
    noise = model.subspace.variance.item()
    left_out = np.eye(5) - basis @ basis.T
    covariance = basis @ np.diag(variances) @ basis.T + noise * left_out
    mean = model.subspace.centre.numpy() + basis @ model.flow.standardizer.mean.numpy()
    x = rows(20, 5, seed=2)
    z = model.standardizer(x).numpy()
    expected = multivariate_normal(mean, covariance).logpdf(z)
    expected += model.standardizer.log_abs_det.item()
    np.testing.assert_allclose(model.log_prob(x).detach(), expected, atol=1e-8)


def test_a_trained_density_has_mass_one():
    model = fitted(2, 1, epochs=30)
    assert model.subspace.basis.shape == (2, 1)
    mean, scale = model.standardizer.mean, model.standardizer.scale
    axis = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis) * scale + mean
    cell = (axis[1] - axis[0]).item() ** 2 * scale.prod().item()
    mass = sum(model.log_prob(part).exp().sum().item() for part in grid.split(100_000)) * cell
    assert mass == pytest.approx(1.0, abs=1e-3)


def test_decoding_projects_on_the_subspace():
    model, x = fitted(5, 2), rows(20, 5, seed=2)
    projected = model.decode(model.encode(x))
    assert torch.allclose(model.encode(projected), model.encode(x), atol=1e-8)
    assert torch.allclose(model.decode(model.encode(projected)), projected, atol=1e-8)
    z, z_projected = model.standardizer(x), model.standardizer(projected)
    assert ((z - z_projected) @ model.subspace.basis).abs().max() < 1e-8
    whole = fitted(5, 5)
    assert torch.allclose(whole.decode(whole.encode(x)), x, atol=1e-8)


def test_samples_follow_the_density():
    model = fitted(5, 2)
    drawn = model.standardizer(model.sample(20_000, seed=0))
    c, squared = model.subspace(drawn)
    variance = model.subspace.variance.item()
    assert squared.mean().item() / 3 == pytest.approx(variance, rel=0.03)
    u = model.flow.encode(c)
    assert u.mean(0).abs().max() < 4 / math.sqrt(20_000)
    assert torch.allclose(u.T.cov(), torch.eye(2, dtype=u.dtype), atol=0.05)

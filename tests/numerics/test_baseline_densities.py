"""KDE, GMM, kNN and ensembles against scikit-learn, quadrature and Jensen's inequality."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, NearestNeighbors

from gormpo_density.models.ensemble import Ensemble
from gormpo_density.models.gmm import GMM
from gormpo_density.models.kde import KDE
from gormpo_density.models.knn import KNN

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def rows(n, dim, seed=0):
    """Return curved rows in units of their own."""
    x = np.random.default_rng(seed).normal(size=(n, dim))
    x[:, 1:] += np.sin(2 * x[:, :-1])
    return 5.0 + 3.0 * x


def fitted(model, dtype, n=300):
    model = model.to(dtype)
    dim = model.event_shape[0]
    model.fit(rows(n, dim), rows(100, dim, seed=1))
    return model


def probes(model, dtype):
    """Return rows on the data, on training rows, next to them, and 10 to 1,000 scales off."""
    dim = model.event_shape[0]
    near = rows(300, dim)[:20]
    far = 5.0 + np.outer([10.0, 100.0, 1000.0], np.ones(dim)) * 3.0
    x = np.concatenate([rows(50, dim, seed=2), near, near + 1e-3, far])
    return torch.from_numpy(x).to(dtype)


def assert_agrees(model, x, reference):
    """Hold the score of x against one of standardised rows in numpy float64."""
    z = model.standardizer(x).double().numpy()
    expected = reference(z) + model.standardizer.log_abs_det.item()
    tolerance = TOLERANCE[x.dtype]
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=tolerance, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("bandwidth", ["held_out", "scott", 1.0, 0.1, 0.01])
@pytest.mark.parametrize("dim", [1, 3, 14])
def test_kde_agrees_with_scikit_learn(bandwidth, dim, dtype):
    model = fitted(KDE(dim, bandwidth=bandwidth), dtype)
    one_leaf = len(model.centres)  # a deeper tree drops kernels, up to all of a far row's
    reference = KernelDensity(bandwidth=model.width.item(), leaf_size=one_leaf)
    reference.fit(model.centres.double())
    assert_agrees(model, probes(model, dtype), reference.score_samples)


@DTYPES
@pytest.mark.parametrize("n_components", ["held_out", 1, 5])
@pytest.mark.parametrize("dim", [1, 3, 14])
def test_gmm_agrees_with_scikit_learn(n_components, dim, dtype):
    model = fitted(GMM(dim, n_components=n_components, reg_covar=1e-3), dtype)
    reference = GaussianMixture(len(model.means))
    reference.weights_ = model.log_weights.double().exp().numpy()
    reference.means_ = model.means.double().numpy()
    reference.precisions_cholesky_ = model.roots.double().numpy()
    assert_agrees(model, probes(model, dtype), reference.score_samples)


@DTYPES
@pytest.mark.parametrize("k", [1, 5, 50])
def test_knn_agrees_with_scikit_learn(k, dtype):
    model = fitted(KNN(6, k=k), dtype)
    x = probes(model, dtype)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(model.rows.double())
    _, nearest = search.kneighbors(model.standardizer(x).double())
    neighbours = model.rows.double().numpy()[nearest[:, -1]]
    distances = np.linalg.norm(model.standardizer(x).double().numpy() - neighbours, axis=1)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(model.log_prob(x), -distances, rtol=tolerance, atol=tolerance)


DENSITIES = {
    "kde": lambda: KDE(2),
    "narrow kde": lambda: KDE(2, bandwidth=0.1),
    "gmm": lambda: GMM(2, n_components=4),
}


@pytest.mark.parametrize("make", DENSITIES.values(), ids=DENSITIES)
def test_mass_is_one(make):
    model = fitted(make(), torch.float64)
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    cell = (axis[1] - axis[0]).square() * model.standardizer.scale.prod()
    mass = model.score_samples(model.standardizer.inverse(grid)).exp().sum() * cell
    assert mass.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("make", DENSITIES.values(), ids=DENSITIES)
def test_gradients_are_those_of_finite_differences(make):
    model = fitted(make(), torch.float64)
    x = torch.from_numpy(rows(10, 2, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(model.log_prob, x)


@pytest.mark.parametrize("make", DENSITIES.values(), ids=DENSITIES)
def test_scores_move_with_the_units_of_the_data(make):
    scale, shift = np.array([10.0, 0.2]), np.array([3.0, -7.0])
    model, moved = fitted(make(), torch.float64), make().double()
    moved.fit(scale * rows(300, 2) + shift, scale * rows(100, 2, seed=1) + shift)
    x = rows(50, 2, seed=2)
    expected = model.score_samples(x) - np.log(scale).sum()
    np.testing.assert_allclose(moved.score_samples(scale * x + shift), expected, rtol=1e-8)


def test_a_score_does_not_depend_on_the_batch():
    for model in (KDE(3), GMM(3, n_components=4), KNN(3), Ensemble(KDE(3, max_rows=150), k=3)):
        x = probes(fitted(model, torch.float32), torch.float32)
        whole = model.score_samples(x)
        alone = torch.cat([model.score_samples(row[None]) for row in x])
        torch.testing.assert_close(alone, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "member",
    [
        {"name": "kde", "max_rows": 100},
        {"name": "gmm", "n_components": 8, "reg_covar": 1e-3},
        {"name": "realnvp", "num_layers": 2, "hidden_dims": [8]},
    ],
    ids=lambda member: member["name"],
)
def test_the_ensembles_score_is_below_the_log_of_the_mixture(member):
    model = Ensemble(member, k=3, input_dim=2).double()
    model.fit(rows(300, 2), rows(100, 2, seed=1), epochs=5)
    x = probes(model, torch.float64)
    z, log_det = model.standardizer(x), model.standardizer.log_abs_det
    members = torch.stack([m.log_prob(z) for m in model.members]) + log_det
    mixture = members.logsumexp(0) - np.log(3)
    torch.testing.assert_close(model.log_prob(x), members.mean(0))
    assert (members.std(0) > 1e-6).any()
    assert (model.log_prob(x) <= mixture + 1e-12).all()

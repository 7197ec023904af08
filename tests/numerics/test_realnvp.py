"""The mathematics of RealNVP, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.functional import jacobian
from torch.distributions import MultivariateNormal, Normal

from gormpo_density.models.realnvp import LOG_SCALE_BOUND, Coupling, Mixing, RealNVP

PROPERTY = settings(derandomize=True, max_examples=15, deadline=None)
DIMS = st.integers(1, 8)
SHAPES = st.one_of(DIMS, st.tuples(st.integers(1, 3), st.integers(1, 3)))
SEEDS = st.integers(0, 99)
MIXING = st.sampled_from(["linear", "permutation"])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def shaken(module, seed=0):
    """Return the module in float64 with random parameters, far from its start."""
    module = module.double()
    noise = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.2, generator=noise)
    return module


def flow(input_dim, mixing="linear", seed=0):
    """Return a shaken flow whose standardiser is not the identity either."""
    model = shaken(RealNVP(input_dim, num_layers=4, hidden_dims=[8], mixing=mixing), seed)
    model.standardizer.fit(3.0 + 2.0 * randn(50, *model.event_shape, seed=seed))
    return model


def layers(dim, seed):
    mixing = shaken(Mixing(dim, learned=True), seed)
    mixing.perm.copy_(torch.randperm(dim, generator=generator(seed)))
    return shaken(Coupling(dim, [8]), seed), mixing, Mixing(dim, learned=False)


def log_abs_det(function, x):
    """Return log|det| of the Jacobian at every row, by automatic differentiation."""
    rows = [jacobian(lambda row: function(row[None])[0].flatten(), row) for row in x]
    return torch.stack([torch.linalg.slogdet(j.reshape(len(j), -1)).logabsdet for j in rows])


@PROPERTY
@given(dim=DIMS, batch=st.sampled_from([0, 1, 5]), seed=SEEDS)
def test_layers_invert_and_know_their_jacobian(dim, batch, seed):
    x = randn(batch, dim, seed=seed)
    for layer in layers(dim, seed):
        y, log_det = layer(x)
        torch.testing.assert_close(layer.inverse(y), x, atol=1e-9, rtol=0)
        if batch:
            exact = log_abs_det(lambda x, layer=layer: layer(x)[0], x)
            torch.testing.assert_close(log_det.expand(batch), exact)


@PROPERTY
@given(dim=DIMS, seed=SEEDS)
def test_a_coupling_leaves_its_first_half_bit_identical_and_changes_the_rest(dim, seed):
    x = randn(5, dim, seed=seed)
    y, _ = layers(dim, seed)[0](x)
    assert torch.equal(y[:, : dim // 2], x[:, : dim // 2])
    assert (y[:, dim // 2 :] != x[:, dim // 2 :]).all()


@PROPERTY
@given(dim=DIMS, seed=SEEDS)
def test_two_layers_change_every_dimension(dim, seed):
    model = shaken(RealNVP(dim, num_layers=2, hidden_dims=[8], mixing="permutation"), seed)
    x = randn(5, dim, seed=seed)
    unchanged = (model.encode(x)[:, :, None] == x[:, None, :]).all(0)
    assert not unchanged.any()


@pytest.mark.parametrize("size", [1.0, 1e3, 1e12])
def test_no_row_can_blow_up_a_coupling(size):
    coupling = shaken(Coupling(6, [8]))
    y, log_det = coupling(size * randn(20, 6))
    assert log_det.abs().max() <= 3 * LOG_SCALE_BOUND
    assert y.isfinite().all()


@PROPERTY
@given(shape=SHAPES, mixing=MIXING, seed=SEEDS)
def test_a_flow_inverts(shape, mixing, seed):
    model = flow(shape, mixing, seed)
    x = randn(7, *model.event_shape, seed=seed)
    assert model.encode(x).shape == (7, math.prod(model.event_shape))
    torch.testing.assert_close(model.decode(model.encode(x)), x, atol=1e-9, rtol=0)


@PROPERTY
@given(shape=SHAPES, mixing=MIXING, seed=SEEDS)
def test_log_prob_is_the_change_of_variables(shape, mixing, seed):
    model = flow(shape, mixing, seed)
    x = randn(3, *model.event_shape, seed=seed)
    base = Normal(0, 1).log_prob(model.encode(x)).sum(1)
    torch.testing.assert_close(model.log_prob(x), base + log_abs_det(model.encode, x))


@PROPERTY
@given(shape=SHAPES, mixing=MIXING)
def test_a_new_flow_is_the_base_normal(shape, mixing):
    model = RealNVP(shape, hidden_dims=[8], mixing=mixing).double()
    x = randn(20, *model.event_shape)
    latent = model.encode(x)
    assert torch.equal(latent.sort(1).values, x.flatten(1).sort(1).values)
    expected = -0.5 * (latent.square().sum(1) + latent.shape[1] * math.log(2 * math.pi))
    assert torch.equal(model.log_prob(x), expected)


def mass(model):
    """Sum exp(log_prob) over a grid on [-6, 6]^2."""
    ticks = torch.linspace(-6, 6, 301, dtype=torch.float64)
    with torch.no_grad():
        return model.log_prob(torch.cartesian_prod(ticks, ticks)).exp().sum() * (12 / 300) ** 2


def ring(n, seed):
    """Rows near the unit circle."""
    rows = randn(n, 2, seed=seed)
    return rows / rows.norm(dim=1, keepdim=True) + 0.2 * randn(n, 2, seed=seed + 1)


@pytest.fixture(scope="module")
def trained():
    """A flow trained on a ring."""
    model = RealNVP(2, num_layers=4, hidden_dims=[16]).double()
    model.fit(ring(1000, 0), ring(200, 2), epochs=30, batch_size=200, lr=2e-2)
    return model


def test_the_mass_is_one_before_and_after_training(trained):
    assert mass(shaken(RealNVP(2, num_layers=4, hidden_dims=[8]))) == pytest.approx(1, abs=1e-3)
    assert mass(trained) == pytest.approx(1, abs=1e-3)


def test_training_beats_the_normal_it_starts_from(trained):
    start = RealNVP(2, num_layers=4, hidden_dims=[16]).double()
    start.standardizer.fit(ring(1000, 0))
    rows = ring(500, 4)
    gain = trained.log_prob(rows).mean() - start.log_prob(rows).mean()
    assert gain > 0.25
    torch.testing.assert_close(trained.decode(trained.encode(rows)), rows, atol=1e-9, rtol=0)


def test_samples_are_decoded_normals(trained):
    expected = randn(100, 2, seed=3)
    torch.testing.assert_close(trained.encode(trained.sample(100, seed=3)), expected)


def test_a_correlated_normal_is_learnt():
    """One layer with learned mixing holds any Gaussian: log p is found within .01 nats."""
    truth = MultivariateNormal(
        torch.tensor([5.0, -1.0], dtype=torch.float64),
        torch.tensor([[4.0, 1.8], [1.8, 1.0]], dtype=torch.float64),
    )
    train, rows = (truth.mean + randn(n, 2, seed=n) @ truth.scale_tril.T for n in (4000, 1000))
    model = RealNVP(2, num_layers=2, hidden_dims=[]).double()
    model.fit(train[400:], train[:400], epochs=40, lr=2e-2, noise=0.0, weight_decay=0.0)
    gap = truth.log_prob(rows) - model.score_samples(rows)
    assert gap.mean().abs() < 0.01
    assert gap.abs().median() < 0.03


def test_bfloat16_nets_cost_little_accuracy(trained):
    fast = RealNVP(2, num_layers=4, hidden_dims=[16], precision="bfloat16")
    fast.restore(trained.state_dict())
    rows = ring(1000, 6).float()
    error = (fast.score_samples(rows) - trained.score_samples(rows)).abs()
    assert error.median() < 0.02
    assert error.quantile(0.99) < 0.2
    assert error.max() > 1e-4  # it was in use

"""The mathematics of the continuous flow, in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch.autograd.functional import jacobian
from torch.distributions import MultivariateNormal, Normal

from gormpo_density.models.cnf import CNF
from gormpo_density.models.vector_field import ACTIVATIONS, VectorField

PROPERTY = settings(derandomize=True, max_examples=8, deadline=None)
DEPTHS = st.lists(st.integers(1, 6), max_size=4)
DIMS = st.integers(1, 5)
SEEDS = st.integers(0, 99)


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def shaken(module, seed=0):
    """Return the module in float64 with random parameters, far from its start."""
    module = module.double()
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.4, generator=noise)
    return module


def flow(input_dim=3, steps=32, seed=0, **params):
    """Return a shaken flow that neither standardises nor whitens trivially."""
    model = shaken(CNF(input_dim, **{"hidden_dims": [8, 8], "steps": steps, **params}), seed)
    rows = randn(50, *model.event_shape, seed=seed)
    rows[..., 1:] += rows[..., :-1]
    model.standardizer.fit(3.0 + 2.0 * rows)
    model.whitener.fit(model.standardizer(3.0 + 2.0 * rows), noise=0.1)
    model.is_fitted = True
    return model


@PROPERTY
@given(hidden=DEPTHS, dim=DIMS, activation=st.sampled_from(sorted(ACTIVATIONS)), seed=SEEDS)
def test_the_divergence_is_the_trace_of_the_jacobian(hidden, dim, activation, seed):
    field = shaken(VectorField(dim, hidden, activation, time_dependent=True), seed)
    z, t = randn(4, dim, seed=seed), torch.tensor(0.3, dtype=torch.float64)
    slopes = field(z, t)[1]
    rows = torch.stack([jacobian(lambda row: field(row[None], t)[0][0], row) for row in z])
    exact = rows.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(field.divergence(slopes).expand(4), exact)
    if hidden:
        probes = randn(2, 1, dim, seed=seed + 1)
        expected = torch.einsum("ki,bij,kj->kb", probes[:, 0], rows, probes[:, 0])
        torch.testing.assert_close(field.curvature(slopes, probes), expected)


@pytest.mark.parametrize(("time_dependent", "moves"), [(True, True), (False, False)])
def test_the_field_reads_the_time_where_it_should(time_dependent, moves):
    field = shaken(VectorField(2, [5], "silu", time_dependent))
    now, later = (field(randn(3, 2), torch.tensor(t))[0] for t in (0.0, 1.0))
    assert torch.equal(now, later) is not moves


@pytest.mark.parametrize("shape", [1, 3, (2, 2)])
def test_the_flow_inverts_and_its_log_det_is_that_of_its_jacobian(shape):
    model = flow(shape)
    x = randn(5, *model.event_shape, seed=1)
    torch.testing.assert_close(model.decode(model.encode(x)), x, atol=1e-7, rtol=0)
    dim = math.prod(model.event_shape)
    rows = [jacobian(lambda row: model.encode(row[None])[0], row).reshape(dim, dim) for row in x]
    log_det = torch.stack([torch.linalg.slogdet(row).logabsdet for row in rows])
    expected = Normal(0, 1).log_prob(model.encode(x)).sum(1) + log_det
    torch.testing.assert_close(model.log_prob(x), expected, atol=1e-6, rtol=0)


def test_a_linear_field_is_a_matrix_exponential():
    model = CNF(3, hidden_dims=[], time_dependent=False, steps=64, t0=0.5, t1=2.0).double()
    weight, z = 0.4 * randn(3, 3), randn(6, 3, seed=1)
    with torch.no_grad():
        model.field.layers[0].weight.copy_(weight)
    u = z @ torch.matrix_exp(1.5 * weight).T
    torch.testing.assert_close(model.encode(z), u, atol=1e-8, rtol=0)
    expected = Normal(0, 1).log_prob(u).sum(1) + 1.5 * weight.trace()
    torch.testing.assert_close(model.log_prob(z), expected, atol=1e-7, rtol=0)


def test_another_solver_finds_the_same_score():
    model, x = flow(), randn(1, 3, seed=2)

    def dynamics(t, state):
        z = torch.tensor(state[None, :3], requires_grad=True)
        velocity = model.field(z, t)[0]
        gradients = [torch.autograd.grad(v, z, retain_graph=True)[0][0] for v in velocity[0]]
        trace = torch.stack(gradients).trace()
        return [*velocity[0].tolist(), trace.item()]

    start = model.whitener(model.standardizer(x))[0].tolist()
    end = solve_ivp(dynamics, (0, 1), [*start, 0.0], rtol=1e-9, atol=1e-9).y[:, -1]
    base = Normal(0, 1).log_prob(torch.tensor(end[:3])).sum()
    scale = model.whitener.log_abs_det + model.standardizer.log_abs_det
    torch.testing.assert_close(model.log_prob(x)[0], base + end[3] + scale, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("solver", "ratio"), [("euler", 2), ("midpoint", 4), ("rk4", 16)])
def test_the_error_falls_with_the_order_of_the_solver(solver, ratio):
    x = randn(20, 3, seed=1)
    truth = flow(steps=128).score_samples(x)
    errors = [
        (flow(steps=steps, solver=solver).score_samples(x) - truth).abs().mean().item()
        for steps in (16, 32)
    ]
    assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.25)


def test_a_new_flow_is_the_best_gaussian():
    rows = 5 + randn(400, 3) @ randn(3, 3, seed=1)
    model = CNF(3).double()
    model.standardizer.fit(rows)
    model.whitener.fit(model.standardizer(rows), noise=0.0)
    covariance = rows.T.cov(correction=0)
    gaussian = MultivariateNormal(rows.mean(0), covariance)
    torch.testing.assert_close(model.log_prob(rows), gaussian.log_prob(rows), atol=1e-4, rtol=0)


def test_over_all_signs_hutchinson_is_the_exact_score():
    """Products of two different signs cancel, so the mean has no off-diagonal part."""
    model, x = flow(), randn(10, 3, seed=1)
    model.probes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3))).double()[:, None]
    exact, estimate = (model.score_samples(x, name) for name in ("log_prob", "hutchinson"))
    torch.testing.assert_close(estimate, exact, atol=1e-9, rtol=0)
    model.probes = model.probes[:1]
    assert (model.score_samples(x, "hutchinson") - exact).abs().min() > 1e-3


def test_stored_probes_are_signs():
    probes = CNF(4).probes
    assert torch.equal(probes.abs(), torch.ones(8, 1, 4))
    assert 0 < (probes > 0).sum() < probes.numel()


def test_hutchinson_trains_without_bias():
    exact, estimated = flow(2, steps=2), flow(2, steps=2, trace="hutchinson")
    z, parameters = randn(3, 2, seed=1), list(exact.parameters())
    expected = torch.autograd.grad(exact.losses(z)["loss"], parameters)
    loss = estimated.losses(z.repeat(20_000, 1), torch.Generator().manual_seed(0))["loss"]
    found = torch.autograd.grad(loss, list(estimated.parameters()))
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_the_log_det_is_in_the_gradient(trace):
    """GORMPO's left it out: the gradient is that of the loss, by finite differences."""
    model, z = flow(steps=2, trace=trace), randn(20, 3, seed=1)
    weight = model.field.layers[1].weight

    def loss():
        return model.losses(z, torch.Generator().manual_seed(0))["loss"]

    (gradient,) = torch.autograd.grad(loss(), weight)
    with torch.no_grad():
        for row, column in ((0, 0), (3, 5)):
            values = []
            for change in (1e-5, -2e-5):
                weight[row, column] += change
                values.append(loss())
            weight[row, column] += 1e-5
            slope = (values[0] - values[1]) / 2e-5
            torch.testing.assert_close(gradient[row, column], slope, atol=1e-7, rtol=1e-5)


def grid_density(model):
    """Return log_prob on a grid over [-6, 6]^2 and the area of one of its cells."""
    ticks = torch.linspace(-6, 6, 161, dtype=torch.float64)
    return model.score_samples(torch.cartesian_prod(ticks, ticks)), (12 / 160) ** 2


def ring(n, seed):
    """Rows near the unit circle."""
    rows = randn(n, 2, seed=seed)
    return rows / rows.norm(dim=1, keepdim=True) + 0.2 * randn(n, 2, seed=seed + 1)


@pytest.fixture(scope="module")
def trained():
    """A flow trained on a ring."""
    model = CNF(2, hidden_dims=[16, 16], steps=2, rtol=0, atol=1e-3).double()
    model.fit(ring(800, 0), ring(200, 2), epochs=20, batch_size=200, lr=3e-2)
    return model


def test_the_mass_is_one_before_and_after_training(trained):
    moved = shaken(CNF(2, hidden_dims=[8, 8], steps=8))
    moved.is_fitted = True
    for model in (moved, trained):
        log_prob, cell = grid_density(model)
        assert log_prob.exp().sum() * cell == pytest.approx(1, abs=2e-3)


def test_training_beats_the_gaussian_it_starts_from(trained):
    start = CNF(2).double()
    start.standardizer.fit(ring(800, 0))
    rows = ring(500, 4)
    assert trained.log_prob(rows).mean() - start.log_prob(rows).mean() > 0.25


def test_the_steps_suffice_for_the_tolerance(trained):
    assert trained.steps_taken > trained.steps
    rows = ring(500, 4)
    score = trained.score_samples(rows)
    trained_steps = trained.steps_taken
    trained._take_steps(8 * trained_steps)
    error = (trained.score_samples(rows) - score).abs()
    trained._take_steps(trained_steps)
    assert error.quantile(0.98) < 1.5e-3


def test_samples_are_decoded_normals_and_follow_the_density(trained):
    noise = randn(2000, 2, seed=3)
    samples = trained.sample(2000, seed=3)
    torch.testing.assert_close(trained.encode(samples), noise, atol=1e-2, rtol=0)
    log_prob, cell = grid_density(trained)
    negative_entropy = (log_prob.exp() * log_prob).sum() * cell
    scores = trained.score_samples(samples)
    standard_error = scores.std() / math.sqrt(len(scores))
    assert abs(scores.mean() - negative_entropy) < 4 * standard_error
    assert np.isfinite(scores.numpy()).all()

"""The mathematics of the VAE-LSTM, in float64, on state spaces whose evidence is known.

With no weight on the LSTM's output the prior is a Gaussian autoregression, and with linear nets
the model is z_1 ~ N(0, Q), z_t = A z_t-1 + N(0, Q), x_t = C z_t + b + N(0, R).
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from gormpo_density.models.gaussians import (
    DRAWS,
    kl_normal,
    kl_to_standard_normal,
    log_normal,
)
from gormpo_density.models.vae_lstm import VAELSTM

WINDOW, D, LATENT = 2, 2, 2
MEAN = torch.tensor([5.0, -2.0], dtype=torch.float64)
SCALE = torch.tensor([2.0, 0.5], dtype=torch.float64)
A = torch.tensor([[0.9, 0.4], [-0.3, 0.7]], dtype=torch.float64)
Q = torch.tensor([0.5, 0.8], dtype=torch.float64)
C = torch.tensor([[0.8, 0.3], [-0.4, 0.5], [0.5, -0.08], [0.2, 0.9]], dtype=torch.float64)
B = torch.tensor([0.1, -0.2, 0.0, 0.3], dtype=torch.float64)
R = torch.tensor([0.4, 0.5, 0.3, 0.6], dtype=torch.float64)


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass
class StateSpace:
    """The model, sequences drawn from it, and what is known of them."""

    model: VAELSTM
    x: Tensor  # (B, window * T, D), data units
    log_evidence: Tensor  # log p(x)
    posterior_gap: Tensor  # KL(q(.|x) || p(.|x))


def state_space(length, transition, loading, logvar_shift=0.0):
    """Build the model; its encoder is the posterior of each window alone, made diagonal."""
    model = VAELSTM(D, WINDOW, length, LATENT, hidden_dims=[], lstm_hidden_dim=3).double()
    model.is_fitted = True
    model.standardizer.mean.copy_(MEAN)
    model.standardizer.scale.copy_(SCALE)
    precision = (1 / Q).diag() + (loading.T / R) @ loading
    gain = torch.linalg.solve(precision, loading.T / R)
    logvar = -precision.diagonal().log() + logvar_shift
    hidden = torch.zeros(LATENT, 3)
    with torch.no_grad():
        model.vae.decoder_net.out.weight.copy_(torch.cat([loading, 0 * loading]))
        model.vae.decoder_net.out.bias.copy_(torch.cat([B, R.log()]))
        model.vae.encoder_net.out.weight.copy_(torch.cat([gain, 0 * gain]))
        model.vae.encoder_net.out.bias.copy_(torch.cat([-gain @ B, logvar]))
        head = torch.cat([torch.cat([hidden, transition], 1), torch.zeros(LATENT, 3 + LATENT)])
        model.prior.head.weight.copy_(head)
        model.prior.head.bias.copy_(torch.cat([0 * Q, Q.log()]))
    return describe(model, transition, loading)


def describe(model, transition, loading):
    """Work out evidence and posterior from the joint Gaussian of all latents and observations."""
    length = model.sequence_length
    step = torch.eye(length * LATENT, dtype=torch.float64)
    for t in range(1, length):
        rows, before = (slice(LATENT * s, LATENT * (s + 1)) for s in (t, t - 1))
        step[rows, before] = -transition  # step @ z are independent N(0, Q)
    prior_precision = step.T @ (1 / Q).repeat(length).diag() @ step
    loadings = torch.block_diag(*[loading] * length)
    noise, bias = R.repeat(length), B.repeat(length)
    covariance = loadings @ prior_precision.inverse() @ loadings.T + noise.diag()
    z = bias + randn(40, len(bias)) @ torch.linalg.cholesky(covariance).T
    precision = prior_precision + (loadings.T / noise) @ loadings
    mean = (z - bias) @ torch.linalg.solve(precision, loadings.T / noise).T
    x = MEAN + SCALE * z.reshape(-1, *model.event_shape)
    mu, logvar = (part.detach().flatten(1) for part in model._posterior(model.standardizer(x)))
    gap = kl_divergence(
        MultivariateNormal(mu, logvar.exp().diag_embed()),
        MultivariateNormal(mean, precision_matrix=precision),
    )
    truth = MultivariateNormal(bias, covariance).log_prob(z)
    return StateSpace(model, x, truth - length * WINDOW * SCALE.log().sum(), gap)


def orthogonal(loading):
    """Make the columns orthogonal under the noise, so that a window's posterior is diagonal."""
    first, second = loading.T
    second = second - first * (first @ (second / R)) / (first @ (first / R))
    return torch.stack([first, second], 1)


def exact_draws():
    """Return antithetic chains of two draws with the mean and the covariance of N(0, I)."""
    half = math.sqrt(DRAWS / 2) * torch.eye(2 * LATENT, dtype=torch.float64)
    return torch.cat([half, -half]).reshape(DRAWS, 2, LATENT)


def steps_of(model, x, state):
    scores = []
    for window in x.split(WINDOW, dim=1):
        score, state = model.step(window, state)
        scores.append(score)
    return torch.stack(scores, 1)


def test_log_density_and_divergence_are_those_of_torch():
    x, mu, mean = (randn(5, 3, seed=seed) for seed in range(3))
    logvar, prior_logvar = randn(5, 3, seed=3), randn(5, 3, seed=4)
    q, p = Normal(mu, (0.5 * logvar).exp()), Normal(mean, (0.5 * prior_logvar).exp())
    torch.testing.assert_close(log_normal(x, mu, logvar), q.log_prob(x).sum(-1))
    expected = kl_divergence(q, p).sum(-1)
    torch.testing.assert_close(kl_normal(mu, logvar, mean, prior_logvar), expected)
    standard = kl_normal(mu, logvar, torch.zeros_like(mu), torch.zeros_like(mu))
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), standard)


def test_independent_windows_with_their_exact_posterior_score_the_evidence():
    space = state_space(2, torch.zeros_like(A), orthogonal(C))
    torch.testing.assert_close(space.posterior_gap, torch.zeros(40).double())
    space.model.prior.noise_draws.copy_(exact_draws())
    elbo = space.model.score_samples(space.x)
    torch.testing.assert_close(elbo, space.log_evidence, atol=1e-9, rtol=0)


@pytest.mark.parametrize("logvar_shift", [0.0, -0.7])
def test_elbo_is_the_evidence_minus_the_gap_of_the_posterior(logvar_shift):
    """The terms are quadratic, so draws with exact second moments give their exact means."""
    space = state_space(2, A, C, logvar_shift)
    assert (space.posterior_gap > 0.05).all()
    space.model.prior.noise_draws.copy_(exact_draws())
    expected = space.log_evidence - space.posterior_gap
    torch.testing.assert_close(space.model.score_samples(space.x), expected, atol=1e-9, rtol=0)


def test_in_expectation_over_the_draws_elbo_is_evidence_minus_gap():
    space, scores = state_space(5, A, C), []
    for seed in range(1000):
        half = randn(DRAWS // 2, 5, LATENT, seed=seed)
        space.model.prior.noise_draws.copy_(torch.cat([half, -half]))
        scores.append(space.model.score_samples(space.x[:5]))
    elbo = torch.stack(scores)
    error = elbo.std(0) / len(elbo) ** 0.5
    difference = elbo.mean(0) - (space.log_evidence - space.posterior_gap)[:5]
    assert (difference.abs() < 4 * error).all()
    assert (elbo.mean(0) + 4 * error < space.log_evidence[:5]).all()


def test_draws_are_antithetic_and_other_ones_at_every_step():
    draws = VAELSTM(D, sequence_length=7, latent_dim=LATENT).prior.noise_draws
    assert draws.shape == (DRAWS, 7, LATENT)
    assert torch.equal(draws.sum(0), torch.zeros(7, LATENT))
    assert len(draws[0].unique(dim=0)) == 7


@pytest.fixture
def deep():
    """A model with random nets, two layers of LSTM, and something to take off at every step."""
    model = VAELSTM(
        *(D, WINDOW, 6, 3), hidden_dims=[16, 8], lstm_hidden_dim=5, lstm_layers=2
    ).double()
    model.is_fitted = True
    model.standardizer.mean.copy_(MEAN)
    model.standardizer.scale.copy_(SCALE)
    model.draws_add.copy_(randn(6, seed=9))
    return model


X = MEAN + SCALE * randn(20, 6 * WINDOW, D, seed=5)


def test_steps_sum_to_the_whole(deep):
    expected = deep.log_prob(X)
    steps = steps_of(deep, X, deep.init_state(20))
    torch.testing.assert_close(steps.sum(1), expected, atol=1e-9, rtol=0)
    later = steps_of(deep, X[:, 4 * WINDOW :], deep.init_state(X[:, : 4 * WINDOW]))
    torch.testing.assert_close(later, steps[:, 4:], atol=1e-9, rtol=0)


def test_the_whole_at_once_has_the_terms_of_the_steps(deep):
    """Each term by itself, so that a future that leaks into the past would show."""
    terms = deep._terms(deep.standardizer(X)) - deep.draws_add - WINDOW * SCALE.log().sum()
    steps = steps_of(deep, X, deep.init_state(20))
    torch.testing.assert_close(terms, steps, atol=1e-9, rtol=0)
    changed = X.clone()
    changed[:, 3 * WINDOW :] += 1
    other = deep._terms(deep.standardizer(changed)) - deep._terms(deep.standardizer(X))
    assert (other[:, :3] == 0).all()
    assert (other[:, 3:] != 0).all()


def test_the_order_of_the_windows_counts(deep):
    windows = X.unflatten(1, (6, WINDOW))
    assert (deep.log_prob(windows.flip(1).flatten(1, 2)) - deep.log_prob(X)).abs().min() > 1e-3
    assert (deep.log_prob(windows.flip(2).flatten(1, 2)) - deep.log_prob(X)).abs().min() > 1e-3


def test_a_window_that_is_passed_over_leaves_independent_ones_as_they_are():
    model = state_space(5, torch.zeros_like(A), C).model
    x = MEAN + SCALE * randn(8, 5 * WINDOW, D)
    expected = steps_of(model, x, model.init_state(8))
    x[:, 2 * WINDOW] = torch.nan
    steps = steps_of(model, x, model.init_state(8))
    keep = [0, 1, 3, 4]
    torch.testing.assert_close(steps[:, keep], expected[:, keep])


def test_a_window_that_is_passed_over_is_predicted_from_the_prior():
    """The state goes on as if the draw from p(z_2 | z_1) had been seen."""
    space = state_space(2, A, C)
    model = space.model
    x = space.x.clone()
    x[:, WINDOW:] = torch.inf
    _, state = model.step(x[:, :WINDOW], model.init_state(40))
    _, after = model.step(x[:, WINDOW:], state)
    noise = model.prior.noise_draws[:, 1]
    expected = state.embedding @ A.T + noise * Q.sqrt()
    torch.testing.assert_close(after.embedding, expected.expand_as(after.embedding))


def test_samples_have_the_moments_of_the_model():
    space = state_space(3, A, C)
    z = space.model.standardizer(space.model.sample(200_000, seed=0)).flatten(1)
    factors = [Q.diag()]
    for _ in range(2):
        factors.append(A @ factors[-1] @ A.T + Q.diag())
    blocks = [[None] * 3 for _ in range(3)]
    for i in range(3):
        for j in range(i, 3):
            lag = torch.linalg.matrix_power(A, j - i)
            blocks[i][j] = C @ factors[i] @ lag.T @ C.T
            blocks[j][i] = blocks[i][j].T
        blocks[i][i] = blocks[i][i] + R.diag()
    expected = torch.cat([torch.cat(row, 1) for row in blocks])
    torch.testing.assert_close(z.mean(0), B.repeat(3), atol=0.02, rtol=0)
    torch.testing.assert_close(z.T.cov(), expected, atol=0.04, rtol=0)


def test_predictions_are_decoded_from_the_prior_mean():
    space = state_space(2, A, C)
    z = space.model.standardizer(space.x).reshape(40, 2, -1)
    mu = space.model.encode(space.x).reshape(40, 2, LATENT)
    error = z[:, 1] - (mu[:, 0] @ A.T @ C.T + B)
    got = space.model.score_samples(space.x, "prediction")
    torch.testing.assert_close(got, -error.square().sum(1))
    got = space.model.score_samples(space.x, "embedding")
    torch.testing.assert_close(got, -(mu[:, 1] - mu[:, 0] @ A.T).square().sum(1))
    got = space.model.score_samples(space.x, "reconstruction")
    torch.testing.assert_close(got, -(z - (mu @ C.T + B)).square().sum((1, 2)))


def test_a_trained_bound_uses_the_past_and_stays_below_the_truth():
    """On a noisy walk it is worth more than the truth about each step by itself."""
    length, memory, noise = 4, 0.95, 0.3
    lag = (torch.arange(length)[:, None] - torch.arange(length)).abs().double()
    covariance = memory**lag + noise**2 * torch.eye(length, dtype=torch.float64)
    truth = MultivariateNormal(torch.zeros(length).double(), covariance)
    x = (randn(1500, length) @ truth.scale_tril.T)[..., None]
    model = VAELSTM(1, 1, length, 1, hidden_dims=[], lstm_hidden_dim=4).double()
    brief, joint = {"epochs": 1}, {"epochs": 60, "batch_size": 100}
    model.fit(x[1000:], x[500:1000], lr=3e-2, noise=0.0, vae=brief, lstm=brief, joint=joint)
    elbo, held_out = model.score_samples(x[:500]).mean(), x[:500, :, 0]
    alone = Normal(0, covariance[0, 0].sqrt()).log_prob(held_out).sum(1).mean()
    assert alone + 0.5 < elbo < truth.log_prob(held_out).mean()

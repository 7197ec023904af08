"""The mathematics of the VAE, in float64, on linear-Gaussian VAEs whose evidence is known."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from gormpo_density.models.vae import DRAWS, VAE

D, LATENT = 3, 2
MEAN = torch.tensor([5.0, -2.0, 0.5], dtype=torch.float64)
SCALE = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
WEIGHT = torch.tensor([[0.8, 0.3], [-0.4, 0.5], [0.5, -0.08]], dtype=torch.float64)
VARIANCE = torch.tensor([0.4, 0.5, 0.3], dtype=torch.float64)
BIAS = torch.tensor([0.1, -0.2, 0.0], dtype=torch.float64)


@dataclass
class Linear:
    """A linear-Gaussian VAE, p(z|latent) = N(weight latent + bias, diag(variance))."""

    model: VAE
    x: Tensor  # rows drawn from it
    log_evidence: Tensor  # log p(x)
    posterior_gap: Tensor  # KL(q(.|x) || p(.|x))


def randn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def exact_draws():
    """Return eight antithetic draws with the mean and the covariance of N(0, I)."""
    half = math.sqrt(LATENT) * torch.eye(LATENT, dtype=torch.float64).repeat(2, 1)
    return torch.cat([half, -half])[:, None]


def linear_vae(weight, logvar_shift=0.0):
    """Build the VAE, its encoder the posterior with only the diagonal of its precision kept."""
    model = VAE(D, latent_dim=LATENT, hidden_dims=[]).double()
    model.is_fitted = True
    model.standardizer.mean.copy_(MEAN)
    model.standardizer.scale.copy_(SCALE)
    precision = torch.eye(LATENT, dtype=torch.float64) + (weight.T / VARIANCE) @ weight
    gain = torch.linalg.solve(precision, weight.T / VARIANCE)  # posterior mean = gain (z - bias)
    logvar = -precision.diagonal().log() + logvar_shift
    with torch.no_grad():
        model.decoder_net.out.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
        model.decoder_net.out.bias.copy_(torch.cat([BIAS, VARIANCE.log()]))
        model.encoder_net.out.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
        model.encoder_net.out.bias.copy_(torch.cat([-gain @ BIAS, logvar]))
    return describe(model, weight, precision)


def describe(model, weight, precision):
    evidence = MultivariateNormal(BIAS, weight @ weight.T + VARIANCE.diag())
    z = BIAS + randn(50, LATENT) @ weight.T + randn(50, D, seed=1) * VARIANCE.sqrt()
    x = MEAN + SCALE * z
    mu, logvar = model.encoder(x)
    posterior = MultivariateNormal(mu, precision_matrix=precision)
    approximation = MultivariateNormal(mu, logvar.exp().diag_embed())
    return Linear(
        model,
        x,
        evidence.log_prob(z) - SCALE.log().sum(),
        kl_divergence(approximation, posterior).detach(),
    )


def orthogonal(weight):
    """Make the columns orthogonal under the noise, so that the posterior is diagonal."""
    first, second = weight.T
    second = second - first * (first @ (second / VARIANCE)) / (first @ (first / VARIANCE))
    return torch.stack([first, second], 1)


@pytest.fixture
def exact():
    """A VAE whose encoder is the exact posterior."""
    return linear_vae(orthogonal(WEIGHT))


@pytest.fixture
def loose():
    """A VAE whose encoder is too narrow and ignores a correlation."""
    return linear_vae(WEIGHT, logvar_shift=-0.7)


def over_draws(model, x, score, n=2000):
    """Return scores of x (n, B) under n redrawn sets of noise, and restore the noise."""
    kept, scores = model.noise_draws.clone(), []
    for seed in range(n):
        half = randn(DRAWS // 2, 1, LATENT, seed=seed)
        model.noise_draws.copy_(torch.cat([half, -half]))
        scores.append(model.score_samples(x, score))
    model.noise_draws.copy_(kept)
    return torch.stack(scores)


def test_the_test_bed_is_what_it_says(exact, loose):
    torch.testing.assert_close(exact.posterior_gap, torch.zeros(50).double())
    assert (loose.posterior_gap > 0.1).all()


def test_draws_are_antithetic():
    draws = VAE(D, latent_dim=LATENT).noise_draws
    assert draws.shape == (DRAWS, 1, LATENT)
    assert torch.equal(draws.sum(0), torch.zeros(1, LATENT))


def test_with_the_exact_posterior_elbo_and_iwae_are_the_evidence(exact):
    """Every importance weight is then p(x), whatever the draws."""
    iwae = exact.model.score_samples(exact.x, "iwae")
    torch.testing.assert_close(iwae, exact.log_evidence, atol=1e-9, rtol=0)
    exact.model.noise_draws.copy_(exact_draws())
    elbo = exact.model.score_samples(exact.x, "elbo")
    torch.testing.assert_close(elbo, exact.log_evidence, atol=1e-9, rtol=0)


def test_elbo_is_the_evidence_minus_the_gap_of_the_posterior(loose):
    """The log-likelihood is quadratic, so draws with exact second moments give its exact mean."""
    loose.model.noise_draws.copy_(exact_draws())
    expected = loose.log_evidence - loose.posterior_gap
    torch.testing.assert_close(loose.model.score_samples(loose.x), expected, atol=1e-9, rtol=0)


def test_in_expectation_elbo_is_below_iwae_is_below_the_evidence(loose):
    x, evidence = loose.x[:5], loose.log_evidence[:5]
    elbo, iwae = (over_draws(loose.model, x, score) for score in ("elbo", "iwae"))
    elbo_error, iwae_error = (s.std(0) / len(s) ** 0.5 for s in (elbo, iwae))
    exact_elbo = evidence - loose.posterior_gap[:5]
    assert ((elbo.mean(0) - exact_elbo).abs() < 4 * elbo_error).all()
    assert (iwae.mean(0) > exact_elbo + 4 * iwae_error).all()
    assert (iwae.mean(0) < evidence + 4 * iwae_error).all()


def test_elbo_and_iwae_of_any_net_are_their_formulas():
    model = VAE(D, latent_dim=LATENT, hidden_dims=[8]).double()
    model.is_fitted = True
    z = randn(20, D)
    mu, logvar = model.encoder(z)
    posterior, prior = Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), 1.0)
    latent = mu + posterior.scale * model.noise_draws
    mean, logvar = model.decoder_net(latent).chunk(2, dim=-1)
    assert logvar.std() > 0.01  # the variance depends on the latent
    log_likelihood = Normal(mean, (0.5 * logvar).exp()).log_prob(z).sum(-1)
    elbo = log_likelihood.mean(0) - kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(model.log_prob(z), elbo)
    log_weight = log_likelihood + (prior.log_prob(latent) - posterior.log_prob(latent)).sum(-1)
    iwae = log_weight.exp().mean(0).log()
    torch.testing.assert_close(model.score_samples(z, "iwae"), iwae.detach())


def test_the_default_score_is_elbo_and_deterministic(loose):
    first = loose.model.log_prob(loose.x)
    assert torch.equal(first, loose.model.log_prob(loose.x))
    assert torch.equal(first, loose.model.score_samples(loose.x, "elbo"))


def test_surrogate_scores_are_their_formulas(loose):
    model, z = loose.model, (loose.x - MEAN) / SCALE
    mu = model.encode(loose.x)
    error = z - (mu @ WEIGHT.T + BIAS)
    expected = {
        "reconstruction": -error.square().sum(1),
        "latent_euclidean": -mu.square().sum(1).sqrt(),
    }
    for name, score in expected.items():
        torch.testing.assert_close(model.score_samples(loose.x, name), score.detach())


def test_mahalanobis_is_measured_against_the_training_rows():
    model = VAE(D, latent_dim=LATENT, hidden_dims=[8]).double()
    train = randn(200, D) @ randn(D, D, seed=1)
    model.fit(train, train[:20], epochs=2)
    mu = model.encode(train).detach().numpy()
    inverse = np.linalg.inv(np.cov(mu.T))
    centred = mu - mu.mean(0)
    expected = -np.sqrt(np.einsum("bi,ij,bj->b", centred, inverse, centred))
    got = model.score_samples(train.numpy(), "latent_mahalanobis")
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_loss_function_is_the_negative_elbo_of_one_draw(loose):
    model, x = loose.model, loose.x
    mean, mu, logvar = model(x, torch.Generator().manual_seed(0))
    total, recon, kl = model.loss_function(mean, x, mu, logvar, beta=2.0)
    noise = SCALE * VARIANCE.sqrt()
    torch.testing.assert_close(recon, -Normal(mean, noise).log_prob(x).sum(1).mean())
    posterior = Normal(mu, (0.5 * logvar).exp())
    expected = kl_divergence(posterior, Normal(torch.zeros_like(mu), 1.0)).sum(1).mean()
    torch.testing.assert_close(kl, expected)
    torch.testing.assert_close(total, recon + 2 * kl)


def test_evaluation_loss_is_the_negative_elbo(loose):
    """Without a generator the losses use the draws of the scores; in standardised units."""
    z = loose.model.standardizer(loose.x)
    losses = loose.model.losses(z)
    elbo = loose.model.log_prob(loose.x).mean() + SCALE.log().sum()
    torch.testing.assert_close(losses["loss"], -elbo)
    torch.testing.assert_close(losses["loss"], losses["recon"] + losses["kl"])


def test_training_gradients_are_unbiased(loose):
    """Averaged over many draws they are those of the exact bound."""
    model, z = loose.model, loose.model.standardizer(loose.x[:5])
    parameters = list(model.parameters())
    model.noise_draws.copy_(exact_draws())
    exact = torch.autograd.grad(model.losses(z)["loss"], parameters)
    many = z.repeat(20_000, 1)
    loss = model.losses(many, torch.Generator().manual_seed(0))["loss"]
    sampled = torch.autograd.grad(loss, parameters)
    for got, expected in zip(sampled, exact, strict=True):
        torch.testing.assert_close(got, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("warmup", "progress", "weight"),
    [(0.1, 0.0, 0.0), (0.1, 0.05, 0.5), (0.1, 0.1, 1.0), (0.1, 1.0, 1.0), (0.0, 0.0, 1.0)],
)
def test_the_kl_term_warms_up_to_beta(warmup, progress, weight):
    model = VAE(D, latent_dim=LATENT, hidden_dims=[8], beta=4.0, kl_warmup=warmup)
    z = randn(20, D).float()
    losses = model.losses(z, torch.Generator().manual_seed(0), progress)
    expected = losses["recon"] + 4.0 * weight * losses["kl"]
    torch.testing.assert_close(losses["loss"], expected)


def test_samples_have_the_moments_of_the_model(exact):
    x = exact.model.sample(200_000, seed=0)
    weight = orthogonal(WEIGHT)
    covariance = SCALE[:, None] * (weight @ weight.T + VARIANCE.diag()) * SCALE
    torch.testing.assert_close(x.mean(0), MEAN + SCALE * BIAS, atol=0.02, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.03, rtol=0)


def test_encode_and_decode_speak_data_units(exact):
    latent = exact.model.encode(exact.x)
    weight = orthogonal(WEIGHT)
    expected = MEAN + SCALE * (latent @ weight.T + BIAS)
    torch.testing.assert_close(exact.model.decode(latent), expected)
    reconstruction, mu, logvar = exact.model(exact.x)
    torch.testing.assert_close(reconstruction, expected)
    torch.testing.assert_close((mu, logvar), exact.model.encoder(exact.x))


def test_a_trained_bound_stays_below_the_truth():
    """On a factor model a linear VAE comes within .1 nats of log p, from below."""
    weight = orthogonal(WEIGHT)
    truth = MultivariateNormal(BIAS, weight @ weight.T + VARIANCE.diag())
    train, held_out = (BIAS + randn(n, D, seed=n) @ truth.scale_tril.T for n in (2200, 1000))
    model = VAE(D, latent_dim=LATENT, hidden_dims=[]).double()
    model.fit(train[200:], train[:200], epochs=40, lr=1e-2, noise=0.0)
    gap = (truth.log_prob(held_out) - model.score_samples(held_out)).mean()
    assert 0 < gap < 0.1

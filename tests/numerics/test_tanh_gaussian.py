"""The squashed Gaussian of the policy against torch's distributions, in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Independent,
    Normal,
    TanhTransform,
    TransformedDistribution,
    kl_divergence,
)

from rl.policy import Gaussian, TanhGaussianPolicy

N_ACTIONS = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(n: int, seed: int = 0) -> Gaussian:
    mean, log_std = torch.randn(2, n, N_ACTIONS, generator=generator(seed), dtype=torch.float64)
    return Gaussian(mean, 0.5 * log_std - 0.5)


def normal(g: Gaussian) -> Independent:
    return Independent(Normal(g.mean, g.log_std.exp()), 1)


def squashed(g: Gaussian) -> TransformedDistribution:
    return TransformedDistribution(normal(g), [TanhTransform(cache_size=1)])


def test_log_prob_is_that_of_a_transformed_distribution() -> None:
    g = gaussian(200)
    raw = g.rsample(generator(1))
    expected = squashed(g).log_prob(raw.tanh())
    torch.testing.assert_close(g.log_prob(raw), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [6.0, 20.0, 400.0])
def test_log_prob_holds_where_tanh_is_one(size: float) -> None:
    """log(1 - tanh(x)^2) -> log 4 - 2 |x|, where 1 - tanh(x)^2 itself is 0 in float32."""
    g = Gaussian(torch.zeros(2, 1), torch.full((2, 1), math.log(10.0)))
    raw = torch.tensor([[size], [-size]])
    slope = math.log(4) - 2 * size - 2 * math.log1p(math.exp(-2 * size))
    expected = Normal(0.0, 10.0).log_prob(torch.tensor(size)).item() - slope
    assert g.log_prob(raw).tolist() == pytest.approx([expected, expected], abs=1e-6 * size)


def test_log_prob_has_finite_gradients_where_tanh_is_one() -> None:
    mean = torch.tensor([[300.0, -300.0, 0.0]], requires_grad=True)
    log_std = torch.tensor([[-5.0, 2.0, -5.0]], requires_grad=True)
    g = Gaussian(mean, log_std)
    g.log_prob(g.rsample(generator())).sum().backward()
    assert mean.grad is not None
    assert log_std.grad is not None
    assert mean.grad.isfinite().all()
    assert log_std.grad.isfinite().all()


def test_the_density_of_one_action_has_mass_one() -> None:
    g = Gaussian(torch.tensor([[0.4]], dtype=torch.float64), torch.zeros(1, 1).double())
    action = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1
    density = g.log_prob(action.atanh()[:, None]).exp()
    assert density.mean().item() * 2 == pytest.approx(1, abs=1e-6)


def test_the_censored_likelihood_has_mass_one() -> None:
    """The density between the bounds and the mass on either of them."""
    g = Gaussian(torch.tensor([[0.4]], dtype=torch.float64), torch.zeros(1, 1).double())
    bound = 0.9
    action = bound * ((torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1)
    raw, nowhere = action.atanh()[:, None], torch.zeros(1, 1, dtype=torch.bool)
    inside = g.censored_log_prob(raw, nowhere).exp().mean() * 2 * bound
    ends = torch.tensor([[-bound], [bound]], dtype=torch.float64).atanh()
    beyond = g.censored_log_prob(ends, ~nowhere).exp().sum()
    assert (inside + beyond).item() == pytest.approx(1, abs=1e-6)


def test_entropy_is_minus_the_mean_log_prob() -> None:
    """H(tanh x) = H(x) + E[log(1 - tanh(x)^2)], the expectation by quadrature."""
    mean, std = 0.3, 0.7
    x = mean + std * torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    weight = Normal(mean, std).log_prob(x).exp() * std * 18 / 20_000
    slope = (weight * torch.log1p(-x.tanh().square())).sum().item()
    entropy = 0.5 * math.log(2 * math.pi * math.e * std**2) + slope
    n = 200_000
    g = Gaussian(torch.full((n, 1), mean), torch.full((n, 1), math.log(std)))
    found = -g.log_prob(g.rsample(generator()))
    assert found.mean().item() == pytest.approx(entropy, abs=4 * found.std().item() / n**0.5)


def test_kl_is_torchs() -> None:
    p, q = gaussian(200, seed=0), gaussian(200, seed=1)
    expected = kl_divergence(normal(p), normal(q))
    torch.testing.assert_close(p.kl(q), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(p.kl(p), torch.zeros(200).double(), rtol=0, atol=1e-12)


def test_kl_is_the_same_after_tanh() -> None:
    n = 100_000
    p, q = (Gaussian(*(part.expand(n, -1) for part in gaussian(1, seed))) for seed in (0, 1))
    raw = p.rsample(generator(2))
    ratio = p.log_prob(raw) - q.log_prob(raw)
    assert ratio.mean().item() == pytest.approx(
        p.kl(q)[0].item(), abs=4 * ratio.std().item() / n**0.5
    )


def test_likelihood_of_actions_in_the_environments_units_differs_by_a_constant() -> None:
    low, high = torch.tensor([-2.0, 0.0, 1.0]).double(), torch.tensor([2.0, 10.0, 1.5]).double()
    policy = TanhGaussianPolicy(2, low, high).double()
    g = gaussian(50)
    raw = g.rsample(generator())
    affine = AffineTransform(policy.middle, policy.reach, event_dim=1)
    inside = TransformedDistribution(normal(g), [TanhTransform(cache_size=1), affine])
    action = policy.squash(raw)
    expected = g.log_prob(raw) - policy.reach.log().sum()
    torch.testing.assert_close(expected, inside.log_prob(action), rtol=1e-8, atol=1e-8)


def test_draws_have_the_stated_moments() -> None:
    n = 100_000
    wanted_mean, wanted_std = torch.tensor([-1.0, 2.0]), torch.tensor([0.1, 3.0])
    g = Gaussian(wanted_mean.expand(n, 2), wanted_std.log().expand(n, 2))
    raw: Tensor = g.rsample(generator())
    assert ((raw.mean(0) - wanted_mean).abs() < 4 * wanted_std / n**0.5).all()
    assert ((raw.std(0) / wanted_std - 1).abs() < 4 / (2 * n) ** 0.5).all()

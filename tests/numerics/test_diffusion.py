"""The diffusion's bound: against its definition, its draws, known densities, and its samples."""

import math

import numpy as np
import pytest
import torch

from gormpo_density.errors import ConfigError
from gormpo_density.models.diffusion import DiffusionDensity
from gormpo_density.models.noise_schedule import NoiseSchedule

D = 1
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def with_random_guess(timesteps: int, schedule: str = "linear") -> DiffusionDensity:
    """Return an unfitted model of one feature whose network guesses something."""
    model = DiffusionDensity(
        D, hidden_dims=(16,), timesteps=timesteps, beta_schedule=schedule, draw_pairs=4
    ).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.denoiser.out.weight.normal_(generator=generator)
        model.denoiser.out.bias.normal_(generator=generator)
    return model.eval()


def kl(mean, var, other_mean, other_var):
    return 0.5 * ((mean - other_mean) ** 2 / other_var + var / other_var - 1) - 0.5 * np.log(
        var / other_var
    )


def bound_by_definition(model: DiffusionDensity, w: float) -> float:
    """Return Ho et al.'s eq. 5 for one row of one feature, expectations by Gauss-Hermite."""
    s = model.schedule
    alpha, sigma, beta = (part.numpy() for part in (s.alpha, s.sigma, s.beta))
    total = -kl(alpha[-1] * w, sigma[-1] ** 2, 0.0, 1.0)
    for t in range(len(beta)):
        x_t = alpha[t] * w + sigma[t] * NODES
        with torch.no_grad():
            guess = model._guess(torch.as_tensor(x_t)[:, None], torch.tensor(t))[:, 0].numpy()
        pull = math.sqrt(2 * s.weight[t].item() * beta[t])
        mean = math.sqrt(1 - beta[t]) * x_t - pull * guess
        if t == 0:
            log_p = -0.5 * ((w - mean) ** 2 / beta[0] + math.log(2 * math.pi * beta[0]))
            total += np.sum(WEIGHTS * log_p) / math.sqrt(2 * math.pi)
            continue
        kept, spread = alpha[t - 1], sigma[t - 1] ** 2
        q_mean = (kept * beta[t] * w + math.sqrt(1 - beta[t]) * spread * x_t) / sigma[t] ** 2
        q_var = beta[t] * spread / sigma[t] ** 2
        total -= np.sum(WEIGHTS * kl(q_mean, q_var, mean, beta[t])) / math.sqrt(2 * math.pi)
    return float(total)


def full_sum(model: DiffusionDensity, w: float) -> float:
    """Return the bound as this module writes it, over every step, by Gauss-Hermite."""
    row, noise = torch.tensor([[w]]), torch.as_tensor(NODES)[:, None, None]
    weights = torch.as_tensor(WEIGHTS) / math.sqrt(2 * math.pi)
    gain = torch.zeros(())
    with torch.no_grad():
        for t in range(model.timesteps):
            steps = torch.full((len(NODES), 1), t)
            share = model.schedule.weight[t] / model.schedule.coefficient[t]
            gain += share * (weights * model._gain(row, steps, noise)[:, 0]).sum()
        return (model._gaussian(row)[0] + gain).item()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("timesteps", [1, 2, 7])
@pytest.mark.parametrize("w", [-1.3, 0.4])
def test_the_bound_is_that_of_its_definition(double, schedule, timesteps, w) -> None:
    model = with_random_guess(timesteps, schedule)
    assert full_sum(model, w) == pytest.approx(bound_by_definition(model, w), rel=1e-6, abs=1e-6)


def test_without_a_guess_the_bound_is_the_best_gaussian(double) -> None:
    model = DiffusionDensity(3, hidden_dims=(8,), timesteps=20)
    w = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(w).sum(1)
    torch.testing.assert_close(model._log_prob(w), expected)


def test_few_draws_are_without_bias(double) -> None:
    model = with_random_guess(30)
    w, generator = torch.tensor([[0.7]]), torch.Generator().manual_seed(0)
    n = 40_000
    shares = torch.rand(n, 1, generator=generator)
    noise = torch.randn(n, 1, 1, generator=generator)
    with torch.no_grad():
        single = model._gain(w, model.schedule.at(shares), noise)[:, 0]
    expected = full_sum(model, 0.7) - model._gaussian(w).item()
    standard_error = single.std().item() / math.sqrt(n)
    assert single.mean().item() == pytest.approx(expected, abs=4 * standard_error)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_turns_data_into_noise_and_its_chances_sum_to_one(double, kind) -> None:
    s = NoiseSchedule(100, kind)
    torch.testing.assert_close(s.alpha**2 + s.sigma**2, torch.ones(100))
    assert (s.alpha.diff() < 0).all()
    assert s.alpha[-1] < 0.05
    assert s.cumulative[-1].item() == pytest.approx(1)
    chance = s.cumulative.diff(prepend=torch.zeros(1))
    torch.testing.assert_close(chance * s.coefficient, s.weight)
    assert s.at(torch.tensor([0.0, 1 - 1e-12])).tolist() == [0, 99]


def two_modes(n: int, seed: int) -> np.ndarray:
    """Return rows (n, 2): a mixture of two Gaussians of standard deviation .5 at (-2, 1), (2, -1).

    Its log-density is `log_two_modes`.
    """
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1.0, 1.0], (n, 1))
    return sign * np.array([2.0, -1.0]) + 0.5 * rng.normal(size=(n, 2))


def log_two_modes(x: np.ndarray) -> np.ndarray:
    parts = [
        -0.5 * np.sum((x - m * np.array([2.0, -1.0])) ** 2, 1) / 0.25
        - math.log(2 * math.pi * 0.25)
        for m in (-1, 1)
    ]
    return np.logaddexp(*parts) - math.log(2)


@pytest.fixture(scope="module")
def fitted() -> DiffusionDensity:
    model = DiffusionDensity(2, hidden_dims=(64, 64), timesteps=100, draw_pairs=16)
    model.fit(two_modes(4000, 0), two_modes(500, 1), epochs=15, noise=0.0, seed=0)
    return model


def test_the_bound_is_below_the_truth_and_above_the_best_gaussian(fitted) -> None:
    x = two_modes(2000, 2)
    gap = log_two_modes(x).mean() - fitted.score_samples(x).mean()
    gaussian = -0.5 * np.linalg.slogdet(2 * math.pi * math.e * np.cov(x.T))[1]
    gap_of_gaussian = log_two_modes(x).mean() - gaussian
    assert -0.03 < gap < 0.5 * gap_of_gaussian


def test_stored_draws_add_nothing_on_average(fitted) -> None:
    rows = fitted.standardizer(torch.as_tensor(two_modes(1000, 3), dtype=torch.float32))
    w, generator = fitted.whitener(rows), torch.Generator().manual_seed(5)
    with torch.no_grad():
        stored = fitted._gain(w, fitted.draw_steps, fitted.draw_noise).mean(0) - fitted.draws_add
        n = 400
        share = torch.rand(n, len(w), generator=generator)
        noise = torch.randn(n, *w.shape, generator=generator)
        fresh = fitted._gain(w, fitted.schedule.at(share), noise).mean(0)
    assert (stored - fresh).mean().item() == pytest.approx(0, abs=0.1)


def test_samples_are_of_the_data(fitted) -> None:
    drawn = fitted.sample(1500, seed=0).double().numpy()
    assert np.abs(drawn).mean(0) == pytest.approx([2.0, 1.0], abs=0.15)
    assert (drawn[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.08)
    assert log_two_modes(drawn).mean() == pytest.approx(
        log_two_modes(two_modes(1500, 4)).mean(), abs=0.5
    )


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"time_dim": 3}, "time_dim must be even, is 3"),
        ({"hidden_dims": ()}, "hidden_dims must name at least one"),
        ({"beta_schedule": "sqrt"}, "beta_schedule must be 'linear' or 'cosine', got 'sqrt'"),
    ],
)
def test_bad_parameters(params, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        DiffusionDensity(2, **params)

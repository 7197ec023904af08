import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from rl.policy import TanhGaussianPolicy

LOW, HIGH = torch.tensor([-0.4, 1.0]), torch.tensor([0.4, 7.0])
OBS_DIM = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


#: Which dimensions were clipped.
BOTH, NEITHER = torch.tensor([True, True]), torch.tensor([False, False])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


def set_output(policy: TanhGaussianPolicy, mean: float, log_std: float) -> None:
    """Make the policy the same Gaussian everywhere."""
    last = policy.net[-1]
    last.weight.data.zero_()
    last.bias.data.copy_(torch.tensor([mean] * 2 + [log_std] * 2))


@pytest.fixture
def policy() -> TanhGaussianPolicy:
    return TanhGaussianPolicy(OBS_DIM, LOW, HIGH, (8,))


@pytest.mark.parametrize(("is_clipped", "reach"), [(BOTH, 1.8), (NEITHER, 3.7)])
def test_likelihood_inside_the_bounds_is_the_density_of_the_action(
    policy, is_clipped, reach
) -> None:
    obs, raw = randn(50, OBS_DIM), torch.linspace(-reach, reach, 50)[:, None].expand(-1, 2)
    expected = policy(obs).log_prob(raw)
    found = policy.log_likelihood(obs, policy.squash(raw), is_clipped)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("bound", "sign"), [(LOW, -1.0), (HIGH, 1.0)])
def test_a_clipped_action_on_a_bound_counts_with_the_mass_beyond_it(policy, bound, sign) -> None:
    set_output(policy, 0.3, -0.7)
    beyond = Normal(-sign * 0.3, math.exp(-0.7)).cdf(torch.tensor(-math.atanh(0.95)))
    found = policy.log_likelihood(randn(1, OBS_DIM), bound[None], BOTH)
    assert found.item() == pytest.approx(2 * beyond.log().item(), rel=1e-4)


@pytest.mark.parametrize("bound", [LOW, HIGH])
def test_an_action_on_a_bound_that_clips_nothing_is_moved_inside(policy, bound) -> None:
    obs = randn(1, OBS_DIM)
    sign = 1.0 if bound is HIGH else -1.0
    raw = torch.full((1, 2), sign * math.atanh(0.999))
    found = policy.log_likelihood(obs, bound[None], NEITHER)
    assert found.item() == pytest.approx(policy(obs).log_prob(raw).item(), rel=1e-3)


def test_dimensions_with_actions_on_a_bound_were_clipped(policy) -> None:
    """Those of a squashed Gaussian come near the bounds and never lie there."""
    unit = torch.stack([(2 * randn(1000)).tanh(), (2 * randn(1000)).clamp(-1, 1)], 1)
    action = policy.middle + policy.reach * unit
    assert (unit[:, 0].abs() > 0.99).float().mean() > 0.1
    assert policy.clipped_dims(action).tolist() == [False, True]


@pytest.mark.parametrize("is_clipped", [BOTH, NEITHER])
def test_gradients_on_the_bounds_are_finite_however_far_the_policy_is(policy, is_clipped) -> None:
    for mean in (-50.0, 0.0, 50.0):
        set_output(policy, mean, -5.0)
        policy.log_likelihood(randn(1, OBS_DIM), HIGH[None], is_clipped).sum().backward()
        assert all(param.grad.isfinite().all() for param in policy.parameters())


@pytest.mark.parametrize("mean", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("draws", [None, 0])
def test_actions_stay_within_the_bounds_of_the_environment(policy, mean, draws) -> None:
    set_output(policy, mean, 2.0)
    action = policy.act(randn(200, OBS_DIM), None if draws is None else generator(draws))
    assert (action >= LOW).all()
    assert (action <= HIGH).all()


def test_without_a_generator_the_action_is_the_tanh_of_the_mean(policy) -> None:
    set_output(policy, 0.5, 1.0)
    middle, reach = torch.tensor([0.0, 4.0]), torch.tensor([0.4, 3.0])
    expected = (middle + reach * math.tanh(0.5)).expand(4, 2)
    torch.testing.assert_close(policy.act(randn(4, OBS_DIM)), expected)


def test_with_a_generator_the_action_is_drawn_from_it_alone(policy) -> None:
    obs, state = randn(20, OBS_DIM), torch.get_rng_state()
    first, again, other = (policy.act(obs, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("given_log_std", "kept"), [(-99.0, -5.0), (-1.0, -1.0), (99.0, 2.0)])
def test_the_noise_is_bounded(policy, given_log_std, kept) -> None:
    set_output(policy, 0.0, given_log_std)
    assert policy(randn(1, OBS_DIM)).log_std.tolist() == [[kept, kept]]


def test_observations_are_standardised_inside(policy) -> None:
    unit = randn(500, OBS_DIM)
    unit = (unit - unit.mean(0)) / unit.std(0, correction=0)
    scale, shift = torch.tensor([1e-3, 1.0, 1e3]), torch.tensor([0.0, 5.0, -1e3])
    expected = policy(unit).mean
    policy.standardise(unit * scale + shift)
    torch.testing.assert_close(policy(unit * scale + shift).mean, expected, rtol=1e-3, atol=1e-3)


def test_a_constant_observation_is_only_shifted(policy) -> None:
    """A model's rollout leaves a constant by its rounding or noise, which is not an outlier."""
    obs = randn(500, OBS_DIM)
    obs[:, 1] = 4.1
    policy.standardise(obs)
    moved = obs.clone()
    moved[:, 1] += 0.01
    torch.testing.assert_close(policy(moved).mean, policy(obs).mean, rtol=0, atol=0.02)


def test_statistics_are_saved_with_the_weights(policy) -> None:
    policy.standardise(5 + 3 * randn(100, OBS_DIM))
    other = TanhGaussianPolicy(OBS_DIM, -torch.ones(2), torch.ones(2), (8,))
    other.load_state_dict(policy.state_dict())
    obs = randn(9, OBS_DIM, seed=1)
    assert torch.equal(other.act(obs), policy.act(obs))


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    obs_dim=st.integers(1, 6),
    action_dim=st.integers(1, 5),
    n=st.integers(0, 3),
    hidden=st.lists(st.integers(1, 4), max_size=2),
)
def test_any_sizes_will_do(obs_dim: int, action_dim: int, n: int, hidden: list[int]) -> None:
    bound = torch.ones(action_dim)
    policy = TanhGaussianPolicy(obs_dim, -bound, bound, hidden)
    obs = randn(n, obs_dim)
    out = policy(obs)
    assert out.mean.shape == out.log_std.shape == (n, action_dim)
    assert out.log_prob(out.mean).shape == out.kl(out).shape == (n,)
    assert policy.act(obs, generator()).shape == (n, action_dim)

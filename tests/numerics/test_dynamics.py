"""The mathematics of the learnt dynamics, in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal

from gormpo_density.data.transitions import DatasetInfo
from rl.config import DynamicsConfig
from rl.dynamics import EnsembleDynamics
from rl.dynamics_units import TransitionUnits
from rl.gaussian_ensemble import GaussianEnsemble, gaussian_nll
from rl.offline_data import OfflineData

PROPERTY = settings(derandomize=True, max_examples=15, deadline=None)
DIMS = st.integers(1, 6)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def config(**options):
    hidden = options.setdefault("hidden_dims", (6, 5))
    return DynamicsConfig(**{"weight_decay": (0.0,) * (len(hidden) + 1), **options})


def dynamics(obs_dim=2, action_dim=1, **options):
    """Return untrained dynamics in float64 with units that are not trivial."""
    model = EnsembleDynamics(obs_dim, action_dim, config(**options), seed=0).double()
    for seed, (name, buffer) in enumerate(model.units.named_buffers()):
        values = randn(len(buffer), seed=seed)
        buffer.copy_(values.exp() if name.endswith("scale") else values)
    return model


def offline(obs, action, reward, next_obs, n_train):
    n = len(obs)
    rows = torch.arange(n)
    empty = rows[:0]
    return OfflineData(
        *(obs, action, reward, next_obs),
        terminated=torch.zeros(n, dtype=torch.bool),
        episode=rows,
        splits={"train": rows[:n_train], "val": rows[n_train:], "cal": empty, "test": empty},
        info=DatasetInfo("made", "arrays"),
    )


# The networks -------------------------------------------------------------------------------


def test_the_loss_is_the_negative_log_density_of_a_normal_distribution():
    mean, log_var, y = (3 * randn(5, 4, seed=seed) for seed in range(3))
    expected = -Normal(mean, (0.5 * log_var).exp()).log_prob(y) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian_nll(mean, log_var, y), expected)


@pytest.mark.parametrize("members", [None, [0, 1, 2], [2, 0]])
def test_a_member_computes_what_a_plain_network_with_its_weights_does(members):
    net = GaussianEnsemble(3, 4, (7, 5), 2, generator()).double()
    chosen = range(3) if members is None else members
    x = randn(len(chosen), 6, 4)
    mean, log_var = net(x, None if members is None else torch.tensor(members))
    for place, member in enumerate(chosen):
        plain = nn.Sequential()
        for weight, bias in zip(net.weights, net.biases, strict=True):
            linear = nn.Linear(*weight.shape[1:]).double()
            linear.weight.data, linear.bias.data = weight[member].T, bias[member, 0]
            plain.append(linear).append(nn.SiLU())
        raw_mean, raw = plain[:-1](x[place]).chunk(2, dim=1)
        upper, lower = net.max_log_var[member], net.min_log_var[member]
        raw = upper - nn.functional.softplus(upper - raw)
        torch.testing.assert_close(mean[place], raw_mean)
        torch.testing.assert_close(log_var[place], lower + nn.functional.softplus(raw - lower))


def test_the_log_variance_stays_between_its_bounds_and_is_free_between_them():
    net = GaussianEnsemble(1, 1, (), 1, generator()).double()
    net.weights[0].data = torch.tensor([[[0.0, 1.0]]]).double()
    net.biases[0].data.zero_()
    x = torch.tensor([[-1e4], [-5.0], [1e4]]).double()
    log_var = net(x)[1].detach().flatten()
    assert log_var[0] == pytest.approx(-10, abs=1e-4)
    assert log_var[1] == pytest.approx(-5, abs=0.02)
    assert log_var[2] == pytest.approx(0.5, abs=1e-4)


def test_the_bounds_of_each_member_count_in_its_own_width():
    net = GaussianEnsemble(3, 1, (), 2, generator())
    net.max_log_var.data[1] = 2.0
    torch.testing.assert_close(net.bound_width(torch.tensor([0, 1])), torch.tensor([21.0, 24.0]))


# Units --------------------------------------------------------------------------------------


@PROPERTY
@given(obs_dim=DIMS, action_dim=DIMS, n=st.integers(4, 9000), offset=st.sampled_from([0, 1e4]))
def test_units_are_those_of_the_rows_that_are_named(obs_dim, action_dim, n, offset):
    obs, action = randn(n, obs_dim) + offset, 3 * randn(n, action_dim, seed=1)
    reward, next_obs = randn(n, seed=2), obs + 2 * randn(n, obs_dim, seed=3) - 1
    rows = torch.arange(0, n, 2)
    units = TransitionUnits(obs_dim, action_dim).double()
    units.fit(obs, action, reward, next_obs, rows)
    x = np.concatenate([obs[rows], action[rows]], 1)
    y = np.concatenate([(next_obs - obs)[rows], reward[rows][:, None]], 1)
    np.testing.assert_allclose(units.input_mean, x.mean(0), atol=1e-9)
    np.testing.assert_allclose(units.input_scale, x.std(0), rtol=1e-7)
    np.testing.assert_allclose(units.target_mean, y.mean(0), atol=1e-9)
    np.testing.assert_allclose(units.target_scale, y.std(0), rtol=1e-7)


def test_inputs_and_targets_are_standardised_and_back():
    model = dynamics()
    obs, action, reward, next_obs = randn(5, 2), randn(5, 1), randn(5), randn(5, 2, seed=1)
    z = model.units.targets(obs, next_obs, reward)
    back = model.units.predicted(obs, z)
    torch.testing.assert_close(back, torch.cat([next_obs, reward[:, None]], 1))
    x = model.units.inputs(obs, action) * model.units.input_scale + model.units.input_mean
    torch.testing.assert_close(x, torch.cat([obs, action], 1))


def test_a_network_that_outputs_zero_predicts_the_mean_change_and_the_mean_reward():
    model = dynamics(members=2, elites=1)
    for parameter in (*model.net.weights, *model.net.biases):
        parameter.data.zero_()
    obs, action = randn(4, 2), randn(4, 1)
    mean, std = model.predict(obs, action)
    expected = torch.cat([obs, obs.new_zeros(4, 1)], 1) + model.units.target_mean
    torch.testing.assert_close(mean, expected.expand(2, 4, 3))
    log_var = model.net(model.units.inputs(obs, action))[1]
    torch.testing.assert_close(std, (0.5 * log_var).exp() * model.units.target_scale)


def test_constant_columns_are_predicted_exactly_and_without_noise():
    obs = torch.cat([randn(50, 1), torch.full((50, 1), 7.3)], 1)
    next_obs = torch.cat([randn(50, 1, seed=1), obs[:, 1:]], 1)
    action, reward = torch.full((50, 1), -0.2), torch.ones(50)
    model = EnsembleDynamics(2, 1, config(), seed=0).double()
    model.units.fit(obs, action.double(), reward.double(), next_obs, torch.arange(50))
    torch.testing.assert_close(model.obs_std[1].item(), 1.0)
    mean, std = model.predict(obs, action.double())
    assert torch.equal(mean[..., 1], obs[:, 1].expand(7, 50))
    torch.testing.assert_close(mean[..., 2], torch.ones(7, 50).double())
    assert (std[..., 1:] == 0).all()
    assert model.net(model.units.inputs(obs, action.double()))[0].isfinite().all()


# Sampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 3, 7, 10])
@pytest.mark.parametrize("way", ["sample", "sample_from"])
def test_a_row_is_drawn_from_the_mixture_of_the_elites(way, n_rows):
    """Mean and variance of each row, also where rows cannot be dealt evenly (5 elites)."""
    model, draws = dynamics(), 4000
    model.elites.copy_(torch.tensor([0, 2, 3, 4, 6]))
    obs, action = randn(n_rows, 2), randn(n_rows, 1, seed=1)
    source, prediction = generator(), model.predict(obs, action)
    rows = []
    for _ in range(draws):
        if way == "sample":
            next_obs, reward = model.sample(obs, action, source)
        else:
            next_obs, reward = model.sample_from(prediction, source)
        rows.append(torch.cat([next_obs, reward[:, None]], 1))
    drawn = torch.stack(rows)
    mean, std = prediction.mean[model.elites], prediction.std[model.elites]
    centre = mean.mean(0)
    spread = (std.square() + (mean - centre).square()).mean(0).sqrt()
    bound = 5 * spread / draws**0.5  # five standard errors
    assert ((drawn.mean(0) - centre).abs() < bound).all()
    torch.testing.assert_close(drawn.std(0), spread, rtol=0.08, atol=0)


# Training -----------------------------------------------------------------------------------


def test_the_ensemble_recovers_a_linear_system_with_gaussian_noise():
    """s' = A s + B a + noise, r = c s + noise: mean within .1, noise within 15 %."""
    n, noise = 6000, torch.tensor([0.1, 0.3, 0.05]).double()
    a, b, c = randn(2, 2) * 0.5, randn(1, 2, seed=1), randn(2, seed=2)
    obs, action = randn(n, 2, seed=3), randn(n, 1, seed=4)
    errors = randn(n, 3, seed=5) * noise
    expected = torch.cat([obs @ a + action @ b, (obs @ c)[:, None]], 1)
    seen = expected + errors
    data = offline(obs, action, seen[:, 2], seen[:, :2], n_train=5000)
    options = config(members=3, elites=2, hidden_dims=(32, 32), lr=3e-3, batch_size=64, epochs=8)
    model = EnsembleDynamics(2, 1, options, seed=0).double()
    model.fit(data)
    val = data.splits["val"]
    mean, std = model.predict(obs[val], action[val])
    assert (mean - expected[val]).square().mean((0, 1)).sqrt().max() < 0.1
    torch.testing.assert_close(std.mean((0, 1)), noise, rtol=0.15, atol=0)
    r2 = model.r2(obs[val], action[val], seen[val, 2], seen[val, :2])
    change = seen[val] - torch.cat([obs[val], torch.zeros(1000, 1)], 1)
    torch.testing.assert_close(r2, 1 - (noise / change.std(0)).square(), rtol=0.02, atol=0)

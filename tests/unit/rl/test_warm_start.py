"""Cloning and fitted Q evaluation on data whose policy and values are known."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density.data.transitions import Transitions
from gormpo_density.errors import FitError
from gormpo_density.seeding import reinitialise
from rl.config import BCConfig, FQEConfig, SACConfig
from rl.critics import TwinCritic
from rl.offline_data import OfflineData, to_device
from rl.policy import TanhGaussianPolicy
from rl.warm_start import clone_behaviour, fit_critics

CPU = torch.device("cpu")
LOW, HIGH = torch.tensor([-3.0]), torch.tensor([1.0])
NOISE = 0.3


def offline(n_train: int, **columns: np.ndarray) -> OfflineData:
    """Return data whose first rows are the training ones; what is not given is 0."""
    obs = columns["obs"]
    n = len(obs)
    last = np.append(np.diff(columns.get("episode", np.zeros(n))) != 0, True)
    ends = columns.get("terminated", np.zeros(n, bool))
    data = Transitions(
        obs=obs.astype(np.float32),
        action=columns.get("action", np.zeros((n, 1))).astype(np.float32),
        reward=columns.get("reward", np.zeros(n)).astype(np.float32),
        next_obs=columns.get("next_obs", obs).astype(np.float32),
        terminated=ends,
        truncated=last & ~ends,
        episode=columns.get("episode", np.zeros(n, np.int64)),
    )
    rows = np.arange(n)
    return to_device(data, {"train": rows[:n_train], "val": rows[n_train:]}, CPU)


# Cloning ----------------------------------------------------------------------------------


def wanted_mean(obs: Tensor) -> Tensor:
    """The behaviour's mean before tanh."""
    return 0.8 * obs[:, :1] - 0.4 * obs[:, 1:] + 0.2


def behaviour(n: int, n_train: int) -> OfflineData:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(n, 2))
    raw = wanted_mean(torch.from_numpy(obs)).numpy() + NOISE * rng.normal(size=(n, 1))
    return offline(n_train, obs=obs, action=-1 + 2 * np.tanh(raw))


def cloned(data: OfflineData, **options: Any) -> tuple[TanhGaussianPolicy, float]:
    policy = TanhGaussianPolicy(2, LOW, HIGH, (32,))
    reinitialise(policy, 0)
    return policy, clone_behaviour(policy, data, BCConfig(**options), seed=0)


def held_out_loss(policy: TanhGaussianPolicy, data: OfflineData) -> float:
    rows = data.splits["val"]
    is_clipped = policy.clipped_dims(data.action[data.splits["train"]])
    return -policy.log_likelihood(data.obs[rows], data.action[rows], is_clipped).mean().item()


def test_a_linear_gaussian_policy_is_recovered() -> None:
    data = behaviour(5000, 4000)
    policy, loss = cloned(data, steps=800, lr=5e-3, batch_size=128)
    obs = data.obs[data.splits["val"]]
    found = policy(obs)
    assert (found.mean - wanted_mean(obs)).square().mean().sqrt() < 0.06
    assert (found.log_std.exp() / NOISE - 1).abs().mean() < 0.08
    assert loss == pytest.approx(held_out_loss(policy, data), abs=1e-5)


def test_actions_that_were_clipped_hide_neither_mean_nor_spread() -> None:
    """A quarter of the actions lies on a bound, as those of a PPO policy do."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(6000, 2))
    unit = 0.9 * obs[:, :1] + 0.05 * rng.normal(size=(6000, 1))
    data = offline(5000, obs=obs, action=-1 + 2 * unit.clip(-1, 1))
    policy, _ = cloned(data, steps=1500, lr=5e-3, batch_size=256)
    obs, action = data.obs[5000:], data.action[5000:]
    for drawn_from, limit in ((None, 0.12), (torch.Generator().manual_seed(0), 0.2)):
        error = policy.act(obs, drawn_from) - action  # the noise has a deviation of 0.1
        assert error.square().mean().sqrt() < limit


def test_the_best_on_validation_is_kept() -> None:
    """Thirty rows of pure noise are soon known by heart, which new rows do not forgive."""
    rng = np.random.default_rng(1)
    action = -1 + 2 * np.tanh(0.5 * rng.normal(size=(530, 1)))
    data = offline(30, obs=rng.normal(size=(530, 2)), action=action)
    policy, loss = cloned(data, steps=400, lr=2e-2, batch_size=32)
    assert loss == pytest.approx(held_out_loss(policy, data), abs=1e-5)
    splits = {**data.splits, "val": data.splits["train"]}  # for which the last is the best
    by_heart, _ = cloned(dataclasses.replace(data, splits=splits), steps=400, lr=2e-2)
    assert loss < held_out_loss(by_heart, data) - 1


def test_observation_statistics_are_those_of_training_rows() -> None:
    data = behaviour(50, 20)
    policy, _ = cloned(data, steps=1)
    torch.testing.assert_close(policy.obs_mean, data.obs[:20].mean(0))


def test_cloning_depends_on_its_seed_alone() -> None:
    data, clones = behaviour(200, 100), []
    for seed in (0, 0, 1):
        policy = TanhGaussianPolicy(2, LOW, HIGH, (8,))
        reinitialise(policy, 0)
        state = torch.get_rng_state()
        clone_behaviour(policy, data, BCConfig(steps=20, lr=1e-2), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        clones.append(policy.net[0].weight)
    assert torch.equal(clones[0], clones[1])
    assert not torch.equal(clones[0], clones[2])


def test_a_clone_that_diverges_is_told() -> None:
    with pytest.raises(FitError, match=r"behaviour cloning, step 1: the loss is (nan|inf)"):
        cloned(behaviour(50, 40), steps=20, lr=1e38)


# Fitted Q evaluation ----------------------------------------------------------------------

GAMMA = 0.9
SAC = SACConfig(gamma=GAMMA, tau=0.1, critic_lr=5e-3, batch_size=64)


def chain() -> OfflineData:
    """Two tasks: 0 -> 1 -> 2 -> end with rewards 1, 2, 4; and 3 -> 3 with 1, cut after 5."""
    states = [0, 1, 2] * 30 + [3] * 150
    after = [1, 2, 2] * 30 + [3] * 150
    one_hot = np.eye(4)
    n = len(states)
    return offline(
        n,
        obs=one_hot[states],
        next_obs=one_hot[after],
        action=np.random.default_rng(0).uniform(-3, 1, size=(n, 1)),
        reward=np.array([1.0, 2.0, 4.0] * 30 + [1.0] * 150),
        terminated=np.array([False, False, True] * 30 + [False] * 150),
        episode=np.concatenate([np.repeat(np.arange(30), 3), 30 + np.repeat(np.arange(30), 5)]),
    )


VALUES = torch.tensor([1 + GAMMA * (2 + GAMMA * 4), 2 + GAMMA * 4, 4.0, 1 / (1 - GAMMA)])


@pytest.mark.parametrize("steps", [(0, 900), (300, 300)])
def test_values_of_a_chain_are_found(steps: tuple[int, int]) -> None:
    """A terminated row has no future; one at a time limit has, so state 3 is worth 10."""
    data, critic = chain(), TwinCritic(4, 1, (32,))
    policy = TanhGaussianPolicy(4, LOW, HIGH, (8,))
    reinitialise(critic, 0)
    reinitialise(policy, 1)
    fqe = FQEConfig(regression_steps=steps[0], steps=steps[1])
    fit_critics(critic, policy, data, fqe, SAC, seed=0)
    obs = torch.eye(4).repeat_interleave(8, 0)
    rows = torch.cat([obs, policy.act(obs, torch.Generator().manual_seed(0))], 1)
    found = (critic(rows) * data.reward_scale).detach().view(2, 4, 8)
    error = (found - VALUES[None, :, None]).abs() / VALUES[None, :, None]
    assert error.max() < 0.1


def test_regression_alone_gives_the_datas_returns() -> None:
    data, critic = chain(), TwinCritic(4, 1, (32,))
    policy = TanhGaussianPolicy(4, LOW, HIGH, (8,))
    reinitialise(critic, 0)
    fit_critics(critic, policy, data, FQEConfig(regression_steps=400, steps=1), SAC, seed=0)
    returns, known = data.discounted_returns(GAMMA)
    assert known[:90].all()
    rows = torch.cat([data.obs, data.action], 1)[:90]
    found = critic(rows).mean(0).detach() * data.reward_scale
    torch.testing.assert_close(found, returns[:90], rtol=0.1, atol=0.2)


def test_critics_that_diverge_are_told() -> None:
    options = SAC.model_copy(update={"critic_lr": 1e38})
    policy = TanhGaussianPolicy(4, LOW, HIGH, (8,))
    fqe = FQEConfig(regression_steps=5, steps=5)
    with pytest.raises(FitError, match="fitted Q evaluation: a weight is not finite"):
        fit_critics(TwinCritic(4, 1, (8,)), policy, chain(), fqe, options, seed=0)


@pytest.mark.parametrize("steps", [(0, 300), (300, 1)])
def test_held_out_rewards_are_not_seen(steps: tuple[int, int]) -> None:
    data, found = chain(), []
    train, rest = (torch.arange(len(data.obs))[data.episode % 2 == k] for k in (0, 1))
    other = data.reward.clone()
    other[rest] += 100
    config = FQEConfig(regression_steps=steps[0], steps=steps[1])
    for reward in (data.reward, other):
        given = dataclasses.replace(data, reward=reward, splits={"train": train, "val": rest})
        critic, policy = TwinCritic(4, 1, (32,)), TanhGaussianPolicy(4, LOW, HIGH, (8,))
        reinitialise(critic, 0)
        reinitialise(policy, 1)
        fit_critics(critic, policy, given, config, SAC, seed=0)
        found.append(critic)
    assert all(map(torch.equal, found[0].parameters(), found[1].parameters()))

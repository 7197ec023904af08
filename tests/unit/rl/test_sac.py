"""SAC against its formulas, on networks small enough to do so by hand."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gormpo_density.checkpoints import pack_state, restore_state
from gormpo_density.seeding import reinitialise
from rl.buffer import Batch, Layout
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.sac import SAC, RewardUnits

LOW, HIGH = torch.tensor([-2.0]), torch.tensor([4.0])
FREE = RewardUnits(scale=2.0, penalty_unit=3.0, lowest_q=-math.inf, highest_q=math.inf)
N = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(units: RewardUnits = FREE, updates: int = 100, **options: Any) -> SAC:
    actor, critic = TanhGaussianPolicy(2, LOW, HIGH, (16,)), TwinCritic(2, 1, (32, 32))
    reinitialise(actor, 0)
    reinitialise(critic, 1)
    return SAC(actor, critic, SACConfig(**options), units, updates)


def batch(seed: int = 0, reward_shift: float = 0.0) -> Batch:
    """Return rows of which about a third are terminated."""
    u = torch.rand(N, 8, generator=generator(seed))
    obs, action = u[:, :2], LOW + (HIGH - LOW) * u[:, 2:3]
    reference = Gaussian(2 * u[:, 3:4] - 1, -u[:, 4:5])
    layout, terminated = Layout(2, 1), u[:, 5] < 0.3
    rows = layout.pack(
        torch.cat([obs, action], 1),
        obs + 0.1,
        u[:, 6] + reward_shift,
        u[:, 7],
        terminated,
        reference,
    )
    return layout.unpack(rows)


def noise(seed: int = 0) -> Tensor:
    return torch.empty(N, 1).normal_(generator=generator(seed))


def parameters(part: Any) -> list[Tensor]:
    return [p.detach().clone() for p in part.parameters()]


# Critics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kl", [0.0, 0.5])
@torch.no_grad()
def test_the_target_by_hand(kl: float) -> None:
    """Entropy counts without the KL only; a terminated row has no future, a cut one has."""
    sac, rows = learner(kl=kl, gamma=0.9, alpha=0.7), batch()
    sac.coef.fill_(1.5)
    found = sac._target(rows, noise(7))
    policy = sac.actor(rows.next_obs)
    raw = policy.rsample(generator(7))
    values = sac.target(torch.cat([rows.next_obs, sac.actor.squash(raw)], 1))
    for i in range(N):
        q = values[:, i].min().item()
        h = -0.7 * policy.log_prob(raw)[i].item() if kl == 0 else 0.0
        reward = (rows.reward[i].item() - 1.5 * 3.0 * rows.penalty[i].item()) / 2.0
        future = 0.9 * (q + h) if rows.alive[i] else 0.0
        assert found[i].item() == pytest.approx(reward + future, abs=1e-5)


def test_targets_below_zero_are_kept() -> None:
    """The ancestor's defect D2: clamp(0, None) made penalties vanish where returns are small."""
    sac, rows = learner(), batch(reward_shift=-50.0)
    assert (sac._target(rows, noise()) < -20).all()
    sac.coef.fill_(100.0)
    assert sac._target(batch(), noise()).min() < -100


def test_targets_are_kept_within_the_bounds() -> None:
    sac, rows = learner(FREE._replace(lowest_q=-4.0, highest_q=1.0)), batch()
    sac.coef.fill_(2.0)
    free = learner()
    free.coef.fill_(2.0)
    target, unbounded = (each._target(rows, noise()) for each in (sac, free))
    assert unbounded.min() < -2
    assert unbounded.max() > 0.5 - 1.5
    torch.testing.assert_close(target, unbounded.clamp(-2.0, 0.5))


def test_the_critics_step_is_that_of_the_summed_squares() -> None:
    sac, rows = learner(critic_lr=0.01), batch()
    target = sac._target(rows, noise(3))
    by_hand = copy.deepcopy(sac.critic)
    loss = (by_hand(rows.state_action) - target).square().mean(1).sum()
    loss.backward()
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    optimizer.step()
    found = sac._update_critic(rows, generator(3))
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    for ours, expected in zip(sac.critic.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)


# Actor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kl", [0.0, 0.5])
def test_the_actors_loss_by_hand(kl: float) -> None:
    sac, rows = learner(kl=kl, alpha=0.7), batch()
    policy = sac.actor(rows.obs)
    raw = policy.rsample(generator(5))
    q = sac.critic(torch.cat([rows.obs, sac.actor.squash(raw)], 1)).amin(0).mean()
    divergence, log_prob = policy.kl(rows.reference).mean(), policy.log_prob(raw).mean()
    expected = (0.5 * divergence if kl else 0.7 * log_prob) - q
    gradients = torch.autograd.grad(expected, list(sac.actor.parameters()))
    found = sac._update_actor(rows, generator(5))
    for value, by_hand in zip(found, (expected, q, divergence, -log_prob), strict=True):
        assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)
    for parameter, gradient in zip(sac.actor.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_actors_step_leaves_the_critics_alone() -> None:
    sac, rows = learner(), batch()
    critic, actor = parameters(sac.critic), parameters(sac.actor)
    sac._update_actor(rows, generator())
    assert all(map(torch.equal, parameters(sac.critic), critic))
    assert not any(map(torch.equal, parameters(sac.actor), actor))
    assert all(p.grad is None and p.requires_grad for p in sac.critic.parameters())


def test_the_actors_rate_falls_along_a_half_cosine() -> None:
    sac, rates = learner(updates=8, actor_lr=0.4, critic_lr=0.3), []
    for i in range(8):
        sac.update(batch(i), generator(i))
        rates.append(sac.actor_optimizer.param_groups[0]["lr"])
    expected = [0.2 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert rates == pytest.approx(expected)
    assert sac.critic_optimizer.param_groups[0]["lr"] == 0.3


# Temperature ------------------------------------------------------------------------------


@pytest.mark.parametrize(("target_entropy", "direction"), [(50.0, 1), (-50.0, -1)])
def test_the_temperature_goes_towards_the_wanted_entropy(target_entropy, direction) -> None:
    sac = learner(kl=0.0, target_entropy=target_entropy)
    before = sac.log_alpha.item()
    sac.update(batch(), generator())
    assert (sac.log_alpha.item() - before) * direction > 0


@pytest.mark.parametrize(("kl_target", "direction"), [(1e-6, 1), (50.0, -1)])
def test_the_automatic_weight_of_the_kl_rises_while_the_kl_is_above_its_target(
    kl_target, direction
) -> None:
    sac = learner(kl="auto", kl_target=kl_target)
    assert sac.log_kl.exp().item() == pytest.approx(5.0)
    sac.update(batch(), generator())
    assert (sac.log_kl.item() - math.log(5.0)) * direction > 0


def test_the_target_of_the_kl_is_for_each_action_dimension() -> None:
    actor, critic = TanhGaussianPolicy(2, -torch.ones(3), torch.ones(3), (4,)), TwinCritic(2, 3)
    sac = SAC(actor, critic, SACConfig(kl_target=0.2), FREE, 1)
    assert sac.target_kl == pytest.approx(0.6)
    assert sac.target_entropy == -3


@pytest.mark.parametrize(
    ("options", "learnt"),
    [
        ({"kl": 0.0, "alpha": 0.3}, set()),
        ({"kl": 0.0, "alpha": "auto"}, {"log_alpha"}),
        ({"kl": 0.5, "alpha": "auto"}, set()),
        ({"kl": "auto", "alpha": "auto"}, {"log_kl"}),
    ],
)
def test_only_an_automatic_multiplier_that_is_used_is_learnt(options, learnt) -> None:
    sac = learner(**options)
    before = {name: getattr(sac, name).item() for name in ("log_alpha", "log_kl")}
    sac.update(batch(), generator())
    assert {name for name in before if getattr(sac, name).item() != before[name]} == learnt


# Averages, units, curves ------------------------------------------------------------------


def test_targets_and_average_are_polyak_averages() -> None:
    sac = learner(tau=0.25, ema=0.125)
    target, averaged = parameters(sac.target), parameters(sac.averaged)
    sac.update(batch(), generator())
    for old, leader, follower, step in (
        (target, sac.critic, sac.target, 0.25),
        (averaged, sac.actor, sac.averaged, 0.125),
    ):
        for before, new, got in zip(old, parameters(leader), parameters(follower), strict=True):
            torch.testing.assert_close(got, (1 - step) * before + step * new)
    assert not any(p.requires_grad for p in [*sac.target.parameters(), *sac.averaged.parameters()])


def test_values_are_in_raw_reward_units() -> None:
    sac, rows = learner(), batch().state_action
    torch.testing.assert_close(sac.values(rows), 2.0 * sac.critic(rows).amin(0).detach())


def test_curves_are_sums_over_updates() -> None:
    sac, seen = learner(kl=0.5), []
    update_actor = sac._update_actor
    sac._update_actor = lambda *args: seen.append(update_actor(*args)) or seen[-1]
    for i in range(3):
        sac.update(batch(i), generator(i))
    curves = dict(zip(sac.CURVES, sac.sums.tolist(), strict=True))
    totals = torch.tensor(seen).sum(0).tolist()
    names = ("actor_loss", "q", "kl", "entropy")
    assert [curves[name] for name in names] == pytest.approx(totals)
    assert curves["multiplier"] == pytest.approx(3 * 0.5)
    assert curves["critic_loss"] > 0
    assert sac.updates == 3


@pytest.mark.parametrize("kl", [0.0, "auto"])
def test_a_restored_learner_goes_on_to_the_same_numbers(kl) -> None:
    sac, resumed = learner(kl=kl), learner(kl=kl)
    for i in range(3):
        sac.update(batch(i), generator(i))
    state = {name: value.clone() for name, value in pack_state(sac.parts()).items()}
    restore_state(resumed.parts(), state)
    resumed.updates = sac.updates
    for each in (sac, resumed):
        for i in range(3, 6):
            each.update(batch(i), generator(i))
    ours, theirs = pack_state(sac.parts()), pack_state(resumed.parts())
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_nothing_is_drawn_from_the_global_generator() -> None:
    sac, state = learner(), torch.get_rng_state()
    sac.update(batch(), generator())
    assert torch.equal(torch.get_rng_state(), state)


# A bandit whose answer is known -------------------------------------------------------------


CLONE = Gaussian(torch.zeros(N, 1), torch.full((N, 1), -1.0))


def solve_bandit(sac: SAC, steps: int) -> TanhGaussianPolicy:
    """Learn one-step episodes with reward 4 - (a - 2)^2, data uniform over the bounds."""
    layout, ended = Layout(2, 1), torch.ones(N, dtype=torch.bool)
    for i in range(steps):
        u = torch.rand(N, 3, generator=generator(i))
        action = LOW + (HIGH - LOW) * u[:, 2:]
        reward = 4 - (action[:, 0] - 2).square()
        rows = torch.cat([u[:, :2], action], 1)
        packed = layout.pack(rows, u[:, :2], reward, torch.zeros(N), ended, CLONE)
        sac.update(layout.unpack(packed), generator(1000 + i))
    return sac.actor


@pytest.mark.parametrize(("kl", "optimum"), [(0.0, 2.0), (1e-3, 2.0), (100.0, 1.0)])
def test_it_finds_the_best_action_or_stays_with_the_clone(kl: float, optimum: float) -> None:
    """The clone acts around 1, the middle of the bounds; a large weight of the KL keeps it."""
    sac = learner(kl=kl, alpha=0.01, actor_lr=1e-2, critic_lr=1e-2, updates=300)
    action = solve_bandit(sac, 300).act(batch().obs)
    assert (action - optimum).abs().max() < 0.25


def test_an_automatic_weight_ends_where_the_kl_is_its_target() -> None:
    rates = {"actor_lr": 1e-2, "critic_lr": 1e-2, "kl_lr": 6e-2}
    actor = solve_bandit(learner(kl="auto", kl_target=0.4, updates=300, **rates), 300)
    assert actor(batch().obs).kl(CLONE).mean().item() == pytest.approx(0.4, abs=0.05)
    assert (actor.act(batch().obs) - 1.73).abs().max() < 0.1

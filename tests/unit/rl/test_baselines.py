"""TD3+BC against its paper's formulas, and on a task whose answer is known."""

import copy

import pytest
import torch
from torch import Tensor

from gormpo_density.checkpoints import pack_state, restore_state
from gormpo_density.seeding import reinitialise
from rl.baselines import TD3BC
from rl.buffer import Batch, Layout
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.sac import RewardUnits

LOW, HIGH = torch.tensor([-2.0]), torch.tensor([4.0])
UNITS = RewardUnits(scale=2.0, penalty_unit=1.0, lowest_q=-1.0, highest_q=1.0)
REACH, MIDDLE = 3.0, 1.0


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(**options: float) -> TD3BC:
    actor, critic = TanhGaussianPolicy(2, LOW, HIGH, (16,)), TwinCritic(2, 1, (16,))
    reinitialise(actor, 0)
    reinitialise(critic, 1)
    return TD3BC(actor, critic, SACConfig(**options), UNITS)


def batch_of(obs: Tensor, action: Tensor, reward: Tensor, terminated: Tensor) -> Batch:
    layout, nobody = Layout(2, 1), Gaussian(torch.zeros_like(action), torch.zeros_like(action))
    rows = torch.cat([obs, action], 1)
    no_penalty = torch.zeros_like(reward)
    return layout.unpack(layout.pack(rows, obs + 0.1, reward, no_penalty, terminated, nobody))


def batch(n: int = 64, seed: int = 0) -> Batch:
    u = torch.rand(n, 5, generator=generator(seed))
    return batch_of(u[:, :2], 6 * u[:, 2:3] - 2, 3 * u[:, 3], u[:, 4] < 0.3)


def unit(action: Tensor) -> Tensor:
    return (action - MIDDLE) / REACH


def test_the_target_is_that_of_td3() -> None:
    td3, rows = learner(gamma=0.9), batch()
    drawn = rows.draw_noise(generator(7), 0.2)
    found = td3._target(rows, drawn)
    noise = (0.2 * torch.randn(64, 1, generator=generator(7))).clamp(-0.5, 0.5)
    pi = unit(td3.target_actor.act(rows.next_obs))
    action = MIDDLE + REACH * (pi + noise).clamp(-1, 1)
    q = td3.target_critic(torch.cat([rows.next_obs, action], 1)).amin(0)
    torch.testing.assert_close(found, rows.reward / 2 + 0.9 * rows.alive * q)


def test_the_actors_loss_is_that_of_the_paper() -> None:
    td3, rows = learner(), batch()
    action = td3.actor.act(rows.obs)
    q = td3.critic(torch.cat([rows.obs, action], 1))[0].detach()
    bc = (unit(action) - unit(rows.state_action[:, 2:])).square().mean()
    loss, mean_q, distance = td3._update_actor(rows)
    torch.testing.assert_close(loss, bc - 2.5 * q.mean() / q.abs().mean())
    torch.testing.assert_close(mean_q, q.mean())
    torch.testing.assert_close(distance, bc)


def test_actor_and_targets_move_every_second_update() -> None:
    td3, changed = learner(tau=0.5, ema=0.1), []
    for _ in range(4):
        before = copy.deepcopy(td3.parts())
        td3.update(batch(), generator())
        now = td3.parts()
        names = ("critic", "actor", "target_actor", "target_critic")
        changed.append([not same(before[name], now[name]) for name in names])
    assert changed == [[True, False, False, False], [True] * 4] * 2
    assert td3.updates == 4


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_targets_and_average_are_polyak_averages() -> None:
    td3 = learner(tau=0.25, ema=0.5)
    before = copy.deepcopy(td3.parts())
    for _ in range(2):
        td3.update(batch(), generator())
    for name, follower, step in (
        ("critic", "target_critic", 0.25),
        ("actor", "target_actor", 0.25),
        ("actor", "averaged", 0.5),
    ):
        for old, new, got in zip(
            before[follower].parameters(),
            td3.parts()[name].parameters(),
            td3.parts()[follower].parameters(),
            strict=True,
        ):
            torch.testing.assert_close(got, old + step * (new - old))


def test_the_curves_are_means_over_all_updates() -> None:
    td3, losses = learner(), []
    update_actor = td3._update_actor
    td3._update_actor = lambda rows: losses.append(update_actor(rows)) or losses[-1]
    for _ in range(6):
        td3.update(batch(), generator())
    means = dict(zip(td3.CURVES, (td3.sums / 6).tolist(), strict=True))
    expected = torch.stack(losses).mean(0).tolist()
    assert [means["actor_loss"], means["q"], means["bc"]] == pytest.approx(expected)
    assert means["critic_loss"] > 0


def test_the_policy_stays_deterministic() -> None:
    td3 = learner()
    for _ in range(10):
        td3.update(batch(), generator())
    obs = batch().obs
    torch.testing.assert_close(
        td3.actor.act(obs, generator()), td3.actor.act(obs), atol=0.1, rtol=0
    )


def test_values_are_in_raw_reward_units() -> None:
    td3, rows = learner(), batch().state_action
    torch.testing.assert_close(td3.values(rows), 2 * td3.critic(rows).amin(0).detach())


def test_a_restored_learner_goes_on_to_the_same_numbers() -> None:
    td3, resumed = learner(), learner()
    draws = generator(3)
    for i in range(3):
        td3.update(batch(seed=i), draws)
    state = {name: value.clone() for name, value in pack_state(td3.parts()).items()}
    restore_state(resumed.parts(), state)
    resumed.updates = td3.updates
    for each in (td3, resumed):
        again = generator(4)
        for i in range(3):
            each.update(batch(seed=i), again)
    assert same(td3.actor, resumed.actor)
    assert same(td3.target_critic, resumed.target_critic)


def test_it_finds_the_better_of_the_datas_actions() -> None:
    """One-step episodes whose reward is the action, data uniform on its range.

    With Q = a / 2 and a = 1 + 3 p the loss p^2 + const - 2.5 Q / |Q| is least at p = 0.96.
    """
    td3 = learner(critic_lr=3e-3)
    for i in range(600):
        u = torch.rand(64, 3, generator=generator(i))
        action = 6 * u[:, 2:] - 2
        rows = batch_of(u[:, :2], action, action[:, 0], torch.ones(64, dtype=torch.bool))
        td3.update(rows, generator(i))
    acted = td3.actor.act(batch().obs)
    assert (acted > 3).all()  # behaviour cloning would end at the mean, 1
    assert (acted <= HIGH).all()

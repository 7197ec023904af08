"""Rollouts in a model whose every step is known: the state counts its steps."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rl.buffer import Batch, Layout
from rl.config import RolloutConfig
from rl.history import Memory
from rl.policy import TanhGaussianPolicy
from rl.rollout import Generation, Rollouts
from rl.transition_model import Step

LAYOUT = Layout(2, 1)
BOUND = torch.ones(1)


class CountingModel:
    """s = [start, steps so far]; the reward is the start, the penalty a tenth of the steps.

    Starts below 10 end in their step `ends`, those from 20 on are cut in their step `cuts`.
    """

    def __init__(self, ends: int = 99, cuts: int = 99, has_surprise: bool = True) -> None:
        self.ends, self.cuts, self.has_surprise = ends, cuts, has_surprise
        self.asked: list[int] = []

    def step(self, obs: Tensor, action: Tensor, memory: Any = None) -> Step:
        self.asked.append(len(obs))
        start, steps = obs[:, 0], obs[:, 1] + 1
        return Step(
            next_obs=torch.stack([start, steps], 1),
            reward=start,
            penalty=steps / 10,
            terminated=(start < 10) & (steps == self.ends),
            truncated=(start >= 20) & (steps == self.cuts),
            surprise=steps - 1 if self.has_surprise else None,
        )


def starts(*numbers: float) -> Tensor:
    return torch.tensor([[number, 0.0] for number in numbers])


def rollouts(
    model: CountingModel, states: Tensor, n_starts: int = 30, length: int = 4, seed: int = 0
) -> Rollouts:
    config = RolloutConfig(starts=n_starts, length=length)
    reference = TanhGaussianPolicy(2, -BOUND, BOUND, (4,))
    generator = torch.Generator().manual_seed(seed)
    return Rollouts(model, states, reference, config, LAYOUT, generator)


def generate(made: Rollouts) -> tuple[Generation, Batch]:
    generation = made.generate(TanhGaussianPolicy(2, -BOUND, BOUND, (4,)))
    return generation, LAYOUT.unpack(generation.rows)


@pytest.mark.parametrize(("n_starts", "length"), [(1, 1), (30, 1), (7, 5), (1000, 3)])
def test_starts_and_length_are_those_of_the_configuration(n_starts, length) -> None:
    """The ancestor's defect D1: 100 starts whatever was asked for."""
    model = CountingModel()
    generation, batch = generate(rollouts(model, starts(10, 11, 12), n_starts, length))
    assert model.asked == [n_starts] * length
    assert len(generation.rows) == n_starts * length
    assert batch.obs[:, 1].tolist() == [t for t in range(length) for _ in range(n_starts)]


def test_every_state_can_be_a_start() -> None:
    _, batch = generate(rollouts(CountingModel(), starts(*range(10, 20)), 200, 1))
    assert set(batch.obs[:, 0].tolist()) == set(range(10, 20))


def test_steps_follow_one_another() -> None:
    _, batch = generate(rollouts(CountingModel(), starts(10, 11), 5, 3))
    assert torch.equal(batch.next_obs[:, 0], batch.obs[:, 0])
    assert torch.equal(batch.next_obs[:, 1], batch.obs[:, 1] + 1)
    assert torch.equal(batch.obs[5:], batch.next_obs[:-5])


def test_a_branch_stops_where_it_terminates_and_its_last_row_says_so() -> None:
    generation, batch = generate(rollouts(CountingModel(ends=2), starts(5, 15), 40, 4))
    short, long = batch.obs[:, 0] == 5, batch.obs[:, 0] == 15
    assert batch.next_obs[short, 1].max() == 2
    assert batch.next_obs[long, 1].max() == 4
    assert torch.equal(batch.alive, 1 - (short & (batch.next_obs[:, 1] == 2)).float())
    n_short = int((short & (batch.obs[:, 1] == 0)).sum())
    assert len(batch.reward) == 2 * n_short + 4 * (40 - n_short)
    assert generation.terminated == pytest.approx(n_short / len(batch.reward))
    assert generation.truncated == 0


def test_a_branch_that_is_cut_stops_but_is_not_terminal() -> None:
    generation, batch = generate(rollouts(CountingModel(cuts=1), starts(15, 25), 40, 4))
    far = batch.obs[:, 0] == 25
    assert batch.next_obs[far, 1].max() == 1
    assert batch.alive.all()
    assert generation.truncated == pytest.approx(far.float().mean().item())
    assert generation.terminated == 0


def test_it_stops_when_no_branch_is_left() -> None:
    model = CountingModel(ends=1)
    generation, _ = generate(rollouts(model, starts(1, 2), 6, 4))
    assert model.asked == [6]
    assert len(generation.rows) == 6


def test_reward_and_penalty_are_kept_apart() -> None:
    generation, batch = generate(rollouts(CountingModel(), starts(10, 30), 8, 3))
    assert torch.equal(batch.reward, batch.obs[:, 0])
    assert torch.equal(batch.penalty, batch.next_obs[:, 1] / 10)
    assert torch.equal(generation.penalty, batch.penalty)
    assert generation.reward == pytest.approx(batch.reward.mean().item())


def test_surprise_comes_with_every_row_or_not_at_all() -> None:
    generation, batch = generate(rollouts(CountingModel(), starts(10), 3, 2))
    assert torch.equal(generation.surprise, batch.obs[:, 1])
    blind, _ = generate(rollouts(CountingModel(has_surprise=False), starts(10), 3, 2))
    assert blind.surprise is None


def test_the_clones_gaussian_is_kept_beside_every_row() -> None:
    made = rollouts(CountingModel(), starts(10, 11), 5, 2)
    _, batch = generate(made)
    for found, expected in zip(batch.reference, made.reference(batch.obs), strict=True):
        torch.testing.assert_close(found, expected)


def test_actions_are_drawn_from_the_policy() -> None:
    actor = TanhGaussianPolicy(2, -3 * BOUND, BOUND, (4,))
    last = actor.net[-1]
    last.weight.data.zero_()
    last.bias.data.copy_(torch.tensor([0.5, math.log(0.1)]))
    generation = rollouts(CountingModel(), starts(10), 2000, 1).generate(actor)
    action = LAYOUT.unpack(generation.rows).state_action[:, 2:]
    raw = ((action - actor.middle) / actor.reach).atanh()
    assert raw.mean().item() == pytest.approx(0.5, abs=0.01)
    assert raw.std().item() == pytest.approx(0.1, abs=0.01)


def test_a_generation_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    made = rollouts(CountingModel(), starts(*range(10, 20)))
    state = torch.get_rng_state()
    actor = made.reference
    first, second = made.generate(actor), made.generate(actor)
    made.generator.manual_seed(0)
    again = made.generate(actor)
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, second.rows)
    assert torch.equal(torch.get_rng_state(), state)


class RememberingModel(CountingModel):
    """It remembers the start of each branch, and the steps from it."""

    def step(self, obs: Tensor, action: Tensor, memory: Any = None) -> Step:
        (start, steps), seen = memory
        assert torch.equal(start, obs[:, 0])
        assert torch.equal(steps[:, 0], obs[:, 1])
        return super().step(obs, action)._replace(memory=Memory((start, steps + 1), seen + 1))


def test_every_branch_goes_on_with_its_own_memory() -> None:
    states = starts(5, 15, 25)
    made = rollouts(RememberingModel(ends=2, cuts=1), states, 40, 4)
    nothing = torch.zeros(40)
    made.recall = lambda chosen: Memory((states[chosen, 0], nothing[:, None]), nothing)
    _, batch = generate(made)
    lengths = {s: int(batch.next_obs[batch.obs[:, 0] == s, 1].max()) for s in (5, 15, 25)}
    assert lengths == {5: 2, 15: 4, 25: 1}

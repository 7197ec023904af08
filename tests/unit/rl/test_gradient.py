import math

import pytest
import torch
from torch import nn

from rl.gradient import approach, half_cosine, take_step


def test_a_step_is_taken_by_the_named_parameters_alone() -> None:
    ours, theirs = (torch.tensor(2.0, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([ours, theirs], lr=0.1)
    take_step(optimizer, [ours], ours.square() * theirs)
    assert ours.item() == pytest.approx(2 - 0.1 * 2 * 2 * 2)
    assert theirs.item() == 2
    assert theirs.grad is None


def test_gradients_do_not_add_up_from_step_to_step() -> None:
    weight = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(3):
        take_step(optimizer, [weight], 2 * weight)
    assert weight.item() == pytest.approx(1 - 3 * 0.2)


def test_the_learning_rate_falls_from_all_to_nothing() -> None:
    shares = [half_cosine(done) for done in (0.0, 0.25, 0.5, 1.0)]
    assert shares == pytest.approx([1.0, 0.5 + math.sqrt(0.125), 0.5, 0.0])


def test_a_follower_moves_a_share_of_the_way() -> None:
    follower, leader = nn.Linear(2, 1), nn.Linear(2, 1)
    for module, value in ((follower, 1.0), (leader, 3.0)):
        for param in module.parameters():
            nn.init.constant_(param, value)
    approach(follower, leader, 0.25)
    assert follower.weight.tolist() == [[1.5, 1.5]]
    assert follower.bias.tolist() == [1.5]
    assert leader.bias.tolist() == [3.0]

"""What every learner does with a gradient: take a step, slow down, and follow with targets."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def take_step(optimizer: torch.optim.Optimizer, params: Sequence[Tensor], loss: Tensor) -> None:
    """Take a step of an optimiser against the gradient of a loss by some of its parameters.

    Whatever else the loss depends on gets no gradient.
    """
    for param, grad in zip(params, torch.autograd.grad(loss, params), strict=True):
        param.grad = grad
    optimizer.step()


def half_cosine(done: float) -> float:
    """Return the share of a learning rate after a share of the training: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def approach(follower: nn.Module, leader: nn.Module, step: float) -> None:
    """Move the parameters of one module towards those of another (Polyak)."""
    torch._foreach_lerp_(list(follower.parameters()), list(leader.parameters()), step)

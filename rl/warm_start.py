"""Where policy and critics start: behaviour cloning, and fitted Q evaluation of the clone."""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gormpo_density.errors import FitError
from rl.config import BCConfig, FQEConfig, SACConfig
from rl.critics import TwinCritic
from rl.gradient import approach, half_cosine, take_step
from rl.offline_data import OfflineData
from rl.policy import TanhGaussianPolicy

_CHECKS = 20  # times that the clone is held against the validation rows


def clone_behaviour(
    policy: TanhGaussianPolicy,
    data: OfflineData,
    config: BCConfig,
    *,
    seed: int,
    progress: bool = False,
) -> float:
    """Fit a policy to the data's actions by maximum likelihood; the best on "val" is kept.

    Args:
        policy: Trained in place; its observation statistics are those of the training rows.
        data: The transitions.
        config: Options.
        seed: Draws the batches.
        progress: Show a progress bar.

    Returns:
        Mean negative log-likelihood of the validation actions in nats, of actions scaled to
        [-1, 1]; see `TanhGaussianPolicy.log_likelihood`.

    Raises:
        FitError: The likelihood stopped being a number.
    """
    train, val = data.splits["train"], data.splits["val"]
    policy.standardise(data.obs[train])
    is_clipped = policy.clipped_dims(data.action[train])
    params: list[Tensor] = list(policy.parameters())
    optimizer = torch.optim.Adam(params, lr=config.lr, fused=True)
    best, best_loss = copy.deepcopy(policy.state_dict()), math.inf
    check_every = max(1, config.steps // _CHECKS)
    batches = _batches(train, config.batch_size, config.steps, seed)
    for step, rows in enumerate(_shown(batches, config.steps, "cloning", progress), start=1):
        optimizer.param_groups[0]["lr"] = config.lr * half_cosine(step / config.steps)
        take_step(optimizer, params, _negative_log_likelihood(policy, data, rows, is_clipped))
        if step % check_every == 0 or step == config.steps:
            with torch.no_grad():
                held_out = _negative_log_likelihood(policy, data, val, is_clipped).item()
            if not math.isfinite(held_out):
                raise FitError(f"behaviour cloning, step {step}: the loss is {held_out}")
            if held_out < best_loss:
                best, best_loss = copy.deepcopy(policy.state_dict()), held_out
    policy.load_state_dict(best)
    return best_loss


def fit_critics(
    critic: TwinCritic,
    policy: TanhGaussianPolicy,
    data: OfflineData,
    config: FQEConfig,
    sac: SACConfig,
    *,
    seed: int,
    progress: bool = False,
) -> None:
    """Fit critics to the value of a policy on real rows (fitted Q evaluation).

    First regression on the data's own discounted returns where they are known, which costs
    little and gives the scale; then temporal differences, each critic after its own target,

        Q_i(s, a) -> r + gamma (1 - terminated) Q_i'(s', a'),  a' ~ policy(s').

    Args:
        critic: Trained in place; values are in units of the data's reward scale.
        policy: Whose value is wanted.
        data: The transitions.
        config: Number of steps.
        sac: Discount, batch size, learning rate and step of the targets.
        seed: Draws batches and actions.
        progress: Show a progress bar.

    Raises:
        FitError: A value stopped being a number.

    Source:
        Le et al. 2019, arXiv:1903.08738 (FQE).
    """
    train = data.splits["train"]
    state_action = torch.cat([data.obs, data.action], 1)
    critic.standardise(state_action[train])
    params: list[Tensor] = list(critic.parameters())
    optimizer = torch.optim.Adam(params, lr=sac.critic_lr, fused=True)
    returns, known = data.discounted_returns(sac.gamma)
    known_rows = train[known[train]]
    if len(known_rows):
        batches = _batches(known_rows, sac.batch_size, config.regression_steps, seed)
        for rows in _shown(batches, config.regression_steps, "returns", progress):
            goal = returns[rows] / data.reward_scale
            take_step(optimizer, params, critic.loss(state_action[rows], goal))
    generator = torch.Generator(data.device).manual_seed(seed + 1)
    target = copy.deepcopy(critic).requires_grad_(False)
    batches = _batches(train, sac.batch_size, config.steps, seed + 2)
    for rows in _shown(batches, config.steps, "critics", progress):
        with torch.no_grad():
            action = policy.act(data.next_obs[rows], generator)
            value = target(torch.cat([data.next_obs[rows], action], 1))
            alive = (~data.terminated[rows]).to(value.dtype)
            goal = data.reward[rows] / data.reward_scale + sac.gamma * alive * value
        take_step(optimizer, params, critic.loss(state_action[rows], goal))
        approach(target, critic, sac.tau)
    if not all(weight.isfinite().all() for weight in critic.parameters()):
        raise FitError("fitted Q evaluation: a weight is not finite (try a smaller critic_lr)")


def _negative_log_likelihood(
    policy: TanhGaussianPolicy, data: OfflineData, rows: Tensor, is_clipped: Tensor
) -> Tensor:
    return -policy.log_likelihood(data.obs[rows], data.action[rows], is_clipped).mean()


def _batches(rows: Tensor, batch_size: int, steps: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator(rows.device).manual_seed(seed)
    for _ in range(steps):
        drawn = torch.randint(len(rows), (batch_size,), generator=generator, device=rows.device)
        yield rows[drawn]


def _shown(batches: Iterator[Tensor], steps: int, name: str, progress: bool) -> Iterator[Tensor]:
    yield from tqdm(batches, total=steps, desc=name, disable=not progress)

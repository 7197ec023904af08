"""Soft actor-critic on penalised rewards, kept near the cloned policy."""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gormpo_density.checkpoints import Part
from rl.buffer import Batch
from rl.compilation import compiled, without_gradient
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.gradient import half_cosine, take_step
from rl.policy import Gaussian, TanhGaussianPolicy

#: An automatic weight starts strict and gives way: a policy that leaves at once fills the buffer
#: with rows off the data.
_FIRST_KL_WEIGHT = 5.0


class RewardUnits(NamedTuple):
    """How raw rewards and penalties become what the critics learn.

    r = (reward - coef * penalty_unit * penalty) / scale; Q is in units of `scale` too.

    Attributes:
        scale: Mean absolute reward of the data.
        penalty_unit: Standard deviation of the data's rewards.
        lowest_q: Lower bound of critic targets, raw units; -inf for none.
        highest_q: Upper bound of critic targets, raw units.
    """

    scale: float
    penalty_unit: float
    lowest_q: float
    highest_q: float


class SAC:
    """Minimise the soft Bellman error of twin critics, and improve the actor against them.

    Critic: sum_i (Q_i(s, a) - y)^2, y = r + gamma (1 - terminated) (min_i Q_i'(s', a') + h),
    clipped to the bounds of `RewardUnits`.
    Actor: kl KL(pi || pi_BC) - min_i Q_i(s, a~pi) if kl > 0, and h = 0;
    alpha log pi(a|s) - min_i Q_i(s, a~pi) if kl = 0, and h = -alpha log pi(a'|s').
    The temperature alpha is learnt by minimising alpha (entropy - target_entropy); the weight kl,
    where it is automatic, by minimising kl (target - KL): it is the multiplier of KL <= target.

    Args:
        actor: Trained in place; its averaged copy is `averaged`.
        critic: Trained in place.
        config: Options.
        units: Of rewards.
        total_updates: Length of the actor's learning-rate schedule.

    Attributes:
        averaged: Exponential moving average of the actor.
        coef: Coefficient of the penalty, a scalar tensor that may change between updates.
        sums: Running sums of the curves in `CURVES` since they were last read.

    Source:
        Haarnoja et al. 2018, arXiv:1812.05905. The KL in place of the entropy is that of
        behaviour-regularised actor-critic (Wu et al. 2019, arXiv:1911.11361, the multiplier in
        section 4), in closed form.
    """

    CURVES: tuple[str, ...] = ("critic_loss", "actor_loss", "q", "kl", "entropy", "multiplier")

    def __init__(
        self,
        actor: TanhGaussianPolicy,
        critic: TwinCritic,
        config: SACConfig,
        units: RewardUnits,
        total_updates: int,
    ) -> None:
        self.actor = actor
        self.averaged = copy.deepcopy(actor).requires_grad_(False)
        self.critic = critic
        self.target = copy.deepcopy(critic).requires_grad_(False)
        self.config = config
        self.units = units
        self.total_updates = total_updates
        device = actor.middle.device
        self.uses_kl = config.kl != 0
        self.log_alpha = _multiplier(config.alpha, 0.2, device)
        self.log_kl = _multiplier(config.kl or "auto", _FIRST_KL_WEIGHT, device)
        n_actions = len(actor.middle)
        self.target_kl = n_actions * config.kl_target
        wanted = config.target_entropy
        self.target_entropy = -float(n_actions) if wanted is None else wanted
        self.coef = torch.zeros((), device=device)
        self.sums = torch.zeros(len(self.CURVES), device=device)
        self.updates = 0
        self._actor_params: list[Tensor] = list(actor.parameters())
        self._averaged_params: list[Tensor] = list(self.averaged.parameters())
        self._critic_params: list[Tensor] = list(critic.parameters())
        self._target_params: list[Tensor] = list(self.target.parameters())
        self._judge = without_gradient(critic)  # in the actor's loss
        self._bellman_loss = compiled(self._bellman_loss_of, device)
        self._actor_loss = compiled(self._actor_loss_of, device)
        self.critic_optimizer = _adam((self._critic_params, config.critic_lr))
        self.actor_optimizer = _adam(
            (self._actor_params, config.actor_lr),
            ([self.log_alpha], config.alpha_lr),
            ([self.log_kl], config.kl_lr),
        )

    def update(self, batch: Batch, generator: torch.Generator) -> None:
        """Take one step of critics, actor and temperature."""
        self.sums[0] += self._update_critic(batch, generator)  # at once, see `compiled`
        actor_loss, q, kl, entropy = self._update_actor(batch, generator)
        with torch.no_grad():
            torch._foreach_lerp_(self._target_params, self._critic_params, self.config.tau)
            torch._foreach_lerp_(self._averaged_params, self._actor_params, self.config.ema)
            multiplier = self._log_multiplier.exp()
            self.sums[1:] += torch.stack([actor_loss, q, kl, entropy, multiplier])
        self.updates += 1

    def _update_critic(self, batch: Batch, generator: torch.Generator) -> Tensor:
        loss = self._bellman_loss(batch, batch.draw_noise(generator))
        take_step(self.critic_optimizer, self._critic_params, loss)
        return loss.detach()

    def _bellman_loss_of(self, batch: Batch, noise: Tensor) -> Tensor:
        return self.critic.loss(batch.state_action, self._target(batch, noise))

    @torch.no_grad()
    def _target(self, batch: Batch, noise: Tensor) -> Tensor:
        """Return y (B,), in units of the reward scale; noise (B, A) is that of a'."""
        units, policy = self.units, self.actor(batch.next_obs)
        raw = policy.at(noise)
        action = self.actor.squash(raw)
        value = self.target(torch.cat([batch.next_obs, action], 1)).amin(0)
        if not self.uses_kl:
            value -= self.log_alpha.exp() * policy.log_prob(raw)
        cost = self.coef * units.penalty_unit * batch.penalty
        reward = (batch.reward - cost) / units.scale
        target = torch.addcmul(reward, batch.alive, value, value=self.config.gamma)
        return target.clamp(units.lowest_q / units.scale, units.highest_q / units.scale)

    def _update_actor(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        loss, q, kl, entropy = self._actor_loss(batch, batch.draw_noise(generator))
        if self._log_multiplier.requires_grad:
            # Of multiplier * slack: a negative slack (a broken constraint) raises the multiplier.
            slack = self.target_kl - kl if self.uses_kl else entropy - self.target_entropy
            self._log_multiplier.grad = self._log_multiplier.detach().exp() * slack
        done = min(self.updates / self.total_updates, 1.0)
        self.actor_optimizer.param_groups[0]["lr"] = self.config.actor_lr * half_cosine(done)
        take_step(self.actor_optimizer, self._actor_params, loss)
        return loss.detach(), q, kl, entropy

    def _actor_loss_of(self, batch: Batch, noise: Tensor) -> tuple[Tensor, ...]:
        """Return the loss and, without gradients, mean Q, KL and entropy; noise is (B, A)."""
        policy: Gaussian = self.actor(batch.obs)
        raw = policy.at(noise)
        q = self._judge(torch.cat([batch.obs, self.actor.squash(raw)], 1)).amin(0).mean()
        kl, log_prob = policy.kl(batch.reference).mean(), policy.log_prob(raw).mean()
        multiplier = self._log_multiplier.detach().exp()
        loss = multiplier * (kl if self.uses_kl else log_prob) - q
        return loss, q.detach(), kl.detach(), -log_prob.detach()

    @property
    def _log_multiplier(self) -> Tensor:
        """The one that is in use: of the KL, or of the entropy."""
        return self.log_kl if self.uses_kl else self.log_alpha

    @torch.no_grad()
    def values(self, state_action: Tensor) -> Tensor:
        """Return min_i Q_i (B,) of rows [s, a], raw reward units."""
        return self.critic(state_action).amin(0) * self.units.scale

    def parts(self) -> Mapping[str, Part]:
        """Return what a checkpoint must hold, apart from the number of updates."""
        return {
            "actor": self.actor,
            "averaged": self.averaged,
            "critic": self.critic,
            "target": self.target,
            "log_alpha": self.log_alpha,
            "log_kl": self.log_kl,
            "coef": self.coef,
            "actor_optimizer": self.actor_optimizer,
            "critic_optimizer": self.critic_optimizer,
        }


def _multiplier(value: float | str, start: float, device: torch.device) -> Tensor:
    """Return the logarithm of a multiplier; one that is "auto" is learnt from `start` on."""
    learnt = isinstance(value, str)
    size = start if isinstance(value, str) else value
    return torch.tensor(math.log(size), device=device, requires_grad=learnt)


def _adam(*groups: tuple[list[Tensor], float]) -> torch.optim.Adam:
    """Return one optimiser of parameters with learning rates of their own."""
    return torch.optim.Adam([{"params": params, "lr": lr} for params, lr in groups], fused=True)

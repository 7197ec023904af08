"""TD3+BC: the model-free yardstick, in the loop and on the networks that MOPO uses."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gormpo_density.checkpoints import Part
from rl.buffer import Batch
from rl.compilation import compiled, without_gradient
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.gradient import approach, take_step
from rl.policy import TanhGaussianPolicy
from rl.sac import RewardUnits

# The paper's values; noise is that of actions in [-1, 1].
_Q_WEIGHT = 2.5
_POLICY_DELAY = 2
_NOISE, _NOISE_LIMIT = 0.2, 0.5

_NO_NOISE = -20.0  # log std of the actor, which clamps it to the least it has


class TD3BC:
    """Twin critics after a smoothed target policy, and an actor between them and the data.

    Critic: sum_i (Q_i(s, a) - y)^2, y = r + gamma (1 - terminated) min_i Q_i'(s', a'),
    a' = pi'(s') + noise within the bounds, noise ~ N(0, 0.2^2) clipped to 0.5.
    Actor, every second update: |pi(s) - a|^2 - lambda Q_1(s, pi(s)), lambda = 2.5 / mean |Q_1|.

    pi is deterministic, the tanh of the actor's mean; the actor's own noise is set to the least
    that it has. Actions are in [-1, 1] here; the critics see the environment's.

    Args:
        actor: Trained in place; its averaged copy is `averaged`.
        critic: Trained in place.
        config: Discount, `tau`, `ema`, and `critic_lr` for the actor too.
        units: Of rewards; the bounds of Q are not used.

    Attributes:
        averaged: Exponential moving average of the actor.
        coef: Without effect: real rows have no penalty.
        sums: Running sums of the curves in `CURVES` since they were last read.

    Source:
        Fujimoto & Gu 2021, arXiv:2106.06860; Fujimoto et al. 2018, arXiv:1802.09477 (TD3).
        Differs: rewards are divided by their mean size.
    """

    CURVES: tuple[str, ...] = ("critic_loss", "actor_loss", "q", "bc")

    def __init__(
        self,
        actor: TanhGaussianPolicy,
        critic: TwinCritic,
        config: SACConfig,
        units: RewardUnits,
    ) -> None:
        _silence(actor)
        self.actor = actor
        self.averaged = copy.deepcopy(actor).requires_grad_(False)
        self.target_actor = copy.deepcopy(actor).requires_grad_(False)
        self.critic = critic
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)
        self.config = config
        self.units = units
        self.coef = torch.zeros_like(actor.middle[0])
        self.sums = actor.middle.new_zeros(len(self.CURVES))
        self.updates = 0
        self._actor_params: list[Tensor] = list(actor.parameters())
        self._critic_params: list[Tensor] = list(critic.parameters())
        self._judge = without_gradient(critic)  # in the actor's loss
        self._bellman_loss = compiled(self._bellman_loss_of, actor.middle.device)
        self._actor_loss = compiled(self._actor_loss_of, actor.middle.device)
        lr = config.critic_lr
        self.actor_optimizer = torch.optim.Adam(self._actor_params, lr=lr, fused=True)
        self.critic_optimizer = torch.optim.Adam(self._critic_params, lr=lr, fused=True)

    def update(self, batch: Batch, generator: torch.Generator) -> None:
        """Take one step of the critics, and every second time one of the actor and the targets."""
        self.updates += 1
        self.sums[0] += self._update_critic(batch, generator)  # at once, see `compiled`
        if self.updates % _POLICY_DELAY == 0:
            self.sums[1:] += _POLICY_DELAY * self._update_actor(batch)
            approach(self.target_actor, self.actor, self.config.tau)
            approach(self.target_critic, self.critic, self.config.tau)
        approach(self.averaged, self.actor, self.config.ema)

    def _update_critic(self, batch: Batch, generator: torch.Generator) -> Tensor:
        loss = self._bellman_loss(batch, batch.draw_noise(generator, _NOISE))
        take_step(self.critic_optimizer, self._critic_params, loss)
        return loss.detach()

    def _bellman_loss_of(self, batch: Batch, noise: Tensor) -> Tensor:
        return self.critic.loss(batch.state_action, self._target(batch, noise))

    @torch.no_grad()
    def _target(self, batch: Batch, noise: Tensor) -> Tensor:
        """Return y (B,), in units of the reward scale; noise (B, A) is that of a'."""
        action = self.target_actor(batch.next_obs).mean.tanh()
        noisy = (action + noise.clamp(-_NOISE_LIMIT, _NOISE_LIMIT)).clamp(-1, 1)
        value = self._values(self.target_critic, batch.next_obs, noisy).amin(0)
        reward = batch.reward / self.units.scale
        return torch.addcmul(reward, batch.alive, value, value=self.config.gamma)

    def _update_actor(self, batch: Batch) -> Tensor:
        """Take a step of the actor and return its loss, mean Q_1 and distance to the data."""
        loss, q, bc = self._actor_loss(batch)
        take_step(self.actor_optimizer, self._actor_params, loss)
        return torch.stack([loss.detach(), q, bc])

    def _actor_loss_of(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the loss and, without gradients, mean Q_1 and the distance to the data."""
        action = self.actor(batch.obs).mean.tanh()
        data_action = batch.state_action[:, batch.obs.shape[1] :]
        wanted = (data_action - self.actor.middle) / self.actor.reach
        q = self._values(self._judge, batch.obs, action)[0]
        bc = (action - wanted).square().mean()
        loss = bc - _Q_WEIGHT * q.mean() / q.detach().abs().mean()
        return loss, q.detach().mean(), bc.detach()

    def _values(self, critic: TwinCritic, obs: Tensor, action: Tensor) -> Tensor:
        """Return Q_1 and Q_2 (2, B) of actions in [-1, 1]."""
        scaled = torch.addcmul(self.actor.middle, self.actor.reach, action)
        return critic(torch.cat([obs, scaled], 1))

    @torch.no_grad()
    def values(self, state_action: Tensor) -> Tensor:
        """Return min_i Q_i (B,) of rows [s, a], raw reward units."""
        return self.critic(state_action).amin(0) * self.units.scale

    def parts(self) -> Mapping[str, Part]:
        """Return what a checkpoint must hold, apart from the number of updates."""
        return {
            "actor": self.actor,
            "averaged": self.averaged,
            "target_actor": self.target_actor,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "actor_optimizer": self.actor_optimizer,
            "critic_optimizer": self.critic_optimizer,
        }


@torch.no_grad()
def _silence(actor: TanhGaussianPolicy) -> None:
    """Make the actor's standard deviation the least it has, everywhere and for good."""
    last = actor.net[-1]
    assert isinstance(last, nn.Linear)
    n_actions = len(actor.middle)
    last.weight[n_actions:] = 0
    last.bias[n_actions:] = _NO_NOISE

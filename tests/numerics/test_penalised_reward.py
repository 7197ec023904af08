"""What the critics learn of a penalty, from the transition model to their targets."""

import math

import pytest
import torch

from rl.buffer import Layout
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.policy import TanhGaussianPolicy
from rl.sac import SAC, RewardUnits

N, OBS_DIM = 64, 2


@pytest.mark.parametrize("coef", [0.0, 0.5, 3.0])
def test_a_target_is_reward_minus_coef_times_std_times_penalty(coef: float) -> None:
    """On terminal rows nothing else is left of it; coef can change without new rollouts."""
    torch.manual_seed(0)
    actor = TanhGaussianPolicy(OBS_DIM, -torch.ones(1), torch.ones(1), (8,))
    generator = torch.Generator().manual_seed(0)
    obs, action, scalars = (torch.rand(N, k, generator=generator) for k in (OBS_DIM, 1, 2))
    reward, penalty = scalars.unbind(1)
    layout = Layout(OBS_DIM, 1)
    terminated = torch.ones(N, dtype=torch.bool)
    batch = layout.unpack(
        layout.pack(torch.cat([obs, action], 1), obs, reward, penalty, terminated, actor(obs))
    )
    units = RewardUnits(scale=2.5, penalty_unit=1.7, lowest_q=-math.inf, highest_q=math.inf)
    learner = SAC(actor, TwinCritic(OBS_DIM, 1, (8,)), SACConfig(), units, total_updates=10)
    learner.coef.fill_(coef)
    found = learner._target(batch, batch.draw_noise(generator)) * units.scale
    torch.testing.assert_close(found, reward - coef * 1.7 * penalty)

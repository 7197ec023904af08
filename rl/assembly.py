"""From a configuration to the loop: data, trained parts, penalty, transition model, learner."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gormpo_density import DensityModel, SequenceModel
from gormpo_density.data.behaviour import ENV_IDS
from gormpo_density.errors import ConfigError, DataError
from rl.baselines import TD3BC
from rl.buffer import Layout, MixedBuffer
from rl.checks import check_before_training
from rl.config import MOPOConfig
from rl.dynamics import EnsembleDynamics
from rl.evaluate import check_environment
from rl.history import recall_for
from rl.learned_termination import Outcomes, fit_termination
from rl.mopo import Learner, Loop, Probe
from rl.offline_data import OfflineData, load_offline_data
from rl.parts import Parts
from rl.penalties import Penalty, make_penalty
from rl.penalty_control import COEFFICIENTS, auto_coefficient, calibrate_on_policy
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.rollout import Rollouts
from rl.sac import SAC, RewardUnits
from rl.stages import Stages
from rl.termination import Termination, termination_rule
from rl.transition_model import TransitionModel

logger = logging.getLogger(__name__)

_CHUNK_ROWS = 4096  # that the clone is asked about at once
_HEADROOM = 0.2  # of the range of the data's returns, above the best of them


@dataclass(frozen=True)
class Setup:
    """Everything a run needs, trained and put together.

    Attributes:
        data: The offline data.
        env_id: Where the policy is measured.
        clone: The cloned policy.
        loop: None for the algorithm "bc", which is done with the clone.
        dynamics: None for an algorithm without a model.
        density: None where nothing needs it.
        row_kind: What the density model scores.
        beside: The model of paths beside it; None where there is none.
        penalty: None for an algorithm without a model.
        dynamics_history: Curves of the ensemble's training; empty where it was not trained here.
    """

    data: OfflineData
    env_id: str
    clone: TanhGaussianPolicy
    loop: Loop | None = None
    dynamics: EnsembleDynamics | None = None
    density: DensityModel | None = None
    row_kind: str = "state_action"
    beside: SequenceModel[Any] | None = None
    penalty: Penalty | None = None
    dynamics_history: dict[str, list[float]] | None = None


def assemble(
    config: MOPOConfig, checkpoints: Path, stages: Stages, device: torch.device, *, progress: bool
) -> Setup:
    """Load the data, train or find the parts, and build the loop.

    Args:
        config: What to do.
        checkpoints: Folder of the loop's checkpoints.
        stages: Where trained parts are kept.
        device: Where everything is.
        progress: Show progress bars.

    Raises:
        GormpoDensityError: The data, the environment, or a part does not fit the rest.
    """
    data = load_offline_data(config.data, config.seed, device, progress=progress)
    env_id = environment_of(config, data)
    data = replace(data, info=replace(data.info, env_id=env_id))
    bounds = check_environment(env_id, data.obs_dim, data.action_dim)
    if outside := data.share_outside(*bounds):
        logger.warning(
            "%s: %.2g %% of the actions are beyond the bounds of %s, where no policy can go",
            *(data.info.name, 100 * outside, env_id),
        )
    parts = Parts(config, data, bounds, stages, progress=progress)
    if config.algorithm != "bc" and not data.reward.any():
        raise DataError(f"{data.info.name}: every reward is 0, so there is nothing to learn from")
    if config.algorithm == "mopo":
        check_before_training(config, data, env_id, parts)
    clone = parts.clone()
    if config.algorithm == "bc":
        return Setup(data, env_id, clone)
    if config.algorithm == "td3bc":
        units = reward_units(config, data, largest_penalty=0.0)
        learner = TD3BC(parts.new_policy(), parts.new_critic(), config.sac, units)
        return Setup(data, env_id, clone, _loop(config, data, learner, None, clone, checkpoints))
    return _assemble_mopo(config, data, env_id, parts, clone, checkpoints)


def environment_of(config: MOPOConfig, data: OfflineData) -> str:
    """Return the environment's id: the configured one, the data's own, or that of the task.

    Raises:
        ConfigError: None of these tells.
    """
    task = (config.task or "").partition("-")[0]
    env_id = config.evaluation.env_id or data.info.env_id or ENV_IDS.get(task)
    if env_id is None:
        raise ConfigError(
            f"{data.info.name} does not say its environment: give evaluation.env_id, such as "
            "Hopper-v5"
        )
    return env_id


def _assemble_mopo(
    config: MOPOConfig,
    data: OfflineData,
    env_id: str,
    parts: Parts,
    clone: TanhGaussianPolicy,
    checkpoints: Path,
) -> Setup:
    density, row_kind, beside = None, "state_action", None
    if config.penalty.needs_density:
        density, row_kind = parts.density()
        beside = parts.beside(row_kind)
    dynamics = parts.dynamics()
    for scored in (density, beside):
        if scored is not None and config.penalty.calibrate_on == "policy":
            calibrate_on_clone(config, data, scored, row_kind, clone, dynamics)
    cal, train = data.splits["cal"], data.splits["train"]
    penalty = make_penalty(
        config.penalty,
        density=density,
        row_kind=row_kind,
        dynamics=dynamics,
        held_out=(data.obs[cal], data.action[cal]),
        beside=beside,
    )
    generator = _generator(data, config.seed, 2)
    model = TransitionModel(
        dynamics,
        penalty,
        termination_of(config, data, env_id),
        reward_range=data.reward_range,
        truncate=config.penalty.truncate,
        generator=generator,
    )
    recall = recall_for(data, row_kind, density, beside)
    starts = data.obs[train]
    layout = Layout(data.obs_dim, data.action_dim)
    of_starts = recall and (lambda chosen: recall(train[chosen]))
    rollouts = Rollouts(model, starts, clone, config.rollout, layout, generator, of_starts)
    learner = _new_sac(config, data, parts, clone, penalty)
    loop = _loop(config, data, learner, rollouts, clone, checkpoints)
    history = parts.dynamics_history
    return Setup(data, env_id, clone, loop, dynamics, density, row_kind, beside, penalty, history)


def calibrate_on_clone(
    config: MOPOConfig,
    data: OfflineData,
    density: DensityModel,
    row_kind: str,
    clone: TanhGaussianPolicy,
    dynamics: EnsembleDynamics,
) -> None:
    """Set a density model's threshold on calibration states with the clone's actions.

    See `calibrate_on_policy`; what a run and its diagnosis find is the same.
    """
    cal, recall = data.splits["cal"], recall_for(data, row_kind, density)
    calibrate_on_policy(
        density,
        row_kind,
        data.obs[cal],
        clone.act,
        dynamics,
        _generator(data, config.seed, 1),
        alpha=config.calibration.alpha,
        score=config.penalty.score,
        n_episodes=data.n_episodes("cal"),
        memory=recall and recall(cal),
    )


def termination_of(config: MOPOConfig, data: OfflineData, env_id: str) -> Termination:
    """Return what ends rollouts: the configured rule, or one that is fitted here and now."""
    name = config.rollout.termination
    if name != "learned":
        return termination_rule(name, env_id)
    train, val = (
        Outcomes(data.obs[i], data.action[i], data.next_obs[i], data.terminated[i])
        for i in (data.splits["train"], data.splits["val"])
    )
    return fit_termination(train, val, seed=config.seed)


def _new_sac(
    config: MOPOConfig,
    data: OfflineData,
    parts: Parts,
    clone: TanhGaussianPolicy,
    penalty: Penalty,
) -> SAC:
    actor, critic = parts.new_policy(), parts.new_critic()
    if config.sac.warm_start:
        actor.load_state_dict(clone.state_dict())
        critic.load_state_dict(parts.critic(clone).state_dict())
    units = reward_units(config, data, penalty.limit)
    total = config.sac.epochs * config.sac.steps_per_epoch
    return SAC(actor, critic, config.sac, units, total)


def reward_units(config: MOPOConfig, data: OfflineData, largest_penalty: float) -> RewardUnits:
    """Return the units of rewards, and the range that critic targets are kept in.

    Above: the data's best discounted return and a fifth of their range, but not more than the
    best reward can give. Below: what the worst reward and the largest penalty can give; never 0,
    which would make penalties vanish where returns are small.
    """
    gamma, coef = config.sac.gamma, config.penalty.coef
    returns, known = data.discounted_returns(gamma)
    smallest, largest = data.reward_range
    best = max(_once_and_for_ever(largest, gamma))
    worst = min(_once_and_for_ever(smallest, gamma))
    low, high = returns[known].aminmax() if known.any() else (worst, best)
    largest_coef = COEFFICIENTS[1] if coef == "auto" else coef
    cost = largest_coef * data.reward_std * largest_penalty
    return RewardUnits(
        scale=data.reward_scale,
        penalty_unit=data.reward_std,
        lowest_q=min(_once_and_for_ever(smallest - cost, gamma)),
        highest_q=min(float(high + _HEADROOM * (high - low)), best),
    )


def _once_and_for_ever(reward: float, gamma: float) -> tuple[float, float]:
    """Return the discounted returns of a reward in one last step, and in every step."""
    return reward, reward / (1 - gamma)


def _loop(
    config: MOPOConfig,
    data: OfflineData,
    learner: Learner,
    rollouts: Rollouts | None,
    clone: TanhGaussianPolicy,
    checkpoints: Path,
) -> Loop:
    layout = Layout(data.obs_dim, data.action_dim)
    buffer = MixedBuffer(
        _real_rows(data, layout, clone),
        layout,
        retain=config.rollout.retain,
        generator=_generator(data, config.seed, 3),
    )
    auto = None
    if rollouts is not None and config.penalty.coef == "auto":
        auto = auto_coefficient(config.penalty.target, rollouts, clone)
    return Loop(learner, buffer, rollouts, config, probe_of(config, data), checkpoints, auto)


@torch.no_grad()
def _real_rows(data: OfflineData, layout: Layout, clone: TanhGaussianPolicy) -> Tensor:
    i = data.splits["train"]
    chunks = [clone(rows) for rows in data.obs[i].split(_CHUNK_ROWS)]
    reference = Gaussian(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))
    return layout.pack(
        data.rows("state_action", "train"),
        data.next_obs[i],
        data.reward[i],
        torch.zeros_like(data.reward[i]),
        data.terminated[i],
        reference,
    )


def probe_of(config: MOPOConfig, data: OfflineData) -> Probe:
    """Return where Q is held against returns: the held-out rows whose return is known."""
    returns, known = data.discounted_returns(config.sac.gamma)
    i = data.splits["val"]
    i = i[known[i]]
    return Probe(torch.cat([data.obs[i], data.action[i]], 1), returns[i])


def _generator(data: OfflineData, seed: int, stream: int) -> torch.Generator:
    return torch.Generator(data.device).manual_seed(seed * 1_000_003 + stream)

"""When a rollout in the model ends: the environments' own rules as functions of tensors.

A rule maps (obs (B, O), action (B, A), next_obs (B, O)) to terminated, (B,) bool. Observations
are Gymnasium's, without the position along the track, and the rules those of its v5 (v2 to v4
have the same):

    family                 an episode goes on while
    Ant                    .2 <= z <= 1
    Hopper                 z > .7, |angle| < .2, and every entry but z within (-100, 100)
    Humanoid               1 < z < 2
    InvertedPendulum       |angle| <= .2
    Walker2d               .8 < z < 2, |angle| < 1
    HalfCheetah, HumanoidStandup, Pusher, Reacher, Swimmer: always

A row with a NaN or an infinity ends under every rule, "never" included: nothing can follow it.
Hopper and Walker2d clip the velocities they show to +-10, so their own velocities beyond that
cannot be seen; those of a model can. Bounds are compared in the dtype of next_obs.

Source:
    Gymnasium 1.x, gymnasium/envs/mujoco/*_v5.py, `is_healthy` and `step`.
"""

import importlib
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from gormpo_density.registry import suggestion

Termination = Callable[[Tensor, Tensor, Tensor], Tensor]
Range = tuple[float, float]


def never(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return False but for rows that are not finite."""
    return ~_is_finite(next_obs)


def hopper(
    obs: Tensor,
    action: Tensor,
    next_obs: Tensor,
    *,
    healthy_state_range: Range = (-100.0, 100.0),
    healthy_z_range: Range = (0.7, math.inf),
    healthy_angle_range: Range = (-0.2, 0.2),
) -> Tensor:
    """Return whether the hopper fell, or an angle or velocity left the range of states (B,).

    Args:
        obs: Not used, (B, 11).
        action: Not used, (B, 3).
        next_obs: (B, 11): z, angle, three joint angles, six velocities.
        healthy_state_range: Open interval of every entry but z.
        healthy_z_range: Open interval of z.
        healthy_angle_range: Open interval of the angle.
    """
    is_healthy = (
        _is_between(next_obs[:, 0], healthy_z_range)
        & _is_between(next_obs[:, 1], healthy_angle_range)
        & _is_between(next_obs[:, 1:], healthy_state_range).all(1)
    )
    return ~(is_healthy & _is_finite(next_obs))


def walker2d(
    obs: Tensor,
    action: Tensor,
    next_obs: Tensor,
    *,
    healthy_z_range: Range = (0.8, 2.0),
    healthy_angle_range: Range = (-1.0, 1.0),
) -> Tensor:
    """Return whether the walker fell or jumped too high (B,).

    Args:
        obs: Not used, (B, 17).
        action: Not used, (B, 6).
        next_obs: (B, 17): z, angle, six joint angles, nine velocities.
        healthy_z_range: Open interval of z.
        healthy_angle_range: Open interval of the angle.
    """
    is_healthy = _is_between(next_obs[:, 0], healthy_z_range) & _is_between(
        next_obs[:, 1], healthy_angle_range
    )
    return ~(is_healthy & _is_finite(next_obs))


def ant(
    obs: Tensor, action: Tensor, next_obs: Tensor, *, healthy_z_range: Range = (0.2, 1.0)
) -> Tensor:
    """Return whether the torso is too low or too high (B,).

    Args:
        obs: Not used, (B, O).
        action: Not used, (B, 8).
        next_obs: (B, O), z first.
        healthy_z_range: Closed interval of z.
    """
    low, high = healthy_z_range
    z = next_obs[:, 0]
    return ~((z >= low) & (z <= high) & _is_finite(next_obs))


def humanoid(
    obs: Tensor, action: Tensor, next_obs: Tensor, *, healthy_z_range: Range = (1.0, 2.0)
) -> Tensor:
    """Return whether the torso is too low or too high (B,).

    Args:
        obs: Not used, (B, O).
        action: Not used, (B, 17).
        next_obs: (B, O), z first.
        healthy_z_range: Open interval of z.
    """
    return ~(_is_between(next_obs[:, 0], healthy_z_range) & _is_finite(next_obs))


def inverted_pendulum(
    obs: Tensor, action: Tensor, next_obs: Tensor, *, max_angle: float = 0.2
) -> Tensor:
    """Return whether the pole leans by more than `max_angle` radians (B,).

    Args:
        obs: Not used, (B, 4).
        action: Not used, (B, 1).
        next_obs: (B, 4): position, angle, their velocities.
        max_angle: Largest angle that is upright.
    """
    return ~((next_obs[:, 1].abs() <= max_angle) & _is_finite(next_obs))


#: Rules by family: the environment's id without its version.
RULES: dict[str, Termination] = {
    "Ant": ant,
    "HalfCheetah": never,
    "Hopper": hopper,
    "Humanoid": humanoid,
    "HumanoidStandup": never,
    "InvertedPendulum": inverted_pendulum,
    "Pusher": never,
    "Reacher": never,
    "Swimmer": never,
    "Walker2d": walker2d,
}

_OTHERS = ("auto", "never", "learned", "package.module:function")


def termination_rule(name: str, env_id: str | None) -> Termination:
    """Return the rule that a configuration names.

    Args:
        name: "auto" (the rule of `env_id`), a family of `RULES`, "never", or
            "package.module:function": the user's own function of (obs, action, next_obs).
        env_id: Gymnasium id, for "auto"; None where it is unknown.

    Raises:
        ConfigError: There is no such rule (a near name is told), the environment has none, the
            function cannot be imported, or the name is "learned", which needs data: see
            `rl.learned_termination.fit_termination`.
    """
    if name == "auto":
        return _rule_of(env_id)
    if name == "never":
        return never
    if name == "learned":
        raise ConfigError("a learned termination is fitted on data and has no rule")
    if ":" in name:
        return _checked(name, _import(name))
    if name not in RULES:
        known = [*RULES, *_OTHERS]
        raise ConfigError(f"termination rule {name!r} is unknown{suggestion(name, known)}")
    return RULES[name]


def environment_family(env_id: str) -> str:
    """Return an environment's id without its version: "Hopper" of "Hopper-v5"."""
    return re.sub(r"-v\d+$", "", env_id)


def _rule_of(env_id: str | None) -> Termination:
    if env_id is not None and environment_family(env_id) in RULES:
        return RULES[environment_family(env_id)]
    place = "data of an unknown environment" if env_id is None else repr(env_id)
    raise ConfigError(
        f"no termination rule is known for {place}; set rollout.termination to "
        f"'package.module:function', 'learned', 'never' or one of {', '.join(RULES)}"
    )


def _import(path: str) -> Termination:
    module, _, attribute = path.partition(":")
    try:
        rule = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"termination rule {path!r} cannot be imported: {error}") from error
    if not callable(rule):
        raise ConfigError(f"termination rule {path!r} is not a function")
    imported: Termination = rule
    return imported


def _checked(path: str, rule: Termination) -> Termination:
    """Return a user's rule that ends rows which are not finite, and says where it is wrong."""

    def checked(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        ended = rule(obs, action, next_obs)
        is_tensor = isinstance(ended, Tensor)
        if not is_tensor or ended.dtype != torch.bool or ended.shape != next_obs.shape[:1]:
            found = f"{ended.dtype} {tuple(ended.shape)}" if is_tensor else type(ended).__name__
            raise ConfigError(
                f"termination rule {path!r} must return a bool tensor of shape "
                f"({len(next_obs)},), got {found}"
            )
        return ended | ~_is_finite(next_obs)

    return checked


def _is_between(x: Tensor, interval: Range) -> Tensor:
    low, high = interval
    return (x > low) & (x < high)


def _is_finite(x: Tensor) -> Tensor:
    return x.isfinite().all(1)

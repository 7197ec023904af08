"""Noise of actuators and sensors, for measuring a policy under it."""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl.config import NoiseConfig

Env = gym.Env[Any, Any]
Array = NDArray[np.floating[Any]]


class Noise:
    """With probability `rate` a step adds N(loc, scale^2) to every entry, independently.

    Args:
        rate: In [0, 1].
        loc: Mean.
        scale: Standard deviation.
        stream: Tells apart the generators of several noises under one seed.
    """

    def __init__(self, rate: float, loc: float, scale: float, stream: int) -> None:
        self.rate = rate
        self.loc = loc
        self.scale = scale
        self.stream = stream
        self.reseed(None)

    def reseed(self, seed: int | None) -> None:
        """Start anew under a seed, None for one of the system's own."""
        self._rng = np.random.default_rng(None if seed is None else [seed, self.stream])

    def __call__(self, values: Array) -> Array:
        """Return the values (D,), perturbed or as they are."""
        if self._rng.random() >= self.rate:
            return values
        noise = self._rng.normal(self.loc, self.scale, np.shape(values))
        perturbed: Array = (values + noise).astype(values.dtype)
        return perturbed


class NoisyActions(gym.ActionWrapper[Any, Any, Any]):
    """An environment whose actuators err: noise on the action, clipped to the action space.

    Args:
        env: Whose actions are vectors. `reset(seed=...)` seeds the noise too.
        rate: Probability that a step's action is perturbed.
        loc: Mean of the noise, in the action's units.
        scale: Its standard deviation.

    Source:
        GORMPO's RandomNormalNoisyActions. Differs: seeded by reset, clipped.
    """

    def __init__(self, env: Env, rate: float, loc: float, scale: float) -> None:
        super().__init__(env)
        self.noise = Noise(rate, loc, scale, stream=0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; a seed starts the noise anew."""
        if seed is not None:
            self.noise.reseed(seed)
        return super().reset(seed=seed, options=options)

    def action(self, action: Array) -> Array:
        """Return what the environment is given."""
        space = self.action_space
        assert isinstance(space, gym.spaces.Box)
        clipped: Array = np.clip(self.noise(action), space.low, space.high)
        return clipped


class NoisyObservations(gym.ObservationWrapper[Any, Any, Any]):
    """An environment whose sensors err: noise on what is seen; the state itself is untouched.

    Args:
        env: Whose observations are vectors. `reset(seed=...)` seeds the noise too.
        rate: Probability that an observation, the first one too, is perturbed.
        loc: Mean of the noise, in the observation's units.
        scale: Its standard deviation.

    Source:
        GORMPO's RandomNormalNoisyTransitions. Differs: seeded by reset.
    """

    def __init__(self, env: Env, rate: float, loc: float, scale: float) -> None:
        super().__init__(env)
        self.noise = Noise(rate, loc, scale, stream=1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and show its first state; a seed starts the noise anew."""
        if seed is not None:
            self.noise.reseed(seed)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Array) -> Array:
        """Return what is seen of a state."""
        return self.noise(observation)


def add_noise(env: Env, config: NoiseConfig | None) -> Env:
    """Return the environment under the configured noise: as it is where there is none."""
    if config is not None and config.action_rate > 0:
        env = NoisyActions(env, config.action_rate, config.loc, config.action_scale)
    if config is not None and config.obs_rate > 0:
        env = NoisyObservations(env, config.obs_rate, config.loc, config.obs_scale)
    return env

"""Sparse data sets in GORMPO's manner: a region of the data thinned out by whole trajectories."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.data.transitions import Transitions
from gormpo_density.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


def sparsify(
    transitions: Transitions,
    *,
    drop: float = 0.5,
    action_norm: tuple[float, float] = (0.0, 0.25),
    reward: tuple[float, float] = (0.95, 1.0),
    seed: int = 0,
) -> Transitions:
    """Drop at random a part of the trajectories that pass through a box of (|a|_2, reward).

    A trajectory passes through the box with a single row in it. The default box is where the top
    twentieth of rewards meets the gentlest quarter of actions: 26 % of the rows of
    `gormpo/hopper/medium-v0` go, 24 % of its medium-expert set (GORMPO removed 22 % on hopper).
    Other data loses another share; the log says how much it was.

    Args:
        transitions: The full data.
        drop: Share of the trajectories through the box that is dropped, in (0, 1].
        action_norm: Quantiles of |a|_2 between which the box lies.
        reward: Quantiles of the reward between which the box lies.
        seed: The same seed drops the same trajectories.

    Returns:
        The rest; `info.name` gains the percentage of rows that is left: `hopper-sparse78`.

    Raises:
        ConfigError: A share or quantile is out of range.
        DataError: No trajectory passes through the box, or none would be left.

    Source:
        The data card of aysin/sparse_medium_expert_D4RL, for GORMPO (arXiv 2605.24405), which
        gives the rule but not the limits of its boxes.
    """
    _check(drop, action_norm, reward)
    norms = np.linalg.norm(transitions.action, axis=1)
    in_box = _between(norms, action_norm) & _between(transitions.reward, reward)
    passing = np.unique(transitions.episode[in_box])
    if not len(passing):
        raise DataError(f"{transitions.info.name}: no trajectory passes through the box")
    rng = np.random.default_rng(seed)
    dropped = rng.choice(passing, size=max(1, round(drop * len(passing))), replace=False)
    keep = ~np.isin(transitions.episode, dropped)
    if not keep.any():
        raise DataError(f"{transitions.info.name}: no trajectory is left")
    logger.info(
        "%s: %d of %d trajectories pass through the box, %d are dropped with %.1f %% of the rows",
        *(transitions.info.name, len(passing), transitions.n_episodes, len(dropped)),
        100 * (1 - keep.mean()),
    )
    name = f"{transitions.info.name}-sparse{100 * keep.mean():.0f}"
    return replace(transitions.select(keep), info=replace(transitions.info, name=name))


def _check(drop: float, action_norm: tuple[float, float], reward: tuple[float, float]) -> None:
    problems = [
        f"{name} {low, high} must be two quantiles 0 <= low < high <= 1"
        for name, (low, high) in (("action_norm", action_norm), ("reward", reward))
        if not 0 <= low < high <= 1
    ]
    if not 0 < drop <= 1:
        problems.append(f"drop {drop} must be in (0, 1]")
    if problems:
        raise ConfigError(problems)


def _between(
    values: NDArray[np.floating[Any]], quantiles: tuple[float, float]
) -> NDArray[np.bool_]:
    low, high = np.quantile(values, quantiles)
    return np.asarray((low <= values) & (values <= high))

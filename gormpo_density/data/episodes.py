"""Where episodes end, and which observation truly follows a row.

The trap: a file of transitions without `next_obs` holds, after an episode's last row, the first
observation of the next episode. Taken for what followed, it teaches a model to fly.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import DataError

logger = logging.getLogger(__name__)

Array = NDArray[Any]


def assemble(columns: Mapping[str, Array], info: DatasetInfo) -> Transitions:
    """Fill in what is missing, find the episodes, drop rows without a known next observation.

    Args:
        columns: `obs`, `action` and any other column of `Transitions`, of its type and rank, all
            of N >= 1 rows.
        info: Where they came from.

    Raises:
        DataError: A value is not finite, an episode is scattered, or no row is left.
    """
    n = len(columns["obs"])
    ends = _episode_ends(columns)
    terminated = columns.get("terminated", np.zeros(n, dtype=bool))
    whole = Transitions(
        obs=columns["obs"],
        action=columns["action"],
        reward=columns.get("reward", np.zeros(n, dtype=np.float32)),
        next_obs=columns.get("next_obs", np.roll(columns["obs"], -1, axis=0)),
        terminated=terminated,
        truncated=columns.get("truncated", np.zeros(n, dtype=bool)),
        episode=(np.cumsum(ends) - ends).astype(np.int64),
        info=info,
    )
    unknown = _resets(columns, terminated) if "next_obs" in columns else ends
    return _close_episodes(_drop(whole, unknown))


def _episode_ends(columns: Mapping[str, Array]) -> Array:
    """Return (N,) bool: the row is the last one of its episode."""
    ends = np.zeros(len(columns["obs"]), dtype=bool)
    ends[-1] = True
    for name in ("terminated", "truncated"):
        if name in columns:
            ends |= columns[name]
    if "episode" in columns:
        ends[:-1] |= _changes(columns["episode"])
    elif "next_obs" in columns:
        ends[:-1] |= _jumps(columns["obs"], columns["next_obs"])
    return ends


def _changes(episode: Array) -> Array:
    changes: Array = np.diff(episode) != 0
    if changes.sum() + 1 != len(np.unique(episode)):
        starts = episode[np.flatnonzero(np.append(True, changes))]
        numbers, counts = np.unique(starts, return_counts=True)
        raise DataError(f"the rows of episode {numbers[counts > 1][0]} are not adjacent")
    return changes


def _jumps(obs: Array, next_obs: Array) -> Array:
    """Return (N - 1,) bool: row i + 1 does not continue row i."""
    close = np.isclose(next_obs[:-1], obs[1:], rtol=1e-4, atol=1e-5)
    jumps: Array = np.any(~close, axis=1)
    if len(jumps) > 1 and jumps.mean() > 0.5:
        logger.warning(
            "next_obs is followed by another obs at %d of %d rows: they look shuffled, so most "
            "count as an episode of their own",
            *(jumps.sum(), len(obs)),
        )
    return jumps


def _resets(columns: Mapping[str, Array], terminated: Array) -> Array:
    """Return (N,) bool: the next observation of a terminated row is another episode's first."""
    resets: Array = terminated.copy()
    resets[:-1] &= (columns["next_obs"][:-1] == columns["obs"][1:]).all(axis=1)
    resets[-1] = False
    return resets


def _drop(transitions: Transitions, unknown: Array) -> Transitions:
    lost = int((transitions.terminated & unknown).sum())
    if lost:
        logger.warning(
            "%s: %d terminated rows are dropped, since their true next observations are not there",
            *(transitions.info.name, lost),
        )
    if unknown.all():
        raise DataError("no row has a known next observation: every episode has a single row")
    return transitions.select(~unknown) if unknown.any() else transitions


def _close_episodes(transitions: Transitions) -> Transitions:
    """Mark the last row of every episode as truncated unless it is terminated."""
    last = np.append(np.diff(transitions.episode) != 0, True)
    truncated = transitions.truncated | (last & ~transitions.terminated)
    return replace(transitions, truncated=truncated)

"""From somebody's own arrays to `Transitions`: their names, types, ranks and lengths."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gormpo_density.data.episodes import assemble
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError, ShapeError

Array = NDArray[Any]

COLUMN_NAMES = {
    "obs": ("obs", "observations", "observation", "states"),
    "action": ("action", "actions"),
    "reward": ("reward", "rewards"),
    "next_obs": ("next_obs", "next_observations", "next_observation", "next_states"),
    "terminated": ("terminated", "terminals", "terminations", "terminal"),
    "truncated": ("truncated", "timeouts", "truncations", "timeout"),
    "episode": ("episode", "episodes", "episode_id", "episode_ids"),
}
"""The names under which each column is found in files: ours first, then D4RL's and others'."""

_ARRAYS = DatasetInfo("arrays", "arrays")
_AMBIGUOUS = ("dones", "done")
_MATRICES = ("obs", "action", "next_obs")
_FLAGS = ("terminated", "truncated")


def from_arrays(
    obs: ArrayLike,
    action: ArrayLike,
    reward: ArrayLike | None = None,
    next_obs: ArrayLike | None = None,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    episode: ArrayLike | None = None,
    *,
    info: DatasetInfo = _ARRAYS,
) -> Transitions:
    """Make transitions from arrays of N rows in time order; only `obs` and `action` are needed.

    What is missing is filled in so that no number is invented that scoring (s, a) would use:
    reward is 0; nothing is terminated. An episode ends at a terminated or truncated row, where
    `episode` changes and, without `episode`, where next_obs[i] is not obs[i + 1]; else all rows
    are one episode. An episode's last row that is not terminated counts as truncated.

    Without `next_obs`, next_obs[i] = obs[i + 1] inside an episode. Each episode's last row then
    has no known next observation and is dropped, terminated or not; so are terminated rows whose
    `next_obs` is the first observation of the next episode (as `d4rl.qlearning_dataset` returns
    them). If that loses terminations, a warning says how many.

    Args:
        obs: (N, O), or (N,) for one feature.
        action: (N, A), or (N,) for one feature.
        reward: (N,).
        next_obs: (N, O).
        terminated: (N,) of 0 and 1: the environment ended here.
        truncated: (N,) of 0 and 1: the episode was cut here, for instance by a time limit.
        episode: (N,) numbers; the rows of one episode are adjacent.
        info: Where the data came from.

    Raises:
        ShapeError: A rank or length does not fit.
        DataError: Nothing is there, a value is no finite number or no flag, or an episode is
            scattered.
    """
    given = {
        "obs": obs,
        "action": action,
        "reward": reward,
        "next_obs": next_obs,
        "terminated": terminated,
        "truncated": truncated,
        "episode": episode,
    }
    columns = _checked({name: array for name, array in given.items() if array is not None})
    return assemble(columns, info)


def from_columns(columns: Mapping[str, Any], info: DatasetInfo = _ARRAYS) -> Transitions:
    """Make transitions from named arrays, under any of `COLUMN_NAMES`; other names are ignored.

    `obs` may hold one row more than `action`: the last observation of a single episode.

    Raises:
        DataError: As `from_arrays`; also when `obs` or `action` is absent, when two names mean the
            same, or when only `dones` is there, which says that but not why an episode ended.
    """
    return from_arrays(**_canonical(columns), info=info)


def from_trajectories(
    trajectories: Sequence[Mapping[str, Any]], info: DatasetInfo = _ARRAYS
) -> Transitions:
    """Make transitions from one mapping of named arrays per episode.

    Raises:
        DataError: As `from_columns`, with the trajectory numbered; also when trajectories differ
            in their names.
    """
    if not trajectories:
        raise DataError("no trajectories")
    parts = []
    for number, trajectory in enumerate(trajectories):
        try:
            parts.append(_checked(_canonical(trajectory)))
        except DataError as error:
            raise type(error)(f"trajectory {number}: {error}") from error
        if parts[-1].keys() != parts[0].keys():
            raise DataError(f"trajectory {number} has {_list(parts[-1])}, 0 has {_list(parts[0])}")
    lengths = [len(part["obs"]) for part in parts]
    columns = {name: _concatenated([part[name] for part in parts], name) for name in parts[0]}
    columns["episode"] = np.repeat(np.arange(len(parts)), lengths)
    return assemble(columns, info)


def check_dims(
    transitions: Transitions, obs_dim: int | None = None, action_dim: int | None = None
) -> None:
    """Raise ConfigError where the stated widths contradict the data; None is not checked."""
    stated = {"obs_dim": obs_dim, "action_dim": action_dim}
    actual = {"obs_dim": transitions.obs.shape[1], "action_dim": transitions.action.shape[1]}
    problems = [
        f"{name} is {stated[name]}, but {transitions.info.name} has {width}"
        for name, width in actual.items()
        if stated[name] not in (None, width)
    ]
    if problems:
        raise ConfigError(problems)


def _canonical(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known columns under our own names."""
    found: dict[str, Any] = {}
    for name, spellings in COLUMN_NAMES.items():
        present = [spelling for spelling in spellings if spelling in columns]
        if len(present) > 1:
            raise DataError(f"{_list(present)} mean the same; keep one")
        if present:
            found[name] = np.asarray(columns[present[0]])
    for name in ("obs", "action"):
        if name not in found:
            raise DataError(_missing(name, columns))
    if "terminated" not in found and any(name in columns for name in _AMBIGUOUS):
        raise DataError("'dones' does not tell why an episode ended; give terminals and timeouts")
    return _split_last_obs(found)


def _missing(name: str, columns: Mapping[str, Any]) -> str:
    spellings = COLUMN_NAMES[name]
    near = [word for word in columns if difflib.get_close_matches(word, spellings, n=1)]
    hint = f", is {near[0]!r} meant?" if near else ""
    return f"no {' or '.join(spellings[:2])}; found {_list(columns) or 'nothing'}{hint}"


def _split_last_obs(columns: dict[str, Any]) -> dict[str, Any]:
    obs, action = columns["obs"], columns["action"]
    if "next_obs" in columns or obs.ndim == 0 or action.ndim == 0 or len(obs) != len(action) + 1:
        return columns
    return {**columns, "obs": obs[:-1], "next_obs": obs[1:]}


def _checked(given: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return arrays of the right type, rank and length."""
    columns = {name: _column(np.asarray(array), name) for name, array in given.items()}
    n = len(columns["obs"])
    if n == 0:
        raise DataError("obs has no rows")
    for name, array in columns.items():
        if len(array) != n:
            raise ShapeError(f"{name} has {len(array)} rows, obs has {n}")
    widths = [columns[name].shape[1] for name in ("obs", "next_obs") if name in columns]
    if len(set(widths)) > 1:
        raise ShapeError(f"obs has {widths[0]} features, next_obs {widths[1]}")
    return columns


def _column(array: Array, name: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {array.dtype} values, not numbers")
    rank = 2 if name in _MATRICES else 1
    if array.ndim == 1 and rank == 2:
        array = array[:, None]
    if array.ndim == 2 and rank == 1 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != rank:
        shape = "(N, features)" if rank == 2 else "(N,)"
        raise ShapeError(f"{name} must have shape {shape}, got {array.shape}")
    if name == "episode":
        return array
    if name in _FLAGS:
        return _flags(array, name)
    with np.errstate(over="ignore"):  # a value beyond float32 is reported as infinite
        return array.astype(np.float32)


def _flags(array: Array, name: str) -> Array:
    bad = np.flatnonzero((array != 0) & (array != 1))
    if len(bad):
        raise DataError(f"{name} row {bad[0]} is {array[bad[0]]}, not 0 or 1")
    return array.astype(bool)


def _concatenated(parts: list[Array], name: str) -> Array:
    widths = {part.shape[1:] for part in parts}
    if len(widths) > 1:
        raise ShapeError(f"{name} differs in width between trajectories: {sorted(widths)}")
    return np.concatenate(parts)


def _list(names: Any) -> str:
    return ", ".join(map(str, names))

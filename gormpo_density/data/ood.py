"""Out-of-distribution rows in graded steps: shifts, permuted and uniform actions, other data.

A level is named as on the command line: `obs0.5` moves every state feature of a row by half a
standard deviation, up or down; `perm` gives it another row's actions; and so on.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gormpo_density.errors import ConfigError, ShapeError
from gormpo_density.registry import suggestion

Rows = NDArray[np.float32]

STATE_ACTION_LEVELS = (
    *("obs0.25", "obs0.5", "obs1", "obs2"),
    *("act0.25", "act0.5", "act1", "act2"),
    *("both0.25", "both0.5", "both1", "both2"),
    *("actclip0.5", "actclip1", "perm", "unif"),
)
"""The default levels of rows that have actions."""

PLAIN_LEVELS = ("shift0.25", "shift0.5", "shift1", "shift2")
"""The default levels of rows and windows without actions."""

#: Standard deviation of the noise in GORMPO's shift, raw units.
GORMPO_NOISE = 0.1

_NEED_ACTIONS = ("act", "actclip", "both", "perm", "unif")
_DATASET = re.compile(r"dataset:.+|.*/.*|.*\.(npz|npy|pkl|pickle|hdf5|h5|csv)|.+-v\d+")


@dataclass(frozen=True)
class OODLevel:
    """One way to leave the distribution.

    Attributes:
        name: As on the command line, a key of the results.
        kind: obs | act | both | actclip | shift | gormpo | perm | unif | dataset.
        delta: Size of the shift in standard deviations, for gormpo in raw units; 0 where there is
            none.
        source: Id or path of the other dataset; empty where there is none.
    """

    name: str
    kind: str
    delta: float = 0.0
    source: str = ""


def parse_level(name: str) -> OODLevel:
    """Read the name of a level.

    obs0.5, act0.5, both0.5   shift of the state, the action or both by 0.5 standard deviations;
    actclip0.5                the same of the action, clipped to its bounds;
    shift0.5                  shift of all features, for rows that have no actions;
    gormpo0.5                 GORMPO's own: N(0.5, 0.1^2) added to every feature, in raw units,
                              actions clipped to their bounds;
    perm, unif                actions of other rows; uniform actions;
    sparse                    rows that `sparsify` left out of the data;
    dataset:X                 rows of X, a dataset id or a file (`dataset:` may be left out of
                              names with a slash, a file suffix or a version: `hopper-random-v2`).

    Raises:
        ConfigError: The name is none of these.
    """
    if name in ("perm", "unif"):
        return OODLevel(name, name)
    if match := re.fullmatch(r"(obs|act|both|actclip|shift|gormpo)(\d+\.?\d*|\.\d+)", name):
        return OODLevel(name, match[1], delta=float(match[2]))
    if name == "sparse" or _DATASET.fullmatch(name):
        return OODLevel(name, "dataset", source=name.removeprefix("dataset:"))
    hint = suggestion(name, [*STATE_ACTION_LEVELS, *PLAIN_LEVELS, "dataset:ID or FILE"])
    raise ConfigError(f"ood level {name!r} is unknown{hint}")


def default_levels(n_actions: int) -> tuple[str, ...]:
    """Return the names of the levels for rows with that many action columns."""
    return STATE_ACTION_LEVELS if n_actions else PLAIN_LEVELS


def ood_rows(
    rows: ArrayLike,
    train_std: ArrayLike,
    levels: Sequence[str] | None = None,
    *,
    obs_dim: int,
    action_dim: int = 0,
    action_low: ArrayLike = -1.0,
    action_high: ArrayLike = 1.0,
    other_rows: Callable[[str], Rows] | None = None,
    seed: int = 1,
) -> dict[str, Rows]:
    """Make the rows of each level from held-out rows of the same kind.

    A shift by delta adds delta * sd * r, where r in {-1, +1}^D is drawn once per row and is the
    same for every delta and every kind of shift: the levels differ in nothing but their size.
    GORMPO's shift moves all features one way, whatever their scale, and is there for comparison;
    the noise in it is the same for every delta. What a level holds does not depend on which others
    are asked for.

    Args:
        rows: (N, D) or windows (N, T, D), not seen in training.
        train_std: (D,) standard deviation of the training rows.
        levels: Names for `parse_level`; the default levels when None.
        obs_dim: Number of leading columns that are the state.
        action_dim: Number of columns after them that are the action; 0 when there are none.
        action_low: Lower bound of the actions, (A,) or a number.
        action_high: Upper bound of the actions, (A,) or a number.
        other_rows: Loads the rows of another dataset by id or path. As many rows as `rows` has
            are drawn from it, or all it has.
        seed: The same seed gives the same rows.

    Returns:
        Name -> rows, float32, of the shape of `rows` (of fewer rows where another dataset is
        smaller), in the order of `levels`.

    Raises:
        ConfigError: A name is unknown (all are told), or needs actions where there are none.
        ShapeError: A width does not fit.
    """
    base, std = np.asarray(rows, dtype=np.float32), np.asarray(train_std, dtype=np.float32)
    if std.shape != base.shape[-1:] or obs_dim + action_dim > len(std):
        raise ShapeError(
            f"rows have {base.shape[-1]} features, train_std {std.shape}, obs_dim {obs_dim} and "
            f"action_dim {action_dim}"
        )
    columns = _Columns(obs_dim, action_dim, np.asarray(action_low), np.asarray(action_high))
    names = default_levels(action_dim) if levels is None else levels
    made = {}
    for level in _parse_all(names, action_dim, other_rows is not None):
        if level.kind == "dataset":
            assert other_rows is not None
            made[level.name] = _drawn(other_rows(level.source), base, level, seed)
        else:
            made[level.name] = _corrupted(level, base, std, columns, seed)
    return made


@dataclass(frozen=True)
class _Columns:
    obs_dim: int
    action_dim: int
    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def action(self) -> slice:
        return slice(self.obs_dim, self.obs_dim + self.action_dim)

    def of(self, kind: str) -> slice:
        """Return the columns that a kind of shift moves."""
        match kind:
            case "obs":
                return slice(0, self.obs_dim)
            case "act" | "actclip":
                return self.action
            case "both":
                return slice(0, self.action.stop)
            case _:
                return slice(None)


def _parse_all(names: Sequence[str], action_dim: int, has_others: bool) -> list[OODLevel]:
    levels: list[OODLevel] = []
    problems: list[str] = []
    for name in names:
        try:
            levels.append(parse_level(name))
        except ConfigError as error:
            problems += error.problems
            continue
        if levels[-1].kind in _NEED_ACTIONS and not action_dim:
            problems.append(f"ood level {name!r} needs actions, but the rows have none")
        if levels[-1].kind == "dataset" and not has_others:
            problems.append(f"ood level {name!r} needs other_rows to load it with")
    if problems:
        raise ConfigError(problems)
    return levels


def _corrupted(
    level: OODLevel, base: Rows, std: NDArray[Any], columns: _Columns, seed: int
) -> Rows:
    rows: Rows = base.copy()
    actions = rows[..., columns.action]  # a view: writing to it changes rows
    match level.kind:
        case "perm":
            actions[:] = np.random.default_rng([seed, 1]).permutation(actions)
        case "unif":
            rng = np.random.default_rng([seed, 2])
            actions[:] = rng.uniform(columns.low, columns.high, size=actions.shape)
        case "gormpo":
            noise = np.random.default_rng([seed, 4]).normal(scale=GORMPO_NOISE, size=rows.shape)
            rows += (level.delta + noise).astype(np.float32)
        case _:
            moved = columns.of(level.kind)
            rows[..., moved] += (level.delta * std * _directions(base, seed))[..., moved]
    if level.kind in ("actclip", "gormpo"):
        actions[:] = actions.clip(columns.low, columns.high)
    return rows


def _directions(base: Rows, seed: int) -> NDArray[Any]:
    """Return +-1 for every feature of a row, or of a window, whose features move as a whole."""
    shape = (len(base), *(1 for _ in base.shape[1:-1]), base.shape[-1])
    signs: NDArray[np.int64] = np.random.default_rng([seed, 0]).choice([-1, 1], size=shape)
    return signs


def _drawn(others: Rows, base: Rows, level: OODLevel, seed: int) -> Rows:
    """Return as many random rows of another dataset, or all of a smaller one."""
    if others.shape[1:] != base.shape[1:]:
        raise ShapeError(
            f"ood level {level.name!r}: rows of {level.source} have shape {others.shape[1:]}, "
            f"not {base.shape[1:]}"
        )
    n = min(len(base), len(others))
    chosen = np.random.default_rng([seed, 3]).choice(len(others), size=n, replace=False)
    return np.asarray(others[chosen], dtype=np.float32)

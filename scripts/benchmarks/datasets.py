"""The data sets, and the splits that the protocols ask for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.data.files import load_file
from gormpo_density.data.ood import STATE_ACTION_LEVELS, ood_rows
from gormpo_density.data.transitions import Transitions
from gormpo_density.errors import DataError

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """A tabular set: normal rows (N, D) and anomalies (M, D)."""

    normal: Rows
    anomaly: Rows


def load_adbench(data_dir: Path) -> dict[str, LabelledRows]:
    """Return every set of adbench/*.npz by name, without the number its file name begins with.

    Raises:
        DataError: The folder has none.
    """
    sets = {}
    for path in (data_dir / "adbench").glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            rows, is_anomaly = arrays["X"].astype(np.float32), arrays["y"] == 1
        sets[path.stem.split("_", 1)[-1]] = LabelledRows(rows[~is_anomaly], rows[is_anomaly])
    if not sets:
        raise DataError(f"{data_dir / 'adbench'}: holds no npz files")
    return dict(sorted(sets.items(), key=lambda item: item[0].lower()))


@dataclass(frozen=True, eq=False)
class OneClassSplit:
    """Normal rows to train on and to stop by, and the rows of the test."""

    train: Rows
    val: Rows
    test_normal: Rows
    test_anomaly: Rows


def one_class_split(data: LabelledRows, seed: int, max_train: int) -> OneClassSplit:
    """Train on a random half of the normal rows, a tenth of it for validation; test the rest."""
    order = np.random.default_rng(seed).permutation(len(data.normal))
    half = len(order) // 2
    fitted, held_out = data.normal[order[:half]][:max_train], data.normal[order[half:]]
    n_val = max(1, len(fitted) // 10)
    return OneClassSplit(fitted[n_val:], fitted[:n_val], held_out, data.anomaly)


def load_mujoco(data_dir: Path, name: str) -> Transitions:
    """Return the transitions of mujoco/{name}.npz."""
    return load_file(data_dir / "mujoco" / f"{name}.npz")


@dataclass(frozen=True, eq=False)
class EpisodeSplit:
    """Rows [observation, action] of disjoint episodes, each in random order."""

    train: Rows
    val: Rows
    test: Rows
    test_episodes: NDArray[np.int64]


def episode_split(
    data: Transitions, seed: int, max_train: int = 40_000, max_held_out: int = 5_000
) -> EpisodeSplit:
    """Split at random: 80 % of the episodes train, 10 % stop the training, 10 % are the test."""
    rng = np.random.default_rng(seed)
    episodes = rng.permutation(np.unique(data.episode))
    cuts = np.round(np.array([0.8, 0.9]) * len(episodes)).astype(int)
    parts = [np.flatnonzero(np.isin(data.episode, part)) for part in np.split(episodes, cuts)]
    most = (max_train, max_held_out, max_held_out)
    chosen = [rng.permutation(part)[:n] for part, n in zip(parts, most, strict=True)]
    rows = data.rows()
    train, val, test = (rows[index] for index in chosen)
    return EpisodeSplit(train, val, test, data.episode[chosen[2]])


@dataclass(frozen=True, eq=False)
class Level:
    """Out-of-distribution rows, and the episode each comes from."""

    rows: Rows
    episodes: NDArray[np.str_]


def ood_levels(
    split: EpisodeSplit, obs_dim: int, others: dict[str, Transitions], n_rows: int
) -> dict[str, Level]:
    """Corrupt the first test rows in every way the library knows; add rows of other sets.

    A corrupted row keeps the episode of the test row it was made from.
    """
    base, action_dim = split.test[:n_rows], split.test.shape[1] - obs_dim
    std = split.train.std(axis=0)
    made = ood_rows(base, std, STATE_ACTION_LEVELS, obs_dim=obs_dim, action_dim=action_dim)
    labels = episode_labels(split)[:n_rows]
    levels = {name: Level(rows, labels) for name, rows in made.items()}
    return levels | {name: _drawn(name, other, len(base)) for name, other in others.items()}


def episode_labels(split: EpisodeSplit) -> NDArray[np.str_]:
    """Label the test rows by episode."""
    return np.char.add("test ", split.test_episodes.astype(str))


def _drawn(name: str, data: Transitions, n_rows: int) -> Level:
    n = min(n_rows, len(data))
    chosen = np.random.default_rng(1).choice(len(data), size=n, replace=False)
    labels: NDArray[Any] = np.char.add(f"{name} ", data.episode[chosen].astype(str))
    return Level(data.rows()[chosen], labels)

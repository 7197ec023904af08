"""Four disjoint splits by whole episodes: train, validation, calibration and test."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

Index = NDArray[np.int64]

_BLOCKS = 40  # pieces that data of too few episodes is cut into
_TRIES = 100  # permutations drawn before the best one so far is taken
_CLOSE = 0.01  # a permutation whose shares of rows are this near to the ratios is taken at once


@dataclass(frozen=True, eq=False)
class Splits:
    """Row numbers of each split, ascending, so that episodes stay in time order.

    Attributes:
        train: (N_train,) rows to learn from; statistics come from these only.
        val: (N_val,) rows to stop the training by.
        cal: (N_cal,) rows to take thresholds from.
        test: (N_test,) rows to report on.
    """

    train: Index
    val: Index
    cal: Index
    test: Index


def split_episodes(
    episode: NDArray[Any],
    *,
    val_ratio: float = 0.1,
    cal_ratio: float = 0.1,
    test_ratio: float = 0.1,
    seed: int,
) -> Splits:
    """Split rows at random by whole episodes; a split whose ratio is 0 is empty, no other is.

    Episodes are permuted and cut where the shares of *rows* come nearest to the ratios; of some
    permutations, the one that comes nearest is taken. So unequal episodes do not distort the
    shares, and no split is the tail of the file, which in medium-expert data is all expert.

    Fewer episodes than splits are first cut into blocks of consecutive rows, with a warning:
    the splits then share episodes and are only nearly independent.

    Args:
        episode: (N,) the episode of each row; `np.arange(N)` for rows without episodes.
        val_ratio: Share of rows for validation. The rest of 1 is for training.
        cal_ratio: Share of rows for calibration.
        test_ratio: Share of rows for the test.
        seed: The same seed gives the same splits.

    Raises:
        ConfigError: A ratio is negative, or nothing is left for training.
        DataError: There are fewer rows than splits.
    """
    shares = np.array([1 - val_ratio - cal_ratio - test_ratio, val_ratio, cal_ratio, test_ratio])
    if not (shares[0] > 1e-9 and (shares >= 0).all()):
        raise ConfigError(
            f"val_ratio {val_ratio}, cal_ratio {cal_ratio} and test_ratio {test_ratio} must be "
            ">= 0 and leave rows to train on"
        )
    used = np.flatnonzero(shares)
    unit = _units(episode, len(used))
    owner = used[_assign(np.bincount(unit), shares[used], np.random.default_rng(seed))]
    return Splits(*(np.flatnonzero(owner[unit] == split) for split in range(4)))


def _units(episode: NDArray[Any], n_splits: int) -> Index:
    """Number what is kept whole: the episodes, or blocks of rows where those are too few."""
    n = len(episode)
    if n < n_splits:
        raise DataError(f"{n} rows cannot fill {n_splits} splits")
    _, first, number = np.unique(episode, return_index=True, return_inverse=True)
    if len(first) >= n_splits:
        return number
    logger.warning(
        "%d episodes cannot fill %d splits, so blocks of consecutive rows are split instead: "
        "rows of one episode are then in several splits",
        *(len(first), n_splits),
    )
    block = (np.arange(n) - first[number]) // max(1, n // _BLOCKS)
    return np.unique(number * n + block, return_inverse=True)[1]


def _assign(lengths: Index, shares: NDArray[Any], rng: np.random.Generator) -> Index:
    """Return the split of each unit, from the first permutation that fits, or the best of some."""
    best, least = np.zeros(0, dtype=np.int64), np.inf
    for _ in range(_TRIES):
        owner = _cut(rng.permutation(len(lengths)), lengths, shares)
        realised = np.bincount(owner, weights=lengths) / lengths.sum()
        error = np.abs(realised - shares).max()
        if error < least:
            best, least = owner, error
        if least <= _CLOSE:
            break
    return best


def _cut(order: Index, lengths: Index, shares: NDArray[Any]) -> Index:
    """Cut permuted units where the cumulated rows are nearest to the shares, none left empty."""
    n_units, n_splits = len(order), len(shares)
    rows = np.append(0, np.cumsum(lengths[order]))
    targets = np.cumsum(shares)[:-1] * rows[-1]
    cuts = np.abs(rows[:, None] - targets).argmin(axis=0)
    for k in range(n_splits - 1):
        lowest = cuts[k - 1] + 1 if k else 1
        cuts[k] = min(max(cuts[k], lowest), n_units - (n_splits - 1 - k))
    owner = np.empty(n_units, dtype=np.int64)
    for split, members in enumerate(np.split(order, cuts)):
        owner[members] = split
    return owner

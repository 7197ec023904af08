"""Train, validation and calibration parts of normal data, for a series and for a collection."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import ConfigError, DataError


@dataclass(frozen=True)
class Ratios:
    """Shares of the data held out to stop the training and to set thresholds.

    Raises:
        ConfigError: One is not in (0, 1), or nothing is left to train on.
    """

    val: float
    cal: float

    def __post_init__(self) -> None:
        given = {"val_ratio": self.val, "cal_ratio": self.cal}
        problems = [f"{k} must be in (0, 1), is {v}" for k, v in given.items() if not 0 < v < 1]
        if not problems and self.val + self.cal >= 1:
            problems = [f"val_ratio + cal_ratio must be below 1, is {self.val + self.cal:g}"]
        if problems:
            raise ConfigError(problems)

    def counts(self, n: int) -> tuple[int, int, int]:
        """Return how many of n go to training, validation and calibration."""
        n_val, n_cal = max(1, int(self.val * n)), max(1, int(self.cal * n))
        return n - n_val - n_cal, n_val, n_cal


def split_rows(n_rows: int, window: int, ratios: Ratios) -> dict[str, slice]:
    """Split the rows of a series in time: train, then val, then cal.

    A window's worth of rows before val and before cal goes unused, so no window of one part
    shares a row with a window of another, and none continues where the other stopped.

    Raises:
        DataError: A part cannot hold a window (numbers told).
    """
    n_train, n_val, n_cal = ratios.counts(n_rows)
    if n_train <= window or min(n_val, n_cal) < 2 * window:
        shares = ((window + 1) / (1 - ratios.val - ratios.cal), 2 * window / ratios.val)
        needed = int(np.ceil(max(*shares, 2 * window / ratios.cal)))
        raise DataError(
            f"{n_rows} rows are too few for windows of {window}: train, val and cal get "
            f"{n_train}, {n_val} and {n_cal} rows, but need {window + 1}, {2 * window} and "
            f"{2 * window} (a window, and one as a gap before it); about {needed} rows would do, "
            "or a shorter window"
        )
    return {
        "train": slice(0, n_train),
        "val": slice(n_train + window, n_train + n_val),
        "cal": slice(n_train + n_val + window, n_rows),
    }


def split_windows(n: int, ratios: Ratios, seed: int) -> dict[str, NDArray[np.int64]]:
    """Split the windows of a collection at random: train, val and cal.

    Raises:
        DataError: Fewer than two windows are left for training (numbers told).
    """
    n_train, n_val, n_cal = ratios.counts(n)
    if n_train < 2:
        raise DataError(
            f"{n} windows are too few: train, val and cal get {n_train}, {n_val} and {n_cal}, "
            "but need 2, 1 and 1"
        )
    order = np.random.default_rng(seed).permutation(n)
    train, val, cal = np.split(order, [n_train, n_train + n_val])
    return {"train": train, "val": val, "cal": cal}


def longest_window(n_rows: int, ratios: Ratios) -> int:
    """Return the longest window that leaves two windows for val and two for cal, and a gap."""
    n_train, n_val, n_cal = ratios.counts(n_rows)
    return max(1, min(n_val // 3, n_cal // 3, n_train // 4))

"""What can be wrong with a stretch of an episode whose rows are each all right, or almost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

_DRIFT = 0.1  # standard deviations a column, in the last row
_FASTER = 0.25  # standard deviations of the forward velocity, from the middle on


@dataclass(frozen=True, eq=False)
class Material:
    """What corruptions are made of.

    Attributes:
        rows: Held-out rows [s, a] (n, D) that foreign ones are drawn from.
        std: Standard deviations (D,) of the training rows.
        obs_dim: Columns of s. A MuJoCo runner's are its positions but for the first, then as many
            velocities and one more, the first of which is the forward one.
        rng: Source of what is random.
    """

    rows: Rows
    std: Rows
    obs_dim: int
    rng: np.random.Generator

    @property
    def forward(self) -> int:
        """Column of the forward velocity, which is what these runners are rewarded for."""
        return (self.obs_dim - 1) // 2


Corruption = Callable[[Rows, Material], Rows]


def frozen(x: Rows, of: Material) -> Rows:
    """Repeat the last row before the middle from there on."""
    middle = x.shape[1] // 2
    return np.concatenate([x[:, :middle], np.repeat(x[:, middle - 1 : middle], middle, 1)], 1)


def shuffled(x: Rows, of: Material) -> Rows:
    """Put the rows in a random order."""
    order = of.rng.permuted(np.tile(np.arange(x.shape[1]), (len(x), 1)), axis=1)
    return np.take_along_axis(x, order[..., None], 1)


def delayed(x: Rows, of: Material) -> Rows:
    """Let every action come a step late."""
    late = x.copy()
    late[:, 1:, of.obs_dim :] = x[:, :-1, of.obs_dim :]
    return late


def swapped(x: Rows, of: Material) -> Rows:
    """Exchange the halves."""
    middle = x.shape[1] // 2
    return np.concatenate([x[:, middle:], x[:, :middle]], 1)


def spliced(x: Rows, of: Material) -> Rows:
    """Put a row of somewhere else in the place of one in the second half."""
    torn, n = x.copy(), len(x)
    place = of.rng.integers(x.shape[1] // 2, x.shape[1], n)
    torn[np.arange(n), place] = of.rng.choice(of.rows, n)
    return torn


def drifting(x: Rows, of: Material) -> Rows:
    """Move the states away along a random direction, by .1 standard deviations at the end."""
    direction = of.rng.normal(size=(len(x), 1, of.obs_dim))
    direction /= np.sqrt(np.mean(direction**2, -1, keepdims=True))
    moved, share = x.copy(), np.linspace(0, 1, x.shape[1])[:, None]
    moved[..., : of.obs_dim] += _DRIFT * share * direction * of.std[: of.obs_dim]
    return moved


def faster(x: Rows, of: Material) -> Rows:
    """Say from the middle on that it runs faster than it does: more reward than there is."""
    changed = x.copy()
    changed[:, x.shape[1] // 2 :, of.forward] += _FASTER * of.std[of.forward]
    return changed


CORRUPTIONS: Mapping[str, Corruption] = {
    "frozen": frozen,
    "shuffled": shuffled,
    "delayed actions": delayed,
    "swapped halves": swapped,
    "spliced step": spliced,
    "drift": drifting,
    "faster": faster,
}

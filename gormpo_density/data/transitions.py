"""Offline transitions with their episodes: the one form in which RL data travels here."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gormpo_density.arrays import check_finite
from gormpo_density.errors import ConfigError, DataError

RowKind = Literal["state_action", "next_state_action", "state", "transition"]


@dataclass(frozen=True)
class DatasetInfo:
    """Where transitions came from, written into every result.

    Attributes:
        name: The dataset actually used, e.g. `gormpo/hopper/medium-v0` or a file name.
        source: "embedded" | "minari" | "file" | "arrays".
        requested: What the user asked for, where it differs (`hopper-medium-v2`), else None.
        env_id: Gymnasium id with version (`Hopper-v5`), or None when unknown.
        ref_min_score: Return of a random policy, for normalised scores; None when unknown.
        ref_max_score: Return of an expert policy; None when unknown.
    """

    name: str
    source: str
    requested: str | None = None
    env_id: str | None = None
    ref_min_score: float | None = None
    ref_max_score: float | None = None


@dataclass(frozen=True)
class Transitions:
    """N transitions, in time order inside each episode.

    `next_obs` is the true next observation: never the reset state of the following episode.
    `terminated` means the environment ended; `truncated` (a time limit) is not termination.

    Attributes:
        obs: (N, O) float32.
        action: (N, A) float32.
        reward: (N,) float32.
        next_obs: (N, O) float32.
        terminated: (N,) bool.
        truncated: (N,) bool.
        episode: (N,) int64, the episode each row belongs to; rows of one episode are adjacent.
        info: Where the data came from.

    Raises:
        DataError: Lengths disagree, an array has the wrong rank, or a value is NaN or infinite
            (array, column and row named).
    """

    obs: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    next_obs: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode: NDArray[np.int64]
    info: DatasetInfo = field(default_factory=lambda: DatasetInfo("arrays", "arrays"))

    def __post_init__(self) -> None:
        for name, rank in _RANKS.items():
            array = getattr(self, name)
            if array.ndim != rank:
                raise DataError(f"{name} must have rank {rank}, got shape {array.shape}")
            if len(array) != len(self.obs):
                raise DataError(f"{name} has {len(array)} rows, obs has {len(self.obs)}")
        if self.next_obs.shape != self.obs.shape:
            raise DataError(f"next_obs is {self.next_obs.shape}, obs is {self.obs.shape}")
        for name in ("obs", "action", "reward", "next_obs"):
            check_finite(getattr(self, name), name)

    def __len__(self) -> int:
        return len(self.obs)

    @property
    def n_episodes(self) -> int:
        """Number of different episodes."""
        return len(np.unique(self.episode))

    def rows(self, kind: RowKind = "state_action") -> NDArray[np.float32]:
        """Return the rows a density model scores.

        Args:
            kind: "state_action" [s, a] | "next_state_action" [s', a] (GORMPO's choice) |
                "state" [s] | "transition" [s, a, r, s'].

        Returns:
            (N, D) float32.

        Raises:
            ConfigError: `kind` is none of the four.
        """
        match kind:
            case "state_action":
                parts = [self.obs, self.action]
            case "next_state_action":
                parts = [self.next_obs, self.action]
            case "state":
                parts = [self.obs]
            case "transition":
                parts = [self.obs, self.action, self.reward[:, None], self.next_obs]
            case _:
                raise ConfigError(f"rows {kind!r} is unknown; choose from {get_args(RowKind)}")
        return np.concatenate(parts, axis=1)

    def select(self, index: NDArray[Any] | slice) -> "Transitions":
        """Return the rows at `index` (an integer or boolean array, or a slice)."""
        return replace(self, **{name: getattr(self, name)[index] for name in _RANKS})

    def episode_returns(self) -> NDArray[np.float64]:
        """Return the undiscounted return of each episode, in order of episode number."""
        _, inverse = np.unique(self.episode, return_inverse=True)
        return np.bincount(inverse, weights=self.reward).astype(np.float64)


_RANKS = {
    "obs": 2,
    "action": 2,
    "reward": 1,
    "next_obs": 2,
    "terminated": 1,
    "truncated": 1,
    "episode": 1,
}

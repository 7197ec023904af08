"""The offline data of a run: tensors on one device, split by episode, with their returns."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.config import DataConfig
from gormpo_density.data.sources import load_transitions, require_data_path
from gormpo_density.data.sparse import sparsify
from gormpo_density.data.splits import split_episodes
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError
from rl.policy import column_scale

_ARRAYS = ("obs", "action", "reward", "next_obs", "terminated", "episode")
_ROUNDING = 1e-4  # of the range of actions
_MOST_HIDDEN = 0.5  # weight of what lies beyond a cut episode, up to which its return is known


@dataclass(frozen=True, eq=False)
class OfflineData:
    """Transitions on one device, and which rows belong to which split.

    Attributes:
        obs: (N, O) float32.
        action: (N, A) float32, the environment's units.
        reward: (N,) float32.
        next_obs: (N, O) float32.
        terminated: (N,) bool.
        episode: (N,) int64.
        splits: Row numbers of "train", "val", "cal" and "test", by whole episodes.
        info: Where the data came from.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    episode: Tensor
    splits: dict[str, Tensor]
    info: DatasetInfo

    @property
    def obs_dim(self) -> int:
        """O, the width of an observation."""
        return self.obs.shape[1]

    @property
    def action_dim(self) -> int:
        """A, the width of an action."""
        return self.action.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.obs.device

    def rows(self, kind: str, split: str | None = None) -> Tensor:
        """Return the rows (n, D) of a split, or all, that a density model scores."""
        i = slice(None) if split is None else self.splits[split]
        match kind:
            case "state_action":
                return torch.cat([self.obs[i], self.action[i]], 1)
            case "next_state_action":
                return torch.cat([self.next_obs[i], self.action[i]], 1)
        raise ConfigError(
            f"data.rows {kind!r} cannot be scored in a rollout; choose state_action or "
            "next_state_action"
        )

    def n_episodes(self, split: str) -> int:
        """Number of different episodes in a split."""
        return len(self.episode[self.splits[split]].unique())

    def share_outside(self, low: Tensor, high: Tensor) -> float:
        """Return the share of rows with an action outside bounds (A,), but for rounding."""
        slack = _ROUNDING * (high - low)
        low, high = (bound.to(self.device) for bound in (low - slack, high + slack))
        return ((self.action < low) | (self.action > high)).any(1).float().mean().item()

    @cached_property
    def reward_std(self) -> float:
        """Standard deviation of the training rewards: the unit of a penalty's coefficient."""
        return column_scale(self.reward[self.splits["train"]]).item()

    @cached_property
    def reward_range(self) -> tuple[float, float]:
        """Smallest and largest reward."""
        return self.reward.min().item(), self.reward.max().item()

    @cached_property
    def reward_scale(self) -> float:
        """Mean absolute training reward: rewards divided by it are of the order of 1."""
        scale = self.reward[self.splits["train"]].abs().mean().item()
        return scale if scale > 1e-8 else 1.0

    @cached_property
    def episode_returns(self) -> Tensor:
        """Undiscounted return of each episode, in order of episode number."""
        _, place = self.episode.unique(return_inverse=True)
        totals = torch.zeros(int(place.max()) + 1, device=self.device, dtype=torch.float64)
        return totals.index_add_(0, place, self.reward.double())

    def discounted_returns(self, gamma: float) -> tuple[Tensor, Tensor]:
        """Return each row's discounted return.

        G_t = r_t + gamma G_(t+1). An episode that was cut (a time limit) hides what came later:
        it is taken to have gone on as in the k rows that are left, G_t = S_t / (1 - gamma^k) with
        S_t the sum of those. That is known where they have at least half of the weight,
        gamma^k <= 1/2; were cut episodes left out, only falls would be known.

        Returns:
            The returns (N,), and where they are known (N,) bool.
        """
        reward, ended = self.reward.double().cpu().numpy(), self.terminated.cpu().numpy()
        last = np.append(np.diff(self.episode.cpu().numpy()) != 0, True)
        total, hidden = np.zeros(len(reward)), np.zeros(len(reward))
        value, weight = 0.0, 0.0
        for t in range(len(reward) - 1, -1, -1):
            if last[t]:
                value, weight = 0.0, 0.0 if ended[t] else 1.0
            value, weight = reward[t] + gamma * value, gamma * weight
            total[t], hidden[t] = value, weight
        returns = torch.from_numpy(total / (1 - hidden)).to(self.device, torch.float32)
        return returns, torch.from_numpy(hidden <= _MOST_HIDDEN).to(self.device)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the data and of its splits, by which trained parts are known again."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            digest.update(getattr(self, name).cpu().numpy().data)
        for name in sorted(self.splits):
            digest.update(self.splits[name].cpu().numpy().data)
        return digest.hexdigest()[:16]


def load_offline_data(
    config: DataConfig, seed: int, device: torch.device, *, progress: bool = True
) -> OfflineData:
    """Load what the `data` section names, split it by episode, and put it on a device.

    Raises:
        ConfigError: A width that the configuration states is not the data's.
        DataError: The data is missing, malformed, or too small to split.
    """
    require_data_path(config.data_path)
    data = load_transitions(config.dataset, config.data_path, config.data_dir, progress=progress)
    if config.sparse:
        data = sparsify(data)
    _check_widths(config, data)
    ratios = {name: getattr(config, name) for name in ("val_ratio", "cal_ratio", "test_ratio")}
    try:
        splits = split_episodes(data.episode, **ratios, seed=seed)
    except DataError as error:
        raise DataError(f"{data.info.name}: {error}") from error
    return to_device(
        data, {n: getattr(splits, n) for n in ("train", "val", "cal", "test")}, device
    )


def to_device(
    data: Transitions, splits: dict[str, NDArray[np.int64]], device: torch.device
) -> OfflineData:
    """Put transitions and the row numbers of their splits on a device."""
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(getattr(data, name))).to(device)
        for name in _ARRAYS
    }
    return OfflineData(
        **tensors,
        splits={name: torch.from_numpy(index).to(device) for name, index in splits.items()},
        info=data.info,
    )


def _check_widths(config: DataConfig, data: Transitions) -> None:
    obs_dim, action_dim = data.obs.shape[1], data.action.shape[1]
    found = {"obs_dim": obs_dim, "action_dim": action_dim, "input_dim": obs_dim + action_dim}
    problems = [
        f"data.{key} is {getattr(config, key)}, but {data.info.name} has {width}"
        for key, width in found.items()
        if getattr(config, key) not in (None, width)
    ]
    if problems:
        raise ConfigError(problems)

"""From the `data` section to rows: found, loaded, checked, split by episode."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gormpo_density.config import DataConfig
from gormpo_density.data.files import load_rows
from gormpo_density.data.sources import (
    SUFFIXES,
    absent_data,
    data_file,
    load_transitions,
    require_data_path,
)
from gormpo_density.data.sparse import sparsify
from gormpo_density.data.splits import split_episodes
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class DensityData:
    """Rows by split, each with the episode it belongs to.

    Attributes:
        rows: "train", "val", "cal" and "test", each (n, D) float32.
        episodes: The same splits, each (n,): episode numbers.
        info: Where the data came from.
        obs_dim: Number of leading columns that are observations; D for plain rows.
        action_dim: Number of columns after them that are actions; 0 for none.
        action_bounds: Lowest and highest action, each (action_dim,).
        left_out: Rows that `sparsify` dropped, (m, D); none unless the data is made sparse.
    """

    rows: dict[str, Rows]
    episodes: dict[str, NDArray[np.int64]]
    info: DatasetInfo
    obs_dim: int
    action_dim: int
    action_bounds: tuple[Rows, Rows]
    left_out: Rows

    @property
    def input_dim(self) -> int:
        """D, the width of a row."""
        return int(self.rows["train"].shape[1])

    def n_episodes(self, split: str) -> int:
        """Number of different episodes in a split."""
        return len(np.unique(self.episodes[split]))


def load_density_data(config: DataConfig, seed: int, *, progress: bool = True) -> DensityData:
    """Load what the `data` section names and split it by episode.

    Raises:
        ConfigError: A width that the configuration states is not the data's.
        DataError: The data is missing, malformed, or too small to split.
    """
    require_data_path(config.data_path)
    data = _load(config, progress)
    left_out = None
    if config.sparse:
        data, left_out = _sparsified(data, config)
    if isinstance(data, Transitions):
        rows, episode, info = data.rows(config.rows), data.episode, data.info
        obs_dim, action = data.obs.shape[1], data.action
        if config.rows == "state":
            action = action[:, :0]
        widths = {"obs_dim": obs_dim, "action_dim": data.action.shape[1]}
    else:
        rows, episode, action = data, np.arange(len(data)), data[:, :0]
        info = DatasetInfo(Path(config.data_path or str(config.dataset)).name, "file")
        obs_dim, widths = rows.shape[1], {}
    _check_widths(config, widths | {"input_dim": rows.shape[1]}, info.name)
    ratios = {name: getattr(config, name) for name in ("val_ratio", "cal_ratio", "test_ratio")}
    try:
        splits = split_episodes(episode, **ratios, seed=seed)
    except DataError as error:
        raise DataError(f"{info.name}: {error}") from error
    index = {name: getattr(splits, name) for name in ("train", "val", "cal", "test")}
    return DensityData(
        rows={name: rows[i] for name, i in index.items()},
        episodes={name: episode[i] for name, i in index.items()},
        info=info,
        obs_dim=obs_dim,
        action_dim=action.shape[1],
        action_bounds=_bounds(action),
        left_out=rows[:0] if left_out is None else left_out,
    )


def check_density_data(config: DataConfig, seed: int) -> str | None:
    """Check the data without making or downloading any; return what is absent, if so.

    Raises:
        ConfigError: A width that the configuration states is not the data's.
        DataError: The data is there, but malformed or too small to split.
    """
    absent = absent_data(config.dataset, config.data_path, config.data_dir)
    if absent is None:
        load_density_data(config, seed, progress=False)
    return absent


def load_other_rows(
    name: str, config: DataConfig, data: DensityData, *, progress: bool = True
) -> Rows:
    """Load rows of the same kind: another dataset by name or path, or "sparse", those left out."""
    if name == "sparse":
        if not len(data.left_out):
            raise ConfigError("ood level 'sparse' needs data.sparse: true")
        return data.left_out
    is_file = Path(name).suffix in SUFFIXES
    found = {"dataset": None if is_file else name, "data_path": Path(name) if is_file else None}
    other = _load(config.model_copy(update=found), progress)
    return other.rows(config.rows) if isinstance(other, Transitions) else other


def _load(config: DataConfig, progress: bool) -> Transitions | Rows:
    keys = (config.dataset, config.data_path, config.data_dir)
    try:
        return load_transitions(*keys, progress=progress)
    except DataError:
        path = data_file(*keys)
        if path is None or config.rows != "state_action":
            raise
        try:
            return load_rows(path)  # plain rows have no actions to leave out
        except DataError:
            pass
        raise


def _sparsified(data: Transitions | Rows, config: DataConfig) -> tuple[Transitions, Rows]:
    """Return the data without part of its trajectories, and the rows of those."""
    if not isinstance(data, Transitions):
        raise ConfigError("data.sparse needs transitions with rewards; the file has plain rows")
    kept = sparsify(data)
    dropped = ~np.isin(data.episode, kept.episode)
    return kept, data.rows(config.rows)[dropped]


def _bounds(action: Rows) -> tuple[Rows, Rows]:
    """Return the usual [-1, 1] where the actions keep to it, else what they span."""
    ones = np.ones(action.shape[1], dtype=np.float32)
    return np.minimum(action.min(0), -ones), np.maximum(action.max(0), ones)


def _check_widths(config: DataConfig, found: dict[str, int], name: str) -> None:
    problems = [
        f"data.{key} is {getattr(config, key)}, but {name} has {width}"
        for key, width in found.items()
        if getattr(config, key) not in (None, width)
    ]
    if problems:
        raise ConfigError(problems)

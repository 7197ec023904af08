"""GORMPO's two loaders under their own names: rows [s', a] of a task, a file or an environment.

New code is better served by `load_file` or `load_dataset` with `split_episodes`, which also give
a calibration split.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gormpo_density.data.columns import check_dims, from_columns
from gormpo_density.data.files import load_file
from gormpo_density.data.splits import split_episodes
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError


def load_rl_data(
    args: Any, env: Any = None, val_split_ratio: float = 0.2, test_split_ratio: float = 0.2
) -> tuple[Tensor, Tensor, Tensor]:
    """Load transitions and split them at random by whole episodes.

    The data is that of `args.data_path` if given, else of `env.get_dataset()` (an environment of
    D4RL's kind), else of `args.task`.

    Args:
        args: A namespace or a mapping with any of `data_path`, `task`, `obs_dim` (or `obs_shape`;
            a number or a tuple of one), `action_dim` and `seed` (0 if absent).
        env: Anything with `get_dataset()` that returns a dict of arrays under D4RL's names.
        val_split_ratio: Share of rows for validation.
        test_split_ratio: Share of rows for the test.

    Returns:
        Train, validation and test rows [s', a], float32, each (n, O + A).

    Raises:
        ConfigError: No data is named, the task is unknown, or the widths contradict the data.
        DataError: The data cannot be read, or is too small to split.
    """
    options = args if isinstance(args, Mapping) else vars(args)
    transitions = _load(options, env)
    widths = options.get("obs_dim", options.get("obs_shape")), options.get("action_dim")
    check_dims(transitions, *map(_width, widths))
    splits = split_episodes(
        transitions.episode,
        val_ratio=val_split_ratio,
        cal_ratio=0.0,
        test_ratio=test_split_ratio,
        seed=options.get("seed", 0),
    )
    rows = torch.from_numpy(transitions.rows("next_state_action"))
    return rows[splits.train], rows[splits.val], rows[splits.test]


def load_rl_data_for_vae(
    args: Any, env: Any = None, val_split_ratio: float = 0.2, test_split_ratio: float = 0.2
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Do as `load_rl_data`, and return the width of the rows, O + A, as a fourth item."""
    train, val, test = load_rl_data(args, env, val_split_ratio, test_split_ratio)
    return train, val, test, train.shape[1]


def _load(options: Mapping[str, Any], env: Any) -> Transitions:
    if path := options.get("data_path"):
        return load_file(path)
    if hasattr(env, "get_dataset"):
        return from_columns(env.get_dataset(), DatasetInfo(type(env).__name__, "arrays"))
    if task := options.get("task"):
        from gormpo_density.data.sources import load_dataset  # brings Gymnasium with it

        return load_dataset(task)
    raise ConfigError("no data: args has neither data_path nor task, and env no get_dataset()")


def _width(stated: Any) -> int | None:
    """Read a width as GORMPO writes it: 11, (11,) or nothing."""
    if stated is None or isinstance(stated, int):
        return stated
    sizes = tuple(stated)
    if len(sizes) != 1:
        raise ConfigError(f"a width must be one number, got {stated!r}")
    return int(sizes[0])

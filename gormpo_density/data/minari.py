"""Minari datasets as `Transitions`, and the embedded ones that are made on first use.

`gormpo/{hopper,halfcheetah,walker2d,inverted_pendulum}/LEVEL-v0` need no download: the shipped
behaviour policies are rolled out and the episodes stored in the normal Minari folder
(`MINARI_DATASETS_PATH`, or `~/.minari/datasets`). The same id always holds the same transitions,
for the same versions of Gymnasium and MuJoCo.
"""

import difflib
import logging
import re
import shutil
from contextlib import suppress
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from gormpo_density.data.behaviour import (
    ENV_IDS,
    REPLAY,
    Episode,
    collect,
    load_policy,
    measured_returns,
    mujoco_warnings_logged,
)
from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_PARTS: dict[str, dict[str, int]] = {
    "random": {"random": 50_000},
    "medium": {"medium": 100_000},
    "expert": {"expert": 50_000},
    "medium-expert": {"medium": 50_000, "expert": 50_000},
    "medium-replay": dict.fromkeys(REPLAY, 20_000),
}
"""Steps of each policy in the datasets of a level."""

_DIVISOR = {"inverted_pendulum": 5}
"""Where fewer steps are enough: the random episodes of the pendulum last about six steps."""

_D4RL_SCORES = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
}
"""D4RL's returns of a random and of an expert policy (Fu et al. 2020, arXiv 2004.07219)."""


def embedded_ids() -> tuple[str, ...]:
    """Return the ids of the datasets that can be made without a download."""
    return tuple(f"gormpo/{env}/{level}-v0" for env in ENV_IDS for level in _PARTS)


def reference_scores(env: str) -> tuple[float, float]:
    """Return the returns that count as 0 and 1 in normalised scores.

    They are D4RL's for its environments; for the inverted pendulum, the measured random return
    and 1000, its maximum.

    Args:
        env: A key of `behaviour.ENV_IDS`.
    """
    if env in _D4RL_SCORES:
        return _D4RL_SCORES[env]
    rows = measured_returns()
    random = next(row for row in rows if row["env"] == env and row["level"] == "random")
    return float(random["mean"]), 1000.0


def load_minari(dataset_id: str, *, progress: bool = True) -> Transitions:
    """Load a Minari dataset: from the local folder, else made if embedded, else downloaded.

    An embedded dataset that cannot be read is made again.

    Args:
        dataset_id: One of `embedded_ids()`, or any other Minari id.
        progress: Show a progress bar while an embedded dataset is made.

    Returns:
        All transitions; `next_obs` is the observation that follows within the episode.

    Raises:
        ConfigError: Not a Minari id, or no such embedded dataset.
        DataError: The dataset is neither here nor to be had, or cannot be read or stored.
    """
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*-v\d+", dataset_id):
        raise ConfigError(f"{dataset_id!r} is not a Minari id such as {embedded_ids()[0]!r}")
    if dataset_id in embedded_ids():
        return _load_embedded(dataset_id, progress)
    if dataset_id.startswith("gormpo/"):
        raise ConfigError(
            f"unknown dataset {dataset_id!r}, did you mean {_nearest(dataset_id)!r}?"
        )
    if not is_local(dataset_id):
        _download(dataset_id)
    return _read(dataset_id)


def is_local(dataset_id: str) -> bool:
    """Whether the local Minari folder holds something under this id."""
    return _folder(dataset_id).exists()


def _folder(dataset_id: str | None = None) -> Path:
    """Return where Minari keeps a dataset, or all of them."""
    from minari.storage import get_dataset_path

    try:
        return Path(get_dataset_path(dataset_id))
    except OSError as error:
        raise DataError(f"the Minari folder cannot be made: {error}") from error


def _nearest(dataset_id: str) -> str:
    return difflib.get_close_matches(dataset_id, embedded_ids(), n=1, cutoff=0.0)[0]


def _load_embedded(dataset_id: str, progress: bool) -> Transitions:
    """Read the dataset; where it is absent, or half stored by a killed process, make it."""
    from filelock import FileLock

    with suppress(DataError):
        return _read(dataset_id)
    folder = _folder(dataset_id)
    try:
        with FileLock(_folder() / ".gormpo.lock"):
            with suppress(DataError):
                return _read(dataset_id)  # another process made it meanwhile
            if folder.exists():
                logger.warning("%s cannot be read, making it again", folder)
                shutil.rmtree(folder)
            _create(dataset_id, progress)
    except OSError as error:
        raise DataError(f"cannot store dataset {dataset_id} in {folder}: {error}") from error
    return _read(dataset_id)


def _create(dataset_id: str, progress: bool) -> None:
    import minari

    _, env, name = dataset_id.split("/")
    level = name.removesuffix("-v0")
    episodes = _roll_out(env, level, progress)
    ref_min_score, ref_max_score = reference_scores(env)
    with mujoco_warnings_logged():
        minari.create_dataset_from_buffers(
            dataset_id,
            [_buffer(episode) for episode in episodes],
            env=ENV_IDS[env],
            eval_env=ENV_IDS[env],
            ref_min_score=ref_min_score,
            ref_max_score=ref_max_score,
            algorithm_name="random" if level == "random" else "PPO",
            author="gormpo_density contributors",
            author_email="",
            code_permalink="scripts/train_behaviour.py",
            description=_describe(env, level),
        )


def _roll_out(env: str, level: str, progress: bool) -> list[Episode]:
    """Return the episodes of a level, each part under a seed of its own made of its names."""
    parts = []
    for policy, n_steps in _PARTS[level].items():
        rng = np.random.default_rng(list(f"{env}/{level}/{policy}".encode()))
        steps = n_steps // _DIVISOR.get(env, 1)
        parts.append(
            collect(ENV_IDS[env], load_policy(env, policy), steps, rng, progress=progress)
        )
    return list(chain.from_iterable(parts))


def _buffer(episode: Episode) -> Any:
    """Return Minari's EpisodeBuffer; its constructor, unlike `add_step_data`, needs no JAX."""
    from minari.data_collector import EpisodeBuffer

    last = np.arange(len(episode)) == len(episode) - 1
    return EpisodeBuffer(
        seed=episode.seed,
        observations=episode.obs,
        actions=episode.action,
        rewards=episode.reward,
        terminations=last & episode.terminated,
        truncations=last & episode.truncated,
    )


def _describe(env: str, level: str) -> str:
    parts = ", ".join(_PARTS[level])
    versions = ", ".join(f"{name} {version(name)}" for name in ("gymnasium", "mujoco"))
    return (
        f"Rollouts of gormpo_density's shipped behaviour policies in {ENV_IDS[env]}: {parts}. "
        f"Stochastic, noise truncated to the action space, seeded; the last episode of each part "
        f"is cut. Made with {versions}."
    )


def _download(dataset_id: str) -> None:
    import minari

    try:
        minari.download_dataset(dataset_id)
    except Exception as error:  # each of Minari's download backends has errors of its own
        raise DataError(
            f"dataset {dataset_id} is not in the local Minari folder and its download failed "
            f"({type(error).__name__}: {error}). A download needs a network and the extra "
            f"'remote'; without one use {_nearest(dataset_id)!r}"
        ) from error


def _read(dataset_id: str) -> Transitions:
    import minari

    try:
        dataset = minari.load_dataset(dataset_id)
        _check_spaces(dataset)
        episodes = list(dataset.iterate_episodes())
        if not episodes:
            raise DataError("it has no episodes")
        return _transitions(episodes, _info(dataset_id, dataset))
    except (OSError, KeyError, ValueError, AssertionError) as error:
        raise DataError(f"dataset {dataset_id} cannot be read: {error}") from error


def _check_spaces(dataset: Any) -> None:
    for name in ("observation_space", "action_space"):
        space = getattr(dataset.spec, name)
        if not (isinstance(space, gym.spaces.Box) and len(space.shape) == 1):
            raise DataError(f"its {name} is {space}, only a Box of rank 1 will do")


def _transitions(episodes: list[Any], info: DatasetInfo) -> Transitions:
    """Join episodes; each has one observation more than it has actions."""
    lengths = [len(episode.rewards) for episode in episodes]

    def join(parts: list[Any], dtype: Any) -> Any:
        return np.concatenate(parts).astype(dtype)

    return Transitions(
        obs=join([e.observations[:-1] for e in episodes], np.float32),
        action=join([e.actions for e in episodes], np.float32),
        reward=join([e.rewards for e in episodes], np.float32),
        next_obs=join([e.observations[1:] for e in episodes], np.float32),
        terminated=join([e.terminations for e in episodes], np.bool_),
        truncated=join([e.truncations for e in episodes], np.bool_),
        episode=np.repeat(np.arange(len(episodes)), lengths),
        info=info,
    )


def _info(dataset_id: str, dataset: Any) -> DatasetInfo:
    """Describe a dataset; where it has no reference returns of its own, use its environment's."""
    env_id = dataset.spec.env_spec.id if dataset.spec.env_spec else None
    metadata = dataset.storage.metadata
    family = {name.split("-")[0]: env for env, name in ENV_IDS.items()}
    env = family.get((env_id or "").split("-")[0])
    ours = reference_scores(env) if env else (None, None)
    return DatasetInfo(
        name=dataset_id,
        source="embedded" if dataset_id in embedded_ids() else "minari",
        env_id=env_id,
        ref_min_score=metadata.get("ref_min_score", ours[0]),
        ref_max_score=metadata.get("ref_max_score", ours[1]),
    )

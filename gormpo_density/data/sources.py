"""One name for any dataset: an embedded id, another Minari id, or a task named as in D4RL."""

import difflib
import logging
import os
from dataclasses import replace
from pathlib import Path

from gormpo_density.data.behaviour import ENV_IDS
from gormpo_density.data.minari import embedded_ids, is_local, load_minari, reference_scores
from gormpo_density.data.transitions import Transitions
from gormpo_density.errors import ConfigError, DataError

SUFFIXES = (".npz", ".hdf5", ".h5", ".pkl", ".pickle", ".csv", ".npy")

logger = logging.getLogger(__name__)


def load_transitions(
    dataset: str | None, data_path: Path | None, data_dir: Path | None, *, progress: bool = True
) -> Transitions:
    """Load what the keys of a `data` section name.

    Args:
        dataset: See `load_dataset`; with `data_dir`, the name of a file there.
        data_path: A file, in place of a dataset.
        data_dir: Folder that holds the file, or a folder named after the dataset that does.
        progress: Show a progress bar while an embedded dataset is made.

    Raises:
        ConfigError: Nothing is named, or there is no such dataset.
        DataError: The data is missing or malformed.
    """
    if (path := data_file(dataset, data_path, data_dir)) is not None:
        return _load_file(path)
    if dataset is None:
        raise ConfigError("no data: give data.dataset, data.data_path or a task")
    return load_dataset(dataset, progress=progress)


def require_data_path(data_path: Path | None) -> None:
    """Raise DataError, naming the flag, where the data of a run is a file that is not there."""
    if data_path is not None and not data_path.exists():
        raise DataError(f"{data_path}: no such file (--data_path FILE names another)")


def data_file(dataset: str | None, data_path: Path | None, data_dir: Path | None) -> Path | None:
    """Return the file that the keys name; None for a dataset.

    Raises:
        DataError: `data_dir` has no such file.
    """
    if data_path is not None or data_dir is None or dataset is None:
        return data_path
    places = [data_dir / f"{dataset}{end}" for end in ("", *SUFFIXES)]
    places += [data_dir / dataset / f"{dataset}{end}" for end in SUFFIXES]
    for place in places:
        if place.is_file():
            return place
    kinds = ", ".join(SUFFIXES)
    raise DataError(f"{data_dir}: no file {dataset} ({kinds}) in it or in {dataset}/")


def load_dataset(dataset: str, *, progress: bool = True) -> Transitions:
    """Load a dataset by name.

    Args:
        dataset: An embedded id (`gormpo/hopper/medium-v0`), any other Minari id, or a task named
            as in D4RL (`hopper-medium-v2`).
        progress: Show a progress bar while an embedded dataset is made.

    Returns:
        All transitions. For a task, `info.requested` is its name and `info.name` what was used;
        an embedded dataset in the place of the real one comes with a warning.

    Raises:
        ConfigError: No such dataset, or "custom", which needs a file.
        DataError: The dataset is not to be had or cannot be read.
    """
    if "/" in dataset or is_local(dataset):
        return load_minari(dataset, progress=progress)
    found = resolve_task(dataset)
    if isinstance(found, str):
        if found in embedded_ids():
            logger.warning(
                "%s is not on this machine; using the embedded %s instead", dataset, found
            )
        data = load_minari(found, progress=progress)
        return replace(data, info=replace(data.info, requested=dataset))
    return _load_d4rl_file(found, dataset)


def is_here(dataset: str) -> bool:
    """Whether a dataset is on this machine, so that loading makes and downloads nothing."""
    found = _find(dataset)
    return isinstance(found, Path) or is_local(found)


def absent_data(dataset: str | None, data_path: Path | None, data_dir: Path | None) -> str | None:
    """Return what of the data that `load_transitions` would load is absent; None if it is here.

    Nothing is made or downloaded.
    """
    for path, flag in ((data_path, "--data_path FILE"), (data_dir, "--data_dir DIR")):
        if path is not None:
            return None if path.exists() else f"{path} is not there ({flag} names another)"
    name = str(dataset)
    if is_here(name):
        return None
    found = _find(name)
    stand_in = "" if found == name else f", nor is {found}, which would stand in for it"
    return f"{name} is not here yet{stand_in}"


def _find(dataset: str) -> str | Path:
    """Return the Minari id or the file that a dataset is loaded from."""
    return dataset if "/" in dataset or is_local(dataset) else resolve_task(dataset)


def resolve_task(task: str) -> str | Path:
    """Return what a D4RL-style task name stands for.

    The real dataset where it is there: `D4RL/hopper/medium-v2` in the Minari folder, or D4RL's own
    file (`~/.d4rl/datasets/hopper_medium-v2.hdf5`, or in `D4RL_DATASET_DIR`); else the embedded
    dataset of the same name.

    Args:
        task: For example `hopper-medium-v2`.

    Returns:
        A Minari id, or the path of a D4RL file.

    Raises:
        ConfigError: The task is unknown, or it is "custom", which needs `data_path`.
    """
    if task == "custom":
        raise ConfigError("task 'custom' needs data_path, the file that holds the data")
    env, level, version = _parse(task)
    if is_local(minari_id := f"D4RL/{env}/{level}-v{version}"):
        return minari_id
    if (file := _d4rl_folder() / f"{env}_{level.replace('-', '_')}-v{version}.hdf5").is_file():
        return file
    return f"gormpo/{env}/{level}-v0"


def _parse(task: str) -> tuple[str, str, str]:
    """Split `hopper-medium-v2` into environment, level and version."""
    known = {"-".join(id_.removesuffix("-v0").split("/")[1:]): id_ for id_ in embedded_ids()}
    stem, _, version = task.rpartition("-v")
    if stem not in known or version not in ("0", "1", "2"):
        names = [f"{name}-v2" for name in known]
        near = difflib.get_close_matches(task, names, n=1, cutoff=0.0)[0]
        raise ConfigError(f"unknown dataset or task {task!r}, did you mean {near!r}?")
    _, env, level = known[stem].removesuffix("-v0").split("/")
    return env, level, version


def _d4rl_folder() -> Path:
    return Path(os.environ.get("D4RL_DATASET_DIR", Path.home() / ".d4rl" / "datasets"))


def _load_d4rl_file(file: Path, task: str) -> Transitions:
    """Load D4RL's file. Its environments were v2, which Gymnasium keeps as v4 (no mujoco-py)."""
    env = _parse(task)[0]
    low, high = reference_scores(env)
    data = _load_file(file)
    env_id = ENV_IDS[env].replace("-v5", "-v4")
    info = replace(data.info, requested=task, env_id=env_id, ref_min_score=low, ref_max_score=high)
    return replace(data, info=info)


def _load_file(path: Path) -> Transitions:
    from gormpo_density.data.files import load_file

    return load_file(path)

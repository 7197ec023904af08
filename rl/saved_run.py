"""A finished MOPO run, read from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gormpo_density import DensityModel, SequenceModel, load_model
from gormpo_density.errors import ConfigError, ModelFileError, RunFolderError
from gormpo_density.persistence import load_tensors
from gormpo_density.runs import HistoryFile
from rl.assembly import environment_of
from rl.config import MOPOConfig, load_mopo_config
from rl.dynamics import EnsembleDynamics, load_dynamics
from rl.offline_data import OfflineData, load_offline_data
from rl.parts import row_kind_of
from rl.path_model import load_path_model
from rl.policy import TanhGaussianPolicy


@dataclass(frozen=True, eq=False)
class SavedMOPORun:
    """A finished run of the algorithm "mopo": its parts, and the data with the run's own splits.

    Attributes:
        path: The run folder.
        config: As resolved when the run was made.
        data: On the device of everything else.
        env_id: Where the policy was measured.
        dynamics: The ensemble.
        density: Calibrated as it was for the penalty; None where the run needed none.
        row_kind: What the density model scores.
        beside: The model of paths beside it, calibrated likewise; None where there is none.
        clone: The cloned policy.
        policy: The reported one.
        history: Columns of history.csv.
    """

    path: Path
    config: MOPOConfig
    data: OfflineData
    env_id: str
    dynamics: EnsembleDynamics
    density: DensityModel | None
    row_kind: str
    beside: SequenceModel[Any] | None
    clone: TanhGaussianPolicy
    policy: TanhGaussianPolicy
    history: dict[str, list[float]]

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.resolve().name


def open_mopo_run(
    path: Path,
    device: torch.device,
    density_run: Path | None = None,
    *,
    progress: bool = True,
) -> SavedMOPORun:
    """Read a finished run.

    Args:
        path: The run folder.
        device: Where to put everything.
        density_run: A run or model folder whose density model takes the place of the run's own.
        progress: Show a progress bar where data must be made.

    Raises:
        RunFolderError: There is no run in the folder, or an unfinished one.
        ConfigError: The run has no dynamics model, or its data is not what it was.
        DataError: The data is missing.
        ModelFileError: A part is missing or corrupt.
    """
    config = _read_finished(path)
    if config.algorithm != "mopo":
        raise ConfigError(f"{path} is a run of {config.algorithm!r}, which has no dynamics model")
    dynamics = load_dynamics(path, device)
    density, row_kind = _load_density(path, config, density_run, device)
    beside = None
    if density_run is None and config.history.beside and density is not None:
        beside = load_path_model(path / "history", device)
    clone, policy = (
        _load_policy(path / "policy" / f"{name}.safetensors", config.sac.hidden_dims, device)
        for name in ("clone", config.evaluation.actor)
    )
    data = load_offline_data(config.data, config.seed, device, progress=progress)
    found, wanted = ((part.obs_dim, part.action_dim) for part in (data, dynamics))
    if found != wanted:
        raise ConfigError(
            f"{path}: observations and actions of {data.info.name} are {found} wide, those of the "
            f"run's dynamics {wanted}"
        )
    env_id, history = environment_of(config, data), HistoryFile(path / "history.csv").read()
    return SavedMOPORun(
        path, config, data, env_id, dynamics, density, row_kind, beside, clone, policy, history
    )


def _read_finished(path: Path) -> MOPOConfig:
    """Return the configuration of a finished run."""
    if not (path / "config.yaml").is_file():
        raise RunFolderError(f"{path} is not a run folder: it has no config.yaml")
    if not (path / "metrics.json").is_file():
        raise RunFolderError(f"{path} holds an unfinished run: it has no metrics.json")
    return load_mopo_config(path / "config.yaml")


def _load_policy(
    file: Path, hidden_dims: tuple[int, ...], device: torch.device
) -> TanhGaussianPolicy:
    tensors, _ = load_tensors(file, device)
    try:
        middle, reach = tensors["middle"], tensors["reach"]
        obs_dim = len(tensors["obs_mean"])
        policy = TanhGaussianPolicy(obs_dim, middle - reach, middle + reach, hidden_dims)
        policy.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise ModelFileError(f"{file}: not the policy of this run's configuration") from error
    return policy.to(device)


def _load_density(
    path: Path, config: MOPOConfig, density_run: Path | None, device: torch.device
) -> tuple[DensityModel | None, str]:
    """Return the density model, if there is one, and what rows it scores."""
    source = density_run or path
    row_kind = row_kind_of(source) or config.data.rows
    if density_run is None and not config.penalty.needs_density:
        return None, row_kind
    return load_model(source, str(device)), row_kind

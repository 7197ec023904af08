"""A finished MOPO run, read from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gormpo_density import DensityModel, SequenceModel, load_model
from gormpo_density.errors import ConfigError, ModelFileError, RunFolderError
from gormpo_density.persistence import load_tensors
from gormpo_density.runs import HistoryFile
from rl.assembly import calibrate_on_clone, environment_of
from rl.config import HistoryConfig, MOPOConfig, load_mopo_config
from rl.density_parts import calibrate_density, check_density
from rl.dynamics import EnsembleDynamics, load_dynamics
from rl.offline_data import OfflineData, load_offline_data
from rl.parts import read_density, row_kind_of
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
        density_run: Where it is from, if it is not the run's own.
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
    density_run: Path | None
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
        density_run: A run or model folder whose density model takes the place of the run's own,
            calibrated on this run's held-out rows as it would be in a run that names it.
        progress: Show a progress bar where data must be made.

    Raises:
        RunFolderError: There is no run in the folder, or an unfinished one.
        ConfigError: The run has no dynamics model, its data is not what it was, or the density
            model of another run scores other rows.
        DataError: The data is missing.
        ModelFileError: A part is missing or corrupt.
    """
    config = _read_finished(path)
    if config.algorithm != "mopo":
        raise ConfigError(f"{path} is a run of {config.algorithm!r}, which has no dynamics model")
    dynamics = load_dynamics(path, device)
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
    density, beside, row_kind = None, None, row_kind_of(path) or config.data.rows
    if density_run is not None:
        density, row_kind = read_density(density_run, config, device)
        _calibrate(config, data, density, row_kind, clone, dynamics)
    elif config.penalty.needs_density:
        density = load_model(path, str(device))
        beside = load_path_model(path / "history", device) if config.history.beside else None
    return SavedMOPORun(
        path=path,
        config=config,
        data=data,
        env_id=environment_of(config, data),
        dynamics=dynamics,
        density=density,
        density_run=density_run,
        row_kind=row_kind,
        beside=beside,
        clone=clone,
        policy=policy,
        history=HistoryFile(path / "history.csv").read(),
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


def _calibrate(
    config: MOPOConfig,
    data: OfflineData,
    density: DensityModel,
    row_kind: str,
    clone: TanhGaussianPolicy,
    dynamics: EnsembleDynamics,
) -> None:
    """Set the threshold of another run's density model as this run would have."""
    # It takes the place of both models, where the run has one of paths beside that of rows.
    alone = config.model_copy(update={"history": HistoryConfig()})
    check_density(alone, data, density, row_kind)
    if config.penalty.calibrate_on == "policy":
        calibrate_on_clone(config, data, density, row_kind, clone, dynamics)
    else:
        calibrate_density(config, data, density, row_kind)

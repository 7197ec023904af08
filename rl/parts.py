"""The trained parts of a run: clone, critics, dynamics and density model, each kept as a stage."""

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gormpo_density import DensityModel, SequenceModel, load_model
from gormpo_density.compat import GormpoModel
from gormpo_density.config_files import read_config
from gormpo_density.errors import ConfigError, ModelFileError
from gormpo_density.persistence import load_tensors, save_tensors
from gormpo_density.seeding import reinitialise
from rl import path_model
from rl.config import MOPOConfig
from rl.critics import TwinCritic
from rl.density_parts import DensityParts, calibrate_density
from rl.dynamics import EnsembleDynamics, load_dynamics
from rl.offline_data import OfflineData
from rl.policy import TanhGaussianPolicy
from rl.stages import Stages
from rl.warm_start import clone_behaviour, fit_critics

logger = logging.getLogger(__name__)

_WEIGHTS = "weights.safetensors"
_DECIDE_SPLITS = (
    *("seed", "dataset", "data_path", "data_dir", "sparse"),
    *("val_ratio", "cal_ratio", "test_ratio"),
)


class Parts:
    """Makes the parts that a configuration asks for, or finds them where they were made before.

    Args:
        config: Of the run.
        data: Its data.
        action_bounds: Lowest and highest action, each (A,).
        stages: Where trained parts are kept.
        progress: Show progress bars.

    Attributes:
        dynamics_history: Curves of the ensemble's training, once it is made.
    """

    def __init__(
        self,
        config: MOPOConfig,
        data: OfflineData,
        action_bounds: tuple[Tensor, Tensor],
        stages: Stages,
        *,
        progress: bool,
    ) -> None:
        self.config = config
        self.data = data
        self.action_bounds = action_bounds
        self.stages = stages
        self.progress = progress
        self._densities = DensityParts(config, data, stages, progress=progress)
        self.dynamics_history: dict[str, list[float]] = {}

    def new_policy(self) -> TanhGaussianPolicy:
        """Return a policy with fresh weights, and the data's observation statistics."""
        hidden = self.config.sac.hidden_dims
        policy = TanhGaussianPolicy(self.data.obs_dim, *self.action_bounds, hidden)
        policy.to(self.data.device)
        reinitialise(policy, self.config.seed)
        policy.standardise(self.data.obs[self.data.splits["train"]])
        return policy

    def new_critic(self) -> TwinCritic:
        """Return critics with fresh weights, and the data's statistics."""
        data, hidden = self.data, self.config.sac.hidden_dims
        critic = TwinCritic(data.obs_dim, data.action_dim, hidden).to(data.device)
        reinitialise(critic, self.config.seed)
        critic.standardise(data.rows("state_action", "train"))
        return critic

    def clone(self) -> TanhGaussianPolicy:
        """Return the cloned policy."""
        policy = self.new_policy()
        with self.stages.stage("clone", self._clone_key()) as (folder, is_finished):
            if is_finished:
                _load(policy, folder)
            else:
                loss = clone_behaviour(
                    policy,
                    self.data,
                    self.config.bc,
                    seed=self.config.seed,
                    progress=self.progress,
                )
                _save(policy, folder, {"loss": loss})
        return policy

    def critic(self, clone: TanhGaussianPolicy) -> TwinCritic:
        """Return the critics of the cloned policy."""
        critic, sac = self.new_critic(), self.config.sac
        key = self._clone_key() | {
            "fqe": _plain(self.config.fqe),
            "sac": {k: getattr(sac, k) for k in ("gamma", "tau", "critic_lr", "batch_size")},
        }
        with self.stages.stage("critics", key) as (folder, is_finished):
            if is_finished:
                _load(critic, folder)
            else:
                fit_critics(
                    critic,
                    clone,
                    self.data,
                    self.config.fqe,
                    sac,
                    seed=self.config.seed,
                    progress=self.progress,
                )
                _save(critic, folder, {})
        return critic

    def dynamics(self) -> EnsembleDynamics:
        """Return the ensemble: the one that is named, or the one trained on the data.

        Raises:
            ConfigError: The named one is of other dimensions than the data.
        """
        config, data = self.config.dynamics, self.data
        if self.named_dynamics is not None:
            return self.named_dynamics
        key = {
            "data": data.fingerprint,
            "dynamics": _plain(config),
            "seed": self.config.seed,
        }
        with self.stages.stage("dynamics", key) as (folder, is_finished):
            curves = folder / "history.json"
            if is_finished:
                self.dynamics_history = json.loads(curves.read_text())
                return load_dynamics(folder, data.device)
            dynamics = EnsembleDynamics(
                data.obs_dim, data.action_dim, config, seed=self.config.seed
            ).to(data.device)
            self.dynamics_history = dynamics.fit(
                data, checkpoint=folder / "fit.safetensors", progress=self.progress
            )
            curves.write_text(json.dumps(self.dynamics_history))
            dynamics.save(folder)
        return dynamics

    @cached_property
    def named_dynamics(self) -> EnsembleDynamics | None:
        """The ensemble of `dynamics.run`, read once; None where none is named.

        Raises:
            ConfigError: It is of other dimensions than the data.
        """
        data, run = self.data, self.config.dynamics.run
        if run is None:
            return None
        dynamics = load_dynamics(run, data.device)
        found, wanted = (
            (dynamics.obs_dim, dynamics.action_dim),
            (data.obs_dim, data.action_dim),
        )
        if found != wanted:
            raise ConfigError(
                f"dynamics.run {run}: observations and actions are {found} wide, "
                f"those of {data.info.name} {wanted}"
            )
        _warn_of_other_splits("dynamics.run", run, self.config)
        return dynamics

    def density(self) -> tuple[DensityModel, str]:
        """Return the density model and what rows it scores: the named one, or a trained one.

        Its threshold is set on the calibration rows of this run's data, whatever it was.

        Raises:
            ConfigError: The data's rows cannot be scored in a rollout.
        """
        model, rows = self.named_density or (self._trained_density(), self.config.data.rows)
        calibrate_density(self.config, self.data, model, rows)
        return model, rows

    def beside(self, rows: str) -> SequenceModel[Any] | None:
        """Return the model of paths of such rows that is put beside the model of rows, if one is.

        Raises:
            ConfigError: The data's rows cannot be scored in a rollout.
            DataError: No episode is long enough.
        """
        if not self.config.history.beside:
            return None
        section = {"name": path_model.NAME, **path_model.MODEL}
        model = self._densities.trained(section, path_model.FIT, rows)
        assert isinstance(model, SequenceModel)
        calibrate_density(self.config, self.data, model, rows)
        return model

    @cached_property
    def named_density(self) -> tuple[DensityModel, str] | None:
        """The model of `density` as it was saved, read once, and its rows; None without one."""
        run = self.config.density
        return None if run is None else read_density(run, self.config, self.data.device)

    def new_density(self) -> DensityModel:
        """Return the density model of the configuration, not fitted."""
        return self._densities.new(**dict(self.config.model))

    def _trained_density(self) -> DensityModel:
        config = self.config
        return self._densities.trained(config.model, config.fit, config.data.rows)

    def _clone_key(self) -> dict[str, Any]:
        return {
            "data": self.data.fingerprint,
            "bc": _plain(self.config.bc),
            "hidden_dims": self.config.sac.hidden_dims,
            "action_bounds": [bound.tolist() for bound in self.action_bounds],
            "seed": self.config.seed,
        }


def read_density(run: Path, config: MOPOConfig, device: torch.device) -> tuple[DensityModel, str]:
    """Return the density model of another run as it was saved, and what rows it scores.

    A warning tells where it was trained on other splits than those of `config`.

    Raises:
        ModelFileError: There is none, or it is corrupt.
    """
    model = load_model(run, str(device))
    _warn_of_other_splits("density", run, config)
    rows = model.rows if isinstance(model, GormpoModel) else row_kind_of(run)
    return model, rows or config.data.rows


def row_kind_of(run: Path) -> str | None:
    """Return the kind of rows that a run's density model scores; None for a bare model folder.

    A MOPO run may have taken its model from another run; its metrics then say what it scores.
    """
    for folder in (run, run.parent):  # a run, or its model/
        if (folder / "metrics.json").is_file():
            metrics = _read_metrics(folder / "metrics.json")
            if isinstance(kind := metrics.get("density_rows"), str):
                return kind
    kind = _read_data_section(run).get("rows")
    return kind if isinstance(kind, str) else None


def _read_metrics(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{file}: not readable ({error})") from error


def _read_data_section(run: Path) -> dict[str, Any]:
    """Return the section `data` of a run with its seed, which together decide the splits."""
    for file in (run / "config.yaml", run.parent / "config.yaml"):  # of a run, or of its model/
        if file.is_file():
            values = read_config(file)
            section = values.get("data")
            known = section if isinstance(section, dict) else {}
            return {**known, "seed": values.get("seed")}
    return {}


def _warn_of_other_splits(key: str, run: Path, config: MOPOConfig) -> None:
    """Warn where a named run may have been trained on rows that this run holds out."""
    there, here = _read_data_section(run), {**_plain(config.data), "seed": config.seed}
    other = [name for name in _DECIDE_SPLITS if name in there and there[name] != here[name]]
    if other:
        logger.warning(
            "%s: %s was trained on other splits (%s differ), so rows that are held out here may "
            "be among its training rows, and look less surprising than they are",
            *(key, run, ", ".join(other)),
        )


def _plain(section: Any) -> Any:
    return section.model_dump(mode="json")


def _save(module: nn.Module, folder: Path, facts: dict[str, float]) -> None:
    save_tensors(folder / _WEIGHTS, module.state_dict(), facts)


def _load(module: nn.Module, folder: Path) -> None:
    state, _ = load_tensors(folder / _WEIGHTS, next(module.parameters()).device)
    module.load_state_dict(state)

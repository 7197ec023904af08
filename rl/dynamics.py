"""The learnt dynamics: an ensemble that predicts the next observation and the reward."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gormpo_density.atomic import replacing
from gormpo_density.errors import DataError, ModelFileError
from gormpo_density.fitting import History, Hooks
from gormpo_density.persistence import load_tensors, save_tensors
from rl.config import DynamicsConfig
from rl.dynamics_training import DynamicsTrainer
from rl.dynamics_units import TransitionUnits
from rl.gaussian_ensemble import GaussianEnsemble
from rl.offline_data import OfflineData

FORMAT_VERSION = 1
_TENSORS, _CONFIG = "dynamics.safetensors", "config.json"
_CHUNK_ROWS = 1024  # all members' activations then fit the caches of a CPU


class Prediction(NamedTuple):
    """What every member expects of [next_obs, reward], in data units.

    Attributes:
        mean: (E, B, O + 1).
        std: Standard deviation of the noise (aleatoric), (E, B, O + 1).
    """

    mean: Tensor
    std: Tensor


class EnsembleDynamics(nn.Module):
    """Members p_e(next_obs, reward | obs, action), each a Gaussian of independent columns.

    Each predicts the standardised change next_obs - obs, and the reward, by a network of its own;
    see `GaussianEnsemble`. The elites, those best on held-out episodes, make rollouts.

    Args:
        obs_dim: O.
        action_dim: A.
        config: Size and training.
        seed: Fixes the first weights and the order of the rows in training.

    Attributes:
        elites: Numbers of the elites, ascending, (K,).

    Source:
        Chua et al. 2018, "PETS", arXiv:1805.12114; Yu et al. 2020, "MOPO", arXiv:2005.13239.
    """

    elites: Tensor

    def __init__(
        self, obs_dim: int, action_dim: int, config: DynamicsConfig, *, seed: int
    ) -> None:
        super().__init__()
        self.obs_dim, self.action_dim = obs_dim, action_dim
        self.config, self.seed = config, seed
        self.units = TransitionUnits(obs_dim, action_dim)
        self.net = GaussianEnsemble(
            config.members,
            obs_dim + action_dim,
            config.hidden_dims,
            obs_dim + 1,
            torch.Generator().manual_seed(seed),
        )
        self.register_buffer("elites", torch.arange(config.elites))

    @property
    def members(self) -> int:
        """E, the number of networks."""
        return self.net.members

    @property
    def obs_std(self) -> Tensor:
        """Standard deviation of the training observations (O,), 1 for a constant column."""
        return self.units.input_scale[: self.obs_dim]

    def fit(
        self,
        data: OfflineData,
        *,
        checkpoint: Path | None = None,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        progress: bool = False,
    ) -> History:
        """Train on the split "train", choose weights and elites on "val"; see `DynamicsTrainer`.

        Args:
            data: Transitions of whole episodes, on the model's device.
            checkpoint: File written after every epoch; if it exists, training goes on from it.
            on_epoch: Called with the epoch (from 1) and its row of the history.
            progress: Show a progress bar.

        Returns:
            The history: train_loss, val_loss, val_mse_obs, val_mse_reward (standardised) and
            active_members, one entry per epoch.

        Raises:
            DataError: A split is empty.
            FitError: The loss stopped being a number (epoch and batch named).
        """
        for split in ("train", "val"):
            if not len(data.splits[split]):
                raise DataError(f"the dynamics need rows of the split {split!r}, it is empty")
        train = data.splits["train"]
        self.units.fit(data.obs, data.action, data.reward, data.next_obs, train)
        trainer = DynamicsTrainer(self.net, self.units, data, self.config, self.seed)
        history = trainer.run(Hooks(checkpoint, on_epoch, progress))
        best = trainer.best_mse.mean(1).topk(len(self.elites), largest=False).indices
        self.elites.copy_(best.sort().values)
        return history

    @torch.no_grad()
    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return what all members expect, of obs (B, O) and action (B, A)."""
        rows = _CHUNK_ROWS if obs.device.type == "cpu" else max(1, len(obs))
        parts = [
            self._predict(*part, None)
            for part in zip(obs.split(rows), action.split(rows), strict=True)
        ]
        return Prediction(*(torch.cat(columns, 1) for columns in zip(*parts, strict=True)))

    def _predict(self, obs: Tensor, action: Tensor, members: Tensor | None) -> Prediction:
        mean, log_var = self.net(self.units.inputs(obs, action), members)
        std = (0.5 * log_var).exp() * self.units.target_scale
        return Prediction(self.units.predicted(obs, mean), std)

    @torch.no_grad()
    def sample(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw one transition a row from an elite drawn for that row, at the cost of one network.

        The rows are dealt at random into places of K equal groups, one for each elite, so every
        row goes through any elite with probability 1 / K: alone, its distribution is that of
        `sample_from`. Nothing waits for the device.

        Args:
            obs: (B, O).
            action: (B, A).
            generator: Source of the elites and of the noise, on the same device.

        Returns:
            next_obs (B, O) and reward (B,).
        """
        n_elites, n_rows = len(self.elites), len(obs)
        size = -(-n_rows // n_elites)
        place = torch.randperm(n_elites * size, generator=generator, device=obs.device)[:n_rows]
        x = obs.new_zeros(n_elites * size, self.obs_dim + self.action_dim)
        x[place] = self.units.inputs(obs, action)
        mean, log_var = self.net(x.view(n_elites, size, x.shape[1]), self.elites)
        mean, log_var = mean.flatten(0, 1)[place], log_var.flatten(0, 1)[place]
        noise = torch.empty_like(mean).normal_(generator=generator)
        return self._split(self.units.predicted(obs, mean + (0.5 * log_var).exp() * noise))

    @torch.no_grad()
    def sample_from(
        self, prediction: Prediction, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw one transition a row, from an elite drawn for that row, of what all members expect.

        Returns:
            next_obs (B, O) and reward (B,).
        """
        n_rows, device = prediction.mean.shape[1], prediction.mean.device
        shape = (n_rows,)
        pick = torch.randint(len(self.elites), shape, generator=generator, device=device)
        chosen = self.elites[pick], torch.arange(n_rows, device=device)
        mean, std = prediction.mean[chosen], prediction.std[chosen]
        noise = torch.empty_like(mean).normal_(generator=generator)
        return self._split(mean + std * noise)

    def _split(self, row: Tensor) -> tuple[Tensor, Tensor]:
        return row[:, :-1], row[:, -1]

    @torch.no_grad()
    def elite_mean(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the elites' mean next_obs (B, O) and reward (B,)."""
        return self._split(self._predict(obs, action, self.elites).mean.mean(0))

    def r2(self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor) -> Tensor:
        """Return the share of variance that the elites' mean explains, (O + 1,).

        R2 = 1 - mean (y - elite mean)^2 / var y, for each column y of [next_obs - obs, reward].
        A column that is constant in these rows counts its squared error as it is.
        """
        next_mean, reward_mean = self.elite_mean(obs, action)
        error = torch.cat([next_obs - next_mean, (reward - reward_mean)[:, None]], 1)
        y = torch.cat([next_obs - obs, reward[:, None]], 1)
        variance = y.var(0, correction=0)
        return 1 - error.square().mean(0) / variance.masked_fill(variance == 0, 1.0)

    def save(self, folder: Path) -> None:
        """Write `dynamics.safetensors` (all that loading needs) and `config.json` (for people)."""
        config = {
            "format_version": FORMAT_VERSION,
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
            "elites": self.elites.tolist(),
            "seed": self.seed,
            "dynamics": self.config.model_dump(mode="json", exclude={"run"}),
        }
        save_tensors(folder / _TENSORS, self.state_dict(), config)
        with replacing(folder / _CONFIG) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")


def load_dynamics(folder: str | Path, device: torch.device | str = "cpu") -> EnsembleDynamics:
    """Load dynamics saved by `save(folder)`, or those of a run folder (in its dynamics/).

    Raises:
        ModelFileError: Nothing is there, or the file is corrupt, of a newer format, or does not
            fit the configuration in it.
    """
    path = _find(Path(folder))
    tensors, config = load_tensors(path)
    if config.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format version {config.get('format_version')} cannot be read; this version "
            f"reads {FORMAT_VERSION}"
        )
    try:
        options = DynamicsConfig.model_validate(config["dynamics"])
        widths = config["obs_dim"], config["action_dim"]
        dynamics = EnsembleDynamics(*widths, options, seed=config["seed"])
        dynamics.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise ModelFileError(f"{path}: the dynamics cannot be built ({reason})") from error
    return dynamics.to(device)


def _find(folder: Path) -> Path:
    for path in (folder / _TENSORS, folder / "dynamics" / _TENSORS):
        if path.is_file():
            return path
    raise ModelFileError(f"{folder}: no {_TENSORS} in it, nor in its folder dynamics/")

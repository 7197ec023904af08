"""Density models among the trained parts of a run: of rows, or of the paths they are on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gormpo_density import DensityModel, SequenceModel, load_model, make_model
from gormpo_density.config import Section
from gormpo_density.errors import ConfigError
from gormpo_density.registry import model_class
from rl.config import MOPOConfig
from rl.history import Paths, recall_for
from rl.offline_data import OfflineData
from rl.stages import Stages
from rl.step_scores import calibrate_steps, row_problems, step_score

#: A section of a configuration, or plain values.
Values = Section | Mapping[str, Any]

_VAL_SHARE = 5  # for so many training sequences there is one, at most, that stops the training


class DensityParts:
    """Builds, fits and finds density models of the data of a run.

    Args:
        config: Of the run.
        data: Its data.
        stages: Where trained parts are kept.
        progress: Show progress bars.
    """

    def __init__(
        self, config: MOPOConfig, data: OfflineData, stages: Stages, *, progress: bool
    ) -> None:
        self.config = config
        self.data = data
        self.stages = stages
        self.progress = progress

    def new(self, name: str, **params: Any) -> DensityModel:
        """Return a model for the rows of the data, or for paths of `history.length` of them."""
        width = self.data.obs_dim + self.data.action_dim
        shape = (self.config.history.length, width) if _is_of_paths(name) else width
        return make_model(name, input_dim=shape, **params).to(self.data.device)

    def trained(self, model: Values, fit: Values, rows: str) -> DensityModel:
        """Fit a model to the training rows, or find it where that was done before.

        Args:
            model: Its name and parameters.
            fit: Arguments of its `fit`.
            rows: What it scores.

        Raises:
            ConfigError: The data's rows cannot be scored in a rollout.
            DataError: A model of paths is to be fitted, and no episode is long enough.
        """
        config, data = self.config, self.data
        key: dict[str, Any] = {
            "data": data.fingerprint,
            "rows": rows,
            "model": _plain(model),
            "fit": _plain(fit),
            "seed": config.seed,
        }
        if _is_of_paths(key["model"]["name"]):
            key["history"] = [config.history.length, config.history.sequences]
        with self.stages.stage("density", key) as (folder, is_finished):
            if is_finished:
                return load_model(folder, str(data.device))
            made = self.new(**dict(model))
            train, val = self._rows_for(made, rows)
            made.fit(
                train,
                val,
                **dict(fit),
                seed=config.seed,
                checkpoint=folder / "fit.safetensors",
                progress=self.progress,
            )
            made.save(folder)
        return made

    def _rows_for(self, model: DensityModel, rows: str) -> tuple[Tensor, Tensor]:
        """Return what a model is fitted on and what stops its training."""
        data, history, seed = self.data, self.config.history, self.config.seed
        if not isinstance(model, SequenceModel):
            return data.rows(rows, "train"), data.rows(rows, "val")
        paths = Paths.of(data.rows(rows), data.episode)
        length, most = model.event_shape[0], history.sequences
        train = paths.sequences(data.splits["train"], length, most, seed)
        return train, paths.sequences(data.splits["val"], length, -(-most // _VAL_SHARE), seed)


@torch.no_grad()
def calibrate_density(
    config: MOPOConfig, data: OfflineData, model: DensityModel, rows: str
) -> None:
    """Set the threshold of a model on the calibration rows, of paths: after what led there.

    Args:
        config: Its `calibration.alpha` and `penalty.score` are used.
        data: Of the run.
        model: The fitted model.
        rows: What it scores.

    Raises:
        ConfigError: The data's rows cannot be scored in a rollout.
    """
    cal = data.splits["cal"]
    recall = recall_for(data, rows, model)
    calibrate_steps(
        model,
        data.rows(rows, "cal"),
        recall and recall(cal),
        config.calibration.alpha,
        config.penalty.score,
        data.n_episodes("cal"),
    )


def check_paths(config: MOPOConfig, data: OfflineData) -> None:
    """Find out whether a model of paths can be fitted, if the run fits one.

    Raises:
        DataError: No training or no validation episode is as long as its sequences.
    """
    if config.history.beside or (config.density is None and _is_of_paths(config.model.name)):
        paths = Paths.of(data.obs, data.episode)
        for split in ("train", "val"):
            paths.sequences(data.splits[split], config.history.length, 1, config.seed)


def _plain(values: Values) -> dict[str, Any]:
    return values.model_dump(mode="json") if isinstance(values, Section) else dict(values)


def _is_of_paths(name: str) -> bool:
    return issubclass(model_class(name), SequenceModel)


def check_density(
    config: MOPOConfig, data: OfflineData, density: DensityModel, row_kind: str
) -> None:
    """Find out whether a density model, perhaps still to be fitted, can give a run's penalty.

    Raises:
        ConfigError: It scores other rows, has no such score, or is of paths and another one is
            to be put beside it.
    """
    problems = row_problems(density, row_kind, data.obs_dim, data.action_dim)
    if config.history.beside and isinstance(density, SequenceModel):
        problems.append("history.beside: the density model is one of paths already")
    if problems:
        raise ConfigError(problems)
    step_score(density, config.penalty.score)

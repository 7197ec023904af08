"""The latent model of a run: trained now, gone on with, or taken from a run that trained it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.data import AugmentData, is_replaced
from gormpo_density.augmenting.journal import Journal
from gormpo_density.base import LatentModel
from gormpo_density.config_files import read_config
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import History
from gormpo_density.persistence import load_model
from gormpo_density.registry import make_model, model_name
from gormpo_density.runs import RunFolder, default_run_path
from gormpo_density.timeseries.labelled_sets import EMBEDDED
from gormpo_density.timeseries.series import Values


def make_latent_model(
    config: AugmentConfig, shape: tuple[int, int], device: torch.device
) -> LatentModel:
    """Return the configured model of series (T, D), unfitted."""
    params = config.model.params
    model = make_model(config.model.name, input_dim=shape, device=str(device), **params)
    assert isinstance(model, LatentModel)  # the configuration takes no other
    return model


def fit_latent_model(
    config: AugmentConfig,
    data: AugmentData,
    run: RunFolder,
    trained: LatentModel | None,
    device: torch.device,
    journal: Journal,
) -> tuple[LatentModel, History]:
    """Fit the model to the training rows, unless there is a trained one, and save it.

    A killed run goes on from its checkpoint, or takes the model that it had saved.
    """
    if run.is_resumed and has_model(run.path):
        return load_latent_model(run.path, device), run.history.read()
    model, history = trained, {}
    if model is None:
        model = make_latent_model(config, data.shape, device)
        history = _fit(model, config, data, run, journal)
    model.save(run.path / "model")
    return model, history


def _fit(
    model: LatentModel, config: AugmentConfig, data: AugmentData, run: RunFolder, journal: Journal
) -> History:
    record = journal.of("latent")

    def on_epoch(epoch: int, row: dict[str, float]) -> None:
        run.history.append(epoch, row)
        record(epoch, row)

    return model.fit(
        model_rows(model, data.source.train_x),
        seed=config.seed,
        checkpoint=run.path / "checkpoints" / "fit.safetensors",
        on_epoch=on_epoch,
        progress=journal.progress,
        **dict(config.fit),
    )


def model_rows(model: LatentModel, x: Values) -> NDArray[np.float32]:
    """Return series (n, T, D) as the model takes them."""
    return x.reshape(len(x), *model.event_shape).astype(np.float32)


def reconstruction_error(model: LatentModel, x: Values) -> float:
    """Return the mean squared difference between series and their reconstructions."""
    rows = torch.from_numpy(model_rows(model, x)).to(model.device)
    with torch.no_grad():
        return float((model.decode(model.encode(rows)) - rows).square().mean())


def run_name(config: AugmentConfig) -> str:
    """Return what tells runs on the same data apart: the model, and the classifier if any."""
    return f"{config.model.name}-{config.classifier.name}" if config.arms else config.model.name


def folder_name(config: AugmentConfig, name: str) -> str:
    """Return what the default folder of a run of some name is called."""
    return default_run_path(config.task or config.data.dataset or "custom", name, config.seed).name


def trained_model(
    config: AugmentConfig, path: Path, shape: tuple[int, int], device: torch.device
) -> LatentModel:
    """Return the model that an earlier run trained on this data.

    It is looked for in `export.model_dir`, in the run folder, and in that of the run which trains
    it alone.

    Raises:
        ConfigError: It is not there, or another model, or of other data.
        ModelFileError: It cannot be read.
    """
    own = folder_name(config, config.model.name)
    folder = config.export.model_dir
    places = [*([] if folder is None else [folder / own, folder]), path, path.with_name(own)]
    found = next((place for place in places if has_model(place)), None)
    if found is None:
        where = ", nor in ".join(map(str, places))
        raise ConfigError(
            f"--use-trained: no model in {where}; the command without --use-trained trains one"
        )
    model = load_latent_model(found, device)
    wanted = make_latent_model(config, shape, torch.device("cpu"))
    data = config.data.model_dump(mode="json")
    ours, theirs = _described(data, wanted), _described(_data_of(found) or data, model)
    if changes := [
        f"{key}: {theirs.get(key)} there, {ours.get(key)} now"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    ]:
        raise ConfigError(f"--use-trained: {found} holds another model ({'; '.join(changes)})")
    return model


def _described(data: Mapping[str, Any], model: LatentModel) -> dict[str, str]:
    """Return what must be the same of a model: its data but for the place of it, and its size.

    Where a set stood in for the one that was named, it is the data.
    """
    values = {f"data.{key}": value for key, value in data.items() if key != "data_dir"}
    if is_replaced(data.get("dataset"), data.get("data_dir")):
        values["data.dataset"] = EMBEDDED
    values |= {"name": model_name(model), **model.params()}
    return {key: json.dumps(value, default=str) for key, value in values.items()}


def _data_of(folder: Path) -> dict[str, Any]:
    """Return the data section of the run that trained a model; empty where that is unknown."""
    path = folder / "config.yaml"
    data = read_config(path).get("data") if path.is_file() else None
    return data if isinstance(data, dict) else {}


def has_model(folder: Path) -> bool:
    """Tell whether there is a saved model in a folder, or in its folder model/."""
    name = "model.safetensors"
    return (folder / name).is_file() or (folder / "model" / name).is_file()


def load_latent_model(folder: Path, device: torch.device) -> LatentModel:
    """Load the model of a run, or of a folder.

    Raises:
        ConfigError: It has no latent space.
        ModelFileError: It is not there, or cannot be read.
    """
    model = load_model(folder, device=str(device))
    if not isinstance(model, LatentModel):
        raise ConfigError(f"{folder}: holds a {type(model).__name__}, which has no latent space")
    return model

"""The files an augmentation run leaves: predictions, copies elsewhere, the augmented set."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from gormpo_density.atomic import replacing
from gormpo_density.augmenting.arms import make_latent
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.data import load_augment_data
from gormpo_density.augmenting.evaluation import ArmResult
from gormpo_density.augmenting.training import folder_name, load_latent_model, run_name
from gormpo_density.errors import ConfigError
from gormpo_density.timeseries.labelled import WRITABLE, LabelledSet, write_labelled

_RESULTS = ("metrics.json", "history.csv", "predictions.csv", "report.html", "config.yaml")


def write_predictions(path: Path, data: LabelledSet, arms: Mapping[str, ArmResult]) -> None:
    """Write a line for each test row: its number, its label, and what each arm takes it for."""
    classes = np.array(data.classes)
    columns = [classes[data.test_y], *(classes[arm.predicted] for arm in arms.values())]
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "label", *arms])
        writer.writerows(zip(range(len(data.test_y)), *columns, strict=True))


def copy_model(config: AugmentConfig, path: Path) -> None:
    """Copy the latent model that a run trained to `export.model_dir`, if there is one."""
    if config.export.model_dir is None or config.augment.use_trained:
        return
    target = config.export.model_dir / folder_name(config, config.model.name)
    shutil.copytree(path / "model", target, dirs_exist_ok=True)
    if target.resolve() != path.resolve():
        shutil.copyfile(path / "config.yaml", target / "config.yaml")


def copy_results(config: AugmentConfig, path: Path) -> None:
    """Copy report, plots and tables of a run to `export.results_dir`, if there is one."""
    if config.export.results_dir is None:
        return
    target = config.export.results_dir / folder_name(config, run_name(config))
    shutil.copytree(path / "plots", target / "plots", dirs_exist_ok=True)
    for name in _RESULTS:
        if (path / name).is_file():
            shutil.copyfile(path / name, target / name)


def check_export(file: Path) -> None:
    """Raise ConfigError unless `export_augmented` knows the ending of a file."""
    if file.suffix not in WRITABLE:
        raise ConfigError(f"--export {file}: must end in {', '.join(WRITABLE)}")


def export_augmented(config: AugmentConfig, path: Path, file: Path) -> str:
    """Write the training rows and one draw of synthetic rows, by the model of a finished run.

    Series are as the classifiers see them, see `data.scale`; the real ones come first. The
    endings are those of `write_labelled`.

    Returns:
        A line for people.
    """
    source = load_augment_data(config.data, config.seed).source
    model = load_latent_model(path, torch.device("cpu"))
    x, y = source.train_x.astype(np.float32), source.train_y
    augmenter = make_latent(config, config.augment.method, model)
    drawn = augmenter.fit(x, y, seed=config.seed).augment(x, y, seed=config.seed)
    rows = np.concatenate([source.train_x, drawn.x])
    write_labelled(file, rows, np.concatenate([y, drawn.y]), source.classes)
    return f"augmented: {len(y):,} real and {len(drawn.y):,} synthetic rows in {file}"

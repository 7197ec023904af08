"""The configuration of a density run, and what other commands build theirs from.

    task, seed, device, data, model, fit, calibration, ood, export

The keys of `model` and `fit` are the parameters of the chosen model's `__init__` and `fit`.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from gormpo_density.config_files import dump_yaml
from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.data.ood import parse_level
from gormpo_density.data.transitions import RowKind
from gormpo_density.flat_keys import FlatKeys
from gormpo_density.gormpo_keys import DENSITY_KEYS
from gormpo_density.model_config import (
    DEFAULT_MODEL,
    FindClass,
    ModelSection,
    chosen_class,
    model_schema,
    switch_model,
)
from gormpo_density.registry import model_class
from gormpo_density.schema import Section, signature_model

__all__ = [
    "COMMAND_LINE",
    "CalibrationConfig",
    "ConfigTree",
    "DataConfig",
    "DensityConfig",
    "Device",
    "ExportConfig",
    "FlatKeys",
    "ModelSection",
    "Ratio",
    "RunConfig",
    "Section",
    "Seed",
    "SourceConfig",
    "UserPath",
    "dump_config",
    "load_config",
    "resolve_config",
    "signature_model",
]

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")]
OODLevelName = Annotated[str, AfterValidator(lambda name: parse_level(name).name)]
Ratio = Annotated[float, Gt(0), Lt(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
UserPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


class SourceConfig(Section):
    """Where data comes from.

    Attributes:
        dataset: Name of a data set.
        data_path: A file of one's own, in place of a dataset.
        data_dir: Folder that holds the data files, or a folder named after the dataset.
    """

    dataset: str | None = None
    data_path: UserPath | None = None
    data_dir: UserPath | None = None

    @model_validator(mode="after")
    def _check_source(self) -> "SourceConfig":
        if self.dataset is not None and self.data_path is not None:
            raise ValueError("has both a dataset and a data_path; keep one")
        return self


class DataConfig(SourceConfig):
    """Rows of a Minari id or a task named as in D4RL, and how their episodes are split.

    Attributes:
        rows: What a row is made of; see `Transitions.rows`.
        sparse: Leave out half of the trajectories through a region, see `data.sparse`; what is
            left out is the out-of-distribution set called "sparse".
        val_ratio: Share of episodes that stops the training.
        cal_ratio: Share of episodes that sets thresholds.
        test_ratio: Share of episodes that is only measured. The rest trains.
        obs_dim: Expected width of an observation, checked against the data.
        action_dim: Expected width of an action, checked against the data.
        input_dim: Expected width of a row, checked against the data.
    """

    rows: RowKind = "state_action"
    sparse: bool = False
    val_ratio: Ratio = 0.1
    cal_ratio: Ratio = 0.1
    test_ratio: Ratio = 0.1
    obs_dim: PositiveInt | None = None
    action_dim: PositiveInt | None = None
    input_dim: PositiveInt | None = None

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        if (held_out := self.val_ratio + self.cal_ratio + self.test_ratio) >= 1:
            raise ValueError(f"leaves nothing to train on: the three ratios sum to {held_out:g}")
        return self


class CalibrationConfig(Section):
    """Attributes: alpha: False-alarm rate that the threshold aims at."""

    alpha: Ratio = 0.05


class ExportConfig(Section):
    """Further copies of what a run leaves, as GORMPO's keys ask for them.

    Attributes:
        model_prefix: Where `save_model` writes the pair {prefix}_model.pth, _meta_data.pkl.
        plots: Folder that the plots are copied to.
    """

    model_prefix: UserPath | None = None
    plots: UserPath | None = None


class RunConfig(Section):
    """What every run has that trains a density model.

    Attributes:
        task: Name of the run; alone, also the dataset (`hopper-medium-v2`).
        seed: Seeds everything random.
        device: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".
        data: The data.
        model: The model and its parameters.
        fit: Keyword arguments of the model's `fit`, `dict(config.fit)`.
        calibration: The threshold.
    """

    task: str | None = None
    seed: Seed = 0
    device: Device = "auto"
    data: SourceConfig = SourceConfig()
    model: ModelSection = ModelSection()
    fit: Section = Section()
    calibration: CalibrationConfig = CalibrationConfig()

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        if self.data.dataset is None and self.data.data_path is None:
            if self.task == "custom":
                raise ValueError("task custom needs data.data_path (--data_path FILE)")
            raise ValueError("no data: give data.dataset, data.data_path or a task")
        return self


class DensityConfig(RunConfig):
    """Everything that decides a density run.

    Attributes:
        data: The rows.
        ood: Out-of-distribution sets to measure, see `parse_level`; those that fit the rows
            where there is none.
        export: Copies in other places.
    """

    data: DataConfig = DataConfig()
    ood: tuple[OODLevelName, ...] | None = None
    export: ExportConfig = ExportConfig()


C = TypeVar("C", bound=RunConfig)


def load_config(
    name: str | Path | None, overrides: Iterable[str] = (), *, model: str | None = None
) -> DensityConfig:
    """Read, override and check a configuration.

    Args:
        name: Name or path, see `find_config`; None starts from the defaults.
        overrides: "a.b=v" settings, v in YAML, applied in order after all else.
        model: Replaces the model by this one's defaults, keeping the keys of `model` and `fit`
            that both have.

    Raises:
        ConfigError: Every problem at once, each with file and dotted path.
    """
    return density_config(ConfigTree.read(name), overrides, model)


def density_config(
    tree: ConfigTree, overrides: Iterable[str] = (), model: str | None = None
) -> DensityConfig:
    """Check a tree of values as `load_config` does a file."""
    return resolve_config(tree, overrides, model, DensityConfig, DENSITY_KEYS)


def resolve_config(
    tree: ConfigTree,
    overrides: Iterable[str],
    model: str | None,
    base: type[C],
    keys: FlatKeys,
    *,
    default_model: str = DEFAULT_MODEL,
    find_class: FindClass = model_class,
    refine: Callable[[ConfigTree], type[C]] | None = None,
) -> C:
    """Check a tree of values as `load_config` does, for a command with sections of its own.

    Args:
        tree: The values; changed.
        overrides: As for `load_config`.
        model: As for `load_config`.
        base: What the command expects; the parameters of the density model are added to it.
        keys: What it accepts at the top level besides.
        default_model: The model where none is named.
        find_class: Returns the class behind a model's name, or raises ConfigError.
        refine: Returns a schema that extends `base` by what the values call for.

    Raises:
        ConfigError: Every problem at once, each with file and dotted path.
    """
    keys.rename(tree, base.model_fields)
    if model is not None:
        switch_model(tree, model, find_class)
    tree.override(overrides, keys.aliases)
    keys.translate(tree)
    _choose_data(tree)
    cls = chosen_class(tree, default_model, find_class)
    schema: Any = model_schema(cls, refine(tree) if refine else base)
    config: C = tree.validate(schema)
    return config


def dump_config(config: Section) -> str:
    """Return the resolved configuration as YAML; reading it gives an equal one."""
    return dump_yaml(config.model_dump(mode="json"))


def _choose_data(tree: ConfigTree) -> None:
    """Let the data that the command line names replace the file's; a task alone names data too."""
    kinds = ("task", "data.dataset", "data.data_path")
    named = [kind for kind in kinds if tree.get(kind) and tree.origin(kind) == COMMAND_LINE]
    if named and not (named == ["task"] and tree.get("task") == "custom"):
        for kind in ("data.dataset", "data.data_path"):
            if kind not in named and tree.get(kind) is not None:
                tree.set(kind, None, COMMAND_LINE)
    task = tree.get("task")
    if isinstance(task, str) and task != "custom" and not any(map(tree.get, kinds[1:])):
        tree.set("data.dataset", task, tree.origin("task"))

"""The configuration of a detection run.

    task, seed, device, data, model, fit, detector, calibration, baselines, report

The keys of `model` and `fit` are those of the chosen model or baseline, as in a density run.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    create_model,
    model_validator,
)

from gormpo_density.config import (
    CalibrationConfig,
    ConfigTree,
    Ratio,
    RunConfig,
    Section,
    SourceConfig,
    resolve_config,
)
from gormpo_density.detection.keys import DETECT_KEYS
from gormpo_density.errors import ConfigError
from gormpo_density.registry import available_models, model_class, suggestion
from gormpo_density.timeseries.baselines import available_baselines, make_baseline
from gormpo_density.timeseries.datasets import series_source

_DEFAULT_MODEL = "vae"


def _known_baseline(name: str) -> str:
    names = available_baselines()
    if name not in names:
        raise ValueError(f"must be a baseline, is {name!r}{suggestion(name, names)}")
    return name


BaselineName = Annotated[str, AfterValidator(_known_baseline)]


class DetectDataConfig(SourceConfig):
    """What to learn normality from, and what to judge; see `timeseries.datasets`.

    The options of the data set are keys here too: the parameters of a simulation, the columns of
    a csv file, the protocol of ECG5000.
    """

    @property
    def name(self) -> str:
        """What `load_series` knows the data by."""
        return str(self.data_path or self.dataset)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the data set, as plain values."""
        return self.model_dump(mode="json", exclude=set(SourceConfig.model_fields))


class _AnyDataConfig(DetectDataConfig):
    """Data of a name that is unknown, which is told by itself; its options are unchecked."""

    model_config = ConfigDict(extra="allow")


class DetectorSection(Section):
    """From windows to verdicts; see `TimeSeriesDetector`.

    Attributes:
        window: Rows of a window, "auto" finds a period; a collection's windows are what they are.
        stride: Rows between windows.
        scaler: "standard", "minmax" or None; learnt from training rows.
        aggregation: Windows to points: "mean", "max" or "causal".
        score: Score of the model; None is its default one.
        threshold: "conformal", "quantile" or "pot" (peaks over threshold).
        val_ratio: Share of the training rows that stops the training.
        cal_ratio: Share of the training rows that sets the threshold.
    """

    window: PositiveInt | Literal["auto"] = "auto"
    stride: PositiveInt = 1
    scaler: Literal["standard", "minmax"] | None = "standard"
    aggregation: Literal["mean", "max", "causal"] = "mean"
    score: str | None = None
    threshold: Literal["conformal", "quantile", "pot"] = "conformal"
    val_ratio: Ratio = 0.1
    cal_ratio: Ratio = 0.1

    @model_validator(mode="after")
    def _check(self) -> "DetectorSection":
        if (held_out := self.val_ratio + self.cal_ratio) >= 1:
            raise ValueError(f"leaves nothing to train on: the two ratios sum to {held_out:g}")
        return self


class DetectCalibrationConfig(CalibrationConfig):
    """Attributes: alpha: Share of normal points, or windows, that may be flagged."""

    alpha: Ratio = 0.01


class ReportConfig(Section):
    """Attributes: visualization_interval: Epochs between plots on the way; 0 for none."""

    visualization_interval: NonNegativeInt = 0


class DetectConfig(RunConfig):
    """Everything that decides a detection run.

    Attributes:
        data: The series, or the collection of windows.
        detector: Windows, scaling, the score and the kind of threshold.
        calibration: The false-alarm rate.
        baselines: Simple scores that are measured beside the model.
        report: What is drawn.
    """

    data: DetectDataConfig = DetectDataConfig()
    detector: DetectorSection = DetectorSection()
    calibration: DetectCalibrationConfig = DetectCalibrationConfig()
    baselines: tuple[BaselineName, ...] = (
        *("random", "zscore", "median_distance", "pca", "nearest"),
    )
    report: ReportConfig = ReportConfig()


def load_detect_config(
    name: str | Path | None, overrides: Iterable[str] = (), *, model: str | None = None
) -> DetectConfig:
    """Read, override and check a configuration; see `gormpo_density.config.load_config`."""
    return resolve_config(
        ConfigTree.read(name),
        overrides,
        model,
        DetectConfig,
        DETECT_KEYS,
        default_model=_DEFAULT_MODEL,
        find_class=_find_class,
        refine=_schema_of,
    )


def _schema_of(tree: ConfigTree) -> type[DetectConfig]:
    """Return a schema with the options of the data set, unchecked where that is unknown."""
    name = tree.get("data.data_path") or tree.get("data.dataset")
    if not isinstance(name, str):
        return DetectConfig  # the schema reports what is wrong
    try:
        return detect_schema(series_source(name).options)
    except ConfigError as error:
        tree.problems.append(f"{tree.origin('data')}: {error}")
        return _schema_with(_AnyDataConfig)


@functools.cache
def detect_schema(options: type[Section]) -> type[DetectConfig]:
    """Return a schema whose data section has the options of a data set too."""
    return _schema_with(create_model("DetectDataConfig", __base__=(options, DetectDataConfig)))


def _schema_with(data: Any) -> type[DetectConfig]:
    return create_model("DetectConfig", __base__=DetectConfig, data=(data, data()))


def _find_class(name: str) -> type:
    """Return the class of a model or a baseline.

    Raises:
        ConfigError: There is neither of that name.
    """
    if name in available_baselines():
        return type(make_baseline(name, (1, 1)))
    names = (*available_models(), *available_baselines())
    if name not in names and ":" not in name:
        raise ConfigError(f"model {name!r} is unknown{suggestion(name, names)}")
    return model_class(name)

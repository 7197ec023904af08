"""The arguments of a detector, checked together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from gormpo_density.errors import ConfigError
from gormpo_density.timeseries.scaling import ScalerKind
from gormpo_density.timeseries.scorer import Model, ModelSpec, is_count
from gormpo_density.timeseries.thresholds import ThresholdMethod
from gormpo_density.timeseries.windows import Aggregation


@dataclass(frozen=True, eq=False)
class DetectorConfig:
    """What a detector is made from; see `TimeSeriesDetector` for the meaning of each field.

    Raises:
        ConfigError: Values are out of range; all are told.
    """

    model: ModelSpec
    window: int | Literal["auto"]
    stride: int
    scaler: ScalerKind | None
    aggregation: Aggregation
    score: str | None
    alpha: float
    threshold: ThresholdMethod
    device: str

    def __post_init__(self) -> None:
        problems = []
        if not isinstance(self.model, str | Mapping | Model):
            problems.append(f"model must be a name, a mapping or a model, is {self.model!r}")
        if self.window != "auto" and not is_count(self.window):
            problems.append(f"window must be 'auto' or an integer above 0, is {self.window!r}")
        if not is_count(self.stride):
            problems.append(f"stride must be an integer above 0, is {self.stride!r}")
        if not (isinstance(self.alpha, int | float) and 0 < self.alpha < 1):
            problems.append(f"alpha must be in (0, 1), is {self.alpha!r}")
        words = {
            "scaler": (*get_args(ScalerKind), None),
            "aggregation": get_args(Aggregation),
            "threshold": get_args(ThresholdMethod),
        }
        for field, known in words.items():
            if getattr(self, field) not in known:
                choices = ", ".join(map(str, known))
                problems.append(
                    f"{field} {getattr(self, field)!r} is unknown; choose from {choices}"
                )
        if problems:
            raise ConfigError(problems)

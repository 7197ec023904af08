"""The model of a detector: built to fit the windows, and asked in their units."""

import copy
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gormpo_density.arrays import Data, event_shape_of
from gormpo_density.base import DensityModel
from gormpo_density.errors import ConfigError, DataError, GormpoDensityError, ShapeError
from gormpo_density.registry import (
    available_models,
    make_model,
    model_class,
    model_name,
    suggestion,
)
from gormpo_density.timeseries.baseline import Baseline
from gormpo_density.timeseries.baselines import available_baselines, make_baseline
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.timeline import (
    Values,
    check_values,
    find_gaps,
    time_steps,
    typical_step,
)
from gormpo_density.timeseries.windows import (
    Floats,
    Windows,
    collection_windows,
    series_windows,
)

Model = DensityModel | Baseline
#: What a user names a model by: a name, {"name": ..., parameters}, or an unfitted one.
ModelSpec = str | Mapping[str, Any] | Model

#: Windows compared with all references at once.
_OCCLUDED_AT_A_TIME = 4096


@dataclass(frozen=True, eq=False)
class WindowScorer:
    """A fitted model with the scaler of its data: scores of windows in nats of data units.

    log p(x) = log p(z) - T sum_d log scale_d, where the score is a density or a bound of one; a
    surrogate has no units and stays as it is.

    Attributes:
        model: Scores scaled windows.
        scaler: From data units to the model's.
        window: T, rows of a window.
        n_channels: D.
        time_step: Median time between training rows; None without timestamps.
        is_collection: Whether whole windows are judged, not points of a series.
        references: (m, T, D), scaled training windows: what normal looks like.
    """

    model: Model
    scaler: Scaler
    window: int
    n_channels: int
    time_step: float | None
    is_collection: bool
    references: Floats

    def cut(self, x: Data, stride: int, timestamps: object, name: str = "x") -> Windows:
        """Check, scale and cut a series or collection of the kind the model was fitted to.

        Raises:
            ShapeError: x is of the other kind or has other channels or another length.
            DataError: A value or time is malformed, or no window fits (lengths told).
        """
        values = check_values(x, name, self.n_channels)
        shape = (
            ("n", self.window, self.n_channels) if self.is_collection else ("L", self.n_channels)
        )
        if values.ndim != len(shape) or (self.is_collection and values.shape[1] != self.window):
            expected = ", ".join(map(str, shape))
            raise ShapeError(f"{name} must have shape ({expected}), got {values.shape}")
        if not self.is_collection:
            gaps = self.gaps(timestamps, len(values))
            return series_windows(self.scaler(values), self.window, stride, gaps, name)
        if timestamps is not None:
            raise DataError(f"timestamps belong to a series, {name} is a collection of windows")
        return collection_windows(self.scaler(values), name)

    def scaled_windows(self, x: Data, name: str) -> Floats:
        """Check and scale separate windows (m, T, D); return them as the model takes them.

        Raises:
            ShapeError: x has other channels or another length.
            DataError: A value is malformed, or every window has a NaN.
        """
        values = check_values(x, name, self.n_channels)
        if values.ndim != 3 or values.shape[1] != self.window:
            expected = f"(m, {self.window}, {self.n_channels})"
            raise ShapeError(f"{name} must have shape {expected}, got {values.shape}")
        windows = collection_windows(self.scaler(values), name)
        return windows.all().reshape(-1, *self.model.event_shape)

    def gaps(self, timestamps: object, length: int) -> NDArray[np.bool_] | None:
        """Return before which rows (L,) a gap lies, by the step of the training data.

        Where training had no timestamps, the median step of these serves.
        """
        if timestamps is None:
            return None
        steps = time_steps(timestamps, length)
        step = typical_step(steps) if self.time_step is None else self.time_step
        return None if step is None else find_gaps(steps, step)

    def score(self, z: Floats, name: str) -> Values:
        """Return the scores (n,) of scaled windows z (n, T, D)."""
        scores = self.model.score_samples(z.reshape(len(z), *self.model.event_shape), name)
        units = 0.0
        if self.model.scores[name] != "surrogate":
            units = self.scaler.log_abs_det(self.window)
        return np.asarray(scores, dtype=np.float64) + units

    def score_all(self, windows: Windows, name: str) -> Values:
        """Return the scores (n,) of scaled windows, chunk by chunk."""
        parts = [self.score(chunk, name) for chunk in windows.chunks()]
        return np.concatenate([np.empty(0), *parts])

    def occlusion(self, windows: Windows, name: str) -> Values:
        """Return score(window with channel d replaced) - score(window), (n, D).

        Channel d is replaced by that of the reference window most alike in the other channels
        (the smallest sum of squares; in the channel itself where there is no other).
        """
        parts = [np.empty((0, self.n_channels))]
        for chunk in windows.chunks(_OCCLUDED_AT_A_TIME):
            score = self.score(chunk, name)
            gains = np.empty((len(chunk), self.n_channels))
            for channel in range(self.n_channels):
                replaced = chunk.copy()
                replaced[..., channel] = self._expected(chunk, channel)
                gains[:, channel] = self.score(replaced, name) - score
            parts.append(gains)
        return np.concatenate(parts)

    def _expected(self, z: Floats, channel: int) -> Floats:
        others = np.arange(self.n_channels) != channel
        others = others if others.any() else ~others
        known, rows = (x[..., others].reshape(len(x), -1) for x in (self.references, z))
        distance = np.square(known).sum(1) - 2 * rows @ known.T
        return np.asarray(self.references[distance.argmin(1), :, channel])


def is_count(value: object) -> bool:
    """Tell whether a value is an integer above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def window_of(spec: ModelSpec, n_channels: int) -> int | None:
    """Return the window length that a model's own parameters decide, None where they do not.

    Raises:
        ConfigError: A size is no integer above 0, or the model's rows are no whole number of
            steps of so many channels.
    """
    spec = _member(spec)
    if isinstance(spec, str):
        return None
    if isinstance(spec, Mapping):
        if "sequence_length" in spec:
            return _size(spec, "sequence_length") * local_window(spec)
        if spec.get("input_dim") is None:
            return None
        shape = event_shape_of(spec["input_dim"])
    else:
        shape = spec.event_shape
    values = math.prod(shape)
    if values % n_channels:
        raise ConfigError(
            f"the model takes {values} values, not a whole number of steps of "
            f"{n_channels} channels"
        )
    return values // n_channels


def local_window(spec: ModelSpec) -> int:
    """Return the rows of the model's own windows: the detector's hold a whole number of them."""
    spec = _member(spec)
    return _size(spec, "window") if isinstance(spec, Mapping) and "window" in spec else 1


def _member(spec: ModelSpec) -> ModelSpec:
    """Return what the members of an ensemble are, and any other model as it is."""
    while isinstance(spec, Mapping) and "model" in spec:
        spec = spec["model"]
    return spec


def _size(spec: Mapping[str, Any], word: str) -> int:
    if not is_count(spec[word]):
        raise ConfigError(f"the model's {word} must be an integer above 0, is {spec[word]!r}")
    return int(spec[word])


def build_model(spec: ModelSpec, window: int, n_channels: int, device: str) -> Model:
    """Build an unfitted model of windows (T, D).

    Args:
        spec: A name, {"name": ..., parameters}, or an unfitted model, which is copied.
        window: T.
        n_channels: D.
        device: Where to put a model given by its name.

    Raises:
        ConfigError: The name is unknown, a parameter does not fit, or the model is of another
            size.
    """
    if isinstance(spec, DensityModel | Baseline):
        model: Model = copy.deepcopy(spec)
    else:
        description = {"name": spec} if isinstance(spec, str) else dict(spec)
        with torch.random.fork_rng(devices=[]):  # layers draw weights, `fit` will draw them again
            model = _named(description, window, n_channels, device)
    if math.prod(model.event_shape) != window * n_channels:
        raise ConfigError(
            f"the model takes {model.event_shape}, windows are ({window}, {n_channels})"
        )
    return model


def _named(description: dict[str, Any], window: int, n_channels: int, device: str) -> Model:
    shaped = _shaped(description, window, n_channels)
    name = shaped.pop("name")
    if name in available_baselines():
        return make_baseline(name, **shaped)
    known = inspect.signature(model_class(name)).parameters
    return make_model(name, **({"device": device} if "device" in known else {}) | shaped)


def _shaped(description: Mapping[str, Any], window: int, n_channels: int) -> dict[str, Any]:
    """Add the size of a window in the model's own words, to the members of an ensemble too."""
    name = description.get("name")
    names = (*available_models(), *available_baselines())
    if not isinstance(name, str):
        raise ConfigError(f"the model has no name: {dict(description)}")
    if name not in names and ":" not in name:
        raise ConfigError(f"model {name!r} is unknown{suggestion(name, names)}")
    size: dict[str, Any] = {"input_dim": (window, n_channels)}
    if name in available_baselines():
        return {**size, **description}
    words = inspect.signature(model_class(name)).parameters
    if "model" in words:  # an ensemble, whose members are as large as it is
        inner = description.get("model", words["model"].default)
        inner = {"name": inner} if isinstance(inner, str) else inner
        if isinstance(inner, Mapping):
            size = {"model": _shaped(inner, window, n_channels)}
        return {**description, **size}
    if "sequence_length" in words:
        length = window // local_window(description)
        size = {"n_features": n_channels, "sequence_length": length}
    return {**size, **description}


def describe(model: Model) -> dict[str, Any]:
    """Return {"name": ..., parameters} from which `build_model` makes such a model.

    Raises:
        GormpoDensityError: It is a baseline of another package.
    """
    if isinstance(model, DensityModel):
        return {"name": model_name(model), **model.params()}
    for name in available_baselines():
        if type(make_baseline(name, 1)) is type(model):
            return {"name": name, **model.params()}
    raise GormpoDensityError(f"{type(model).__name__} is no baseline known by name: not saved")

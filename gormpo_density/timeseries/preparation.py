"""From normal data to scaled windows: what a detector trains on, stops by and calibrates with."""

from dataclasses import dataclass

import numpy as np

from gormpo_density.arrays import Data
from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.detector_config import DetectorConfig
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.scorer import Model, WindowScorer, local_window, window_of
from gormpo_density.timeseries.splits import Ratios, longest_window, split_rows, split_windows
from gormpo_density.timeseries.timeline import (
    Values,
    check_values,
    find_gaps,
    time_steps,
    typical_step,
)
from gormpo_density.timeseries.windows import (
    Windows,
    choose_window,
    collection_windows,
    series_windows,
)

#: Most training windows kept to tell what a channel should do given the others.
_REFERENCES = 512


@dataclass(frozen=True, eq=False)
class Prepared:
    """Scaled windows of the three parts, and how they were made.

    Attributes:
        train: To learn from.
        val: To stop the training.
        cal: To set the thresholds.
        scaler: Learnt from the rows of train.
        window: T.
        time_step: Median time between rows of train; None without timestamps.
        is_collection: Whether the data is separate windows, not a series.
    """

    train: Windows
    val: Windows
    cal: Windows
    scaler: Scaler
    window: int
    time_step: float | None
    is_collection: bool

    @property
    def n_channels(self) -> int:
        """D."""
        return len(self.scaler.scale)

    def scorer(self, model: Model, seed: int) -> WindowScorer:
        """Join a model, to be fitted to `train`, with the rest; the seed draws its references."""
        return WindowScorer(
            model,
            self.scaler,
            self.window,
            self.n_channels,
            self.time_step,
            self.is_collection,
            self.train.sample(_REFERENCES, seed),
        )


def prepare(
    train: Data, timestamps: object, config: DetectorConfig, ratios: Ratios, seed: int
) -> Prepared:
    """Check, split, scale and cut normal data; see `TimeSeriesDetector.fit` for arguments.

    Raises:
        DataError: Data or timestamps are malformed, or there are too few rows (told).
        ConfigError: The window lengths of config, model and data do not agree.
    """
    values = check_values(train, "train")
    if values.ndim == 3:
        return _prepare_collection(values, timestamps, config, ratios, seed)
    return _prepare_series(values, timestamps, config, ratios)


def _prepare_series(
    values: Values, timestamps: object, config: DetectorConfig, ratios: Ratios
) -> Prepared:
    steps = None if timestamps is None else time_steps(timestamps, len(values))
    n_train, _, _ = ratios.counts(len(values))
    if n_train < 2:
        raise DataError(f"{len(values)} rows are too few: 2 at least must be left to learn from")
    learnt = slice(0, n_train)
    scaler = Scaler.fit(values[learnt], config.scaler)
    window = _given_window(config, values.shape[1])
    if window is None:
        window = choose_window(values[learnt], longest_window(len(values), ratios))
        window = _whole(window, local_window(config.model))
    parts = split_rows(len(values), window, ratios)
    time_step = None if steps is None else typical_step(steps[: learnt.stop - 1])
    gaps = None if steps is None or time_step is None else find_gaps(steps, time_step)
    cut = {
        name: series_windows(
            scaler(values[rows]),
            window,
            config.stride,
            None if gaps is None else gaps[rows],
            f"the {name} part of the series (rows {rows.start} to {rows.stop - 1})",
        )
        for name, rows in parts.items()
    }
    if len(cut["train"]) < 2:
        raise DataError("the train part of the series has 1 window, a model needs 2")
    return Prepared(**cut, scaler=scaler, window=window, time_step=time_step, is_collection=False)


def _prepare_collection(
    values: Values, timestamps: object, config: DetectorConfig, ratios: Ratios, seed: int
) -> Prepared:
    if timestamps is not None:
        raise DataError("timestamps belong to a series, train is a collection of windows")
    window = values.shape[1]
    given = _given_window(config, values.shape[2])
    if given not in (None, window):
        raise ConfigError(f"window is {given}, the collection's windows have {window} rows")
    whole = np.isfinite(values).all((1, 2))
    if len(values) and not whole.any():
        raise DataError(f"train: all {len(values)} windows hold NaN")
    parts = split_windows(int(whole.sum()), ratios, seed)
    pieces = {name: values[whole][rows] for name, rows in parts.items()}
    scaler = Scaler.fit(pieces["train"], config.scaler)
    cut = {name: collection_windows(scaler(piece), name) for name, piece in pieces.items()}
    return Prepared(**cut, scaler=scaler, window=window, time_step=None, is_collection=True)


def _given_window(config: DetectorConfig, n_channels: int) -> int | None:
    """Return what the user or the model's parameters say, None for the data to choose."""
    of_model = window_of(config.model, n_channels)
    if config.window == "auto":
        return of_model
    if of_model not in (None, config.window):
        raise ConfigError(f"window is {config.window}, the model is made for {of_model} rows")
    local = local_window(config.model)
    if config.window % local:
        raise ConfigError(f"window is {config.window}, no multiple of the model's own {local}")
    return config.window


def _whole(window: int, local: int) -> int:
    """Round down to a whole number of the model's own windows, but to one at least."""
    return max(1, window // local) * local

"""From the `data` section to a series or a collection: found, loaded, checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.detection.config import DetectDataConfig
from gormpo_density.timeseries.datasets import load_series, series_source
from gormpo_density.timeseries.series import NORMAL, Collection, Series

Floats = NDArray[np.float64]

#: What stands in for a data set whose files are not there.
_SUBSTITUTES = {"ecg5000": "ecg_beats"}


@dataclass(frozen=True, eq=False)
class DetectData:
    """A series, or a collection of windows, with what training and judging need of it.

    Attributes:
        source: The data.
        requested: Name of the data set asked for, where another one stands in for it.
        is_new: Whether all of it is judged, by a detector that was fitted to other data.
    """

    source: Series | Collection
    requested: str | None = None
    is_new: bool = False

    @property
    def is_series(self) -> bool:
        """Whether points of a series are judged, not whole windows."""
        return isinstance(self.source, Series)

    @property
    def values(self) -> Floats:
        """All rows (L, D), or all windows (n, T, D)."""
        return self.source.values

    @property
    def times(self) -> NDArray[Any] | None:
        """Time of each row (L,), if there is any."""
        return self.source.timestamps if isinstance(self.source, Series) else None

    @property
    def train(self) -> Floats:
        """Rows or windows to learn from; known anomalies are NaN in a series."""
        if isinstance(self.source, Series):
            return self.source.train_values
        return self.source.values[self.source.train]

    @property
    def known_anomalies(self) -> Floats | None:
        """Anomalous windows (m, T, D) that are not judged, for a loss that needs some."""
        if isinstance(self.source, Series) or self.source.labels is None:
            return None
        found = self.source.labels & (self.parts == "")
        return self.source.values[found] if found.any() else None

    @property
    def train_times(self) -> NDArray[Any] | None:
        """Time of each row of `train`."""
        if not isinstance(self.source, Series) or self.source.timestamps is None:
            return None
        return self.source.timestamps[self.source.train]

    @cached_property
    def parts(self) -> NDArray[np.str_]:
        """What each row or window is for: "train", "test", "new", or nothing."""
        if self.is_new:
            return np.full(len(self.values), "new")
        parts = np.full(len(self.values), "", dtype="<U5")
        parts[self.source.train] = "train"
        test = self.source.test if isinstance(self.source, Series) else (self.source.test,)
        for place in test:
            parts[place] = "test"
        return parts

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """Whether a row or window is judged, (L,) or (n,)."""
        return np.isin(self.parts, ["test", "new"])

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True where anomalous, None where that is unknown."""
        return self.source.labels

    @cached_property
    def kinds(self) -> NDArray[np.str_]:
        """Kind of each row or window: "normal", the type of anomaly, or "anomaly"."""
        known = self.source.types if isinstance(self.source, Series) else self.source.classes
        if known is not None:
            return np.where(known == "", NORMAL, known)
        labels = np.zeros(len(self.values), np.bool_) if self.labels is None else self.labels
        return np.where(labels, "anomaly", NORMAL)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types of anomaly among what is judged."""
        return tuple(str(name) for name in np.unique(self.kinds[self.judged]) if name != NORMAL)

    @property
    def unit(self) -> str:
        """What is judged: "rows" or "windows"."""
        return "rows" if isinstance(self.source, Series) else "windows"

    @property
    def description(self) -> str:
        """The data in a line."""
        shape, source = self.values.shape, self.source
        size = f"{shape[0]:,} rows" if len(shape) == 2 else f"{shape[0]:,} windows of {shape[1]}"
        channels = f"{shape[-1]} channels" if shape[-1] > 1 else "1 channel"
        names = ", ".join(source.channels[:6]) + (", ..." if shape[-1] > 6 else "")
        text = f"{source.name}: {size}, {channels} ({names}), shape {shape}"
        if not self.is_new:
            text += f"; {len(self.train):,} to learn from"
        text += f", {self.judged.sum():,} judged"
        if self.labels is not None:
            text += f", {self.labels[self.judged].sum():,} of them anomalous"
        return text


def load_detect_data(config: DetectDataConfig, seed: int) -> DetectData:
    """Load what the `data` section names.

    ECG5000 is replaced by simulated beats where its files are absent and no folder is named.

    Raises:
        DataError: The data is missing or malformed; every problem of a file is told.
    """
    substitute = _SUBSTITUTES.get(config.name)
    if substitute is not None and config.data_dir is None:
        return DetectData(load_series(substitute, seed=seed), requested=config.name)
    return DetectData(load_series(config.name, config.data_dir, options=config.options, seed=seed))


def absent_detect_data(config: DetectDataConfig) -> str | None:
    """Return what is missing on this machine, None if the data is there or made here."""
    if config.data_dir is not None and not config.data_dir.is_dir():
        return f"{config.data_dir}: no such folder"
    if config.data_path is not None:
        places = [
            config.data_path,
            *([config.data_dir / config.data_path] if config.data_dir else []),
        ]
        return None if any(map(Path.exists, places)) else f"{config.data_path}: no such file"
    is_made_here = series_source(config.name).is_embedded or config.name in _SUBSTITUTES
    if is_made_here or config.data_dir is not None:
        return None
    return f"{config.name} needs --data-dir DIR, the folder that holds its files"

"""From the `data` section to a labelled set: found, loaded, checked, scaled."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gormpo_density.augmenting.config import AugmentDataConfig
from gormpo_density.timeseries.labelled import LabelledSet
from gormpo_density.timeseries.labelled_sets import EMBEDDED, load_labelled
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.series import Values

_CONSTANT = 1e-12  # a spread below this share of the values' size is rounding


@dataclass(frozen=True, eq=False)
class AugmentData:
    """A labelled set as the classifiers see it.

    Attributes:
        source: The set, scaled.
        requested: Name of the data set asked for, where another one stands in for it.
    """

    source: LabelledSet
    requested: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(T, D) of a series."""
        steps, channels = self.source.train_x.shape[1:]
        return steps, channels

    @property
    def channels(self) -> list[str]:
        """Name of each channel, for figures."""
        count = self.shape[1]
        return ["value"] if count == 1 else [f"channel {i + 1}" for i in range(count)]

    @property
    def substitution(self) -> str | None:
        """What stands in for what, in a line; None where the set is the one asked for."""
        if self.requested is None:
            return None
        return f"{self.requested} is not here; {self.source.name} is used in its place"

    @property
    def description(self) -> str:
        """The data in a line."""
        found = self.source
        rows = np.bincount(found.train_y, minlength=len(found.classes))
        few, many = rows.min(), rows.max()
        each = f"{few}" if few == many else f"{few} to {many}"
        steps, channels = self.shape
        width = f", {channels} channels" if channels > 1 else ""
        return (
            f"{found.name}: {len(found.classes)} classes, series of {steps} steps{width}; "
            f"{len(found.train_x):,} to learn from ({each} a class), {len(found.test_x):,} judged"
        )


def load_augment_data(config: AugmentDataConfig, seed: int) -> AugmentData:
    """Load what the `data` section names, and scale it.

    The simulated set stands in for a named one where no folder is given.

    Raises:
        DataError: The data is missing or malformed; see `load_labelled`.
    """
    if is_replaced(config.dataset, config.data_dir):
        return AugmentData(scaled(load_labelled(EMBEDDED, seed=seed), config), config.dataset)
    found = load_labelled(
        config.dataset,
        config.data_dir,
        data_path=config.data_path,
        options=config.options,
        seed=seed,
    )
    return AugmentData(scaled(found, config))


def is_replaced(dataset: str | None, data_dir: str | Path | None) -> bool:
    """Tell whether the simulated set stands in for the one that is named."""
    return dataset not in (None, EMBEDDED) and ":" not in str(dataset) and data_dir is None


def scaled(found: LabelledSet, config: AugmentDataConfig) -> LabelledSet:
    """Return a set in the units that the `data` section asks for."""
    if config.scale == "none":
        return found
    if config.scale == "train":
        scaler = Scaler.fit(found.train_x, "standard")
        parts = [scaler(x).astype(np.float64) for x in (found.train_x, found.test_x)]
    else:
        parts = [normalised(x) for x in (found.train_x, found.test_x)]
    return replace(found, train_x=parts[0], test_x=parts[1])


def normalised(x: Values) -> Values:
    """Give every series (n, T, D) mean 0 and standard deviation 1, a constant one all zeros."""
    centred = x - x.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    is_constant = spread <= _CONSTANT * np.abs(x).max(axis=1, keepdims=True)
    return np.asarray(np.where(is_constant, 0.0, centred / np.where(is_constant, 1.0, spread)))


def absent_augment_data(config: AugmentDataConfig) -> str | None:
    """Return what is missing on this machine, None if the data is there or made here."""
    for path in (config.data_dir, config.data_path):
        if path is not None and not Path(path).exists():
            return f"{path}: no such file or folder"
    return None

"""The sets: ten to choose on, ten to confirm on, fixed before anything was measured."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from gormpo_density.timeseries.labelled import LabelledSet
from gormpo_density.timeseries.readers.ucr import load_ucr

_ALL = (
    *("ArrowHead", "BME", "Beef", "CBF", "Chinatown", "Coffee", "DiatomSizeReduction", "ECG200"),
    *("ECGFiveDays", "FaceFour", "GunPoint", "ItalyPowerDemand", "MoteStrain", "Plane"),
    *("SonyAIBORobotSurface1", "Symbols", "SyntheticControl", "Trace", "TwoLeadECG", "Wine"),
)
#: Every other set of the alphabet chooses arms and strengths, the others confirm the choice.
TUNING, CONFIRMATION = _ALL[::2], _ALL[1::2]
#: Sets with a hundred training rows or more, of which a tenth is taken.
LOW_DATA = ("ECG200", "Plane", "SyntheticControl", "Trace")

#: Accuracy of the ancestor's ResNet without augmentation, and of InceptionTime, as published.
PUBLISHED = {
    "ArrowHead": (0.794, 0.863),
    "CBF": (0.977, 0.999),
    "Coffee": (0.821, 1.0),
    "ECG200": (0.890, 0.91),
    "ECGFiveDays": (0.857, 1.0),
    "GunPoint": (0.980, 1.0),
    "ItalyPowerDemand": (0.966, 0.966),
    "SonyAIBORobotSurface1": (0.937, 0.879),
    "Symbols": (0.780, 0.985),
    "Trace": (1.0, 1.0),
    "TwoLeadECG": (0.853, 0.996),
}


@lru_cache(maxsize=4)
def load(name: str, data_dir: Path) -> LabelledSet:
    """Return a set with every series scaled to mean 0 and standard deviation 1 by itself."""
    data = load_ucr(name, data_dir)
    return replace(data, train_x=_standardised(data.train_x), test_x=_standardised(data.test_x))


def tenth(data: LabelledSet, seed: int) -> LabelledSet:
    """Return the set with a tenth of its training rows, drawn by class; one row of each at least.

    Args:
        data: The set.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    kept = []
    for label in np.unique(data.train_y):
        rows = rng.permutation(np.flatnonzero(data.train_y == label))
        kept.append(rows[: max(1, round(len(rows) / 10))])
    rows = np.sort(np.concatenate(kept))
    return replace(data, train_x=data.train_x[rows], train_y=data.train_y[rows])


def _standardised(x: np.ndarray) -> np.ndarray:
    scale = x.std(axis=1, keepdims=True)
    return (x - x.mean(axis=1, keepdims=True)) / np.where(scale > 0, scale, 1.0)

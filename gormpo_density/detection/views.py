"""Windows by kind, and what a model makes of them: what the figures of a detection run show."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.base import DensityModel, LatentModel
from gormpo_density.detection.data import DetectData
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.scorer import Model
from gormpo_density.timeseries.series import NORMAL

Floats = NDArray[np.float64]

_SHOWN = 1000  # windows of a kind in a scatter plot


@dataclass(frozen=True, eq=False)
class View:
    """A model, fitted or on the way there, of windows of some length, with its scaler."""

    model: Model
    scaler: Scaler
    window: int

    @classmethod
    def of(cls, detector: TimeSeriesDetector) -> "View":
        """Return what a detector has, in training or fitted."""
        if (scorer := detector.in_training) is not None:
            return cls(scorer.model, scorer.scaler, scorer.window)
        return cls(detector.model, detector.scaler, detector.window_length)


def windows_by_kind(data: DetectData) -> dict[str, Floats]:
    """Return the judged windows (n, T, D) of a collection by kind, normal ones first."""
    kinds = data.kinds[data.judged]
    windows = data.values[data.judged]
    found = {kind: windows[kinds == kind] for kind in (NORMAL, *data.types)}
    return {kind: some for kind, some in found.items() if len(some)}


def reconstruction_pairs(view: View, data: DetectData) -> dict[str, tuple[Floats, Floats]]:
    """Return a judged window (T, D) of each kind and its reconstruction, data units.

    Of each kind it is the one in the middle; none for a model without reconstructions.
    """
    pairs = {}
    for kind, windows in _windows(view, data):
        middle = windows[len(windows) // 2][None]
        back = _reconstruct(view, middle)
        if back is None:
            return {}
        pairs[kind] = (middle[0], back[0])
    return pairs


def latent_views(view: View, data: DetectData) -> dict[str, Floats]:
    """Return latents (n, L) of judged windows by kind; none for a model without a latent space."""
    model = view.model
    if not isinstance(model, LatentModel):
        return {}
    latents = {}
    for kind, windows in _windows(view, data):
        some = windows[:: max(1, -(-len(windows) // _SHOWN))]
        with torch.no_grad():
            z = model.encode(_scaled(view, some, model)).flatten(1).double().cpu().numpy()
        latents[kind] = z[np.isfinite(z).all(1)]
    return latents


def _windows(view: View, data: DetectData) -> Iterator[tuple[str, Floats]]:
    """Yield judged windows (n, T, D) without NaN by kind, normal ones first.

    A window of a series is of an anomaly's kind if its middle row is, and normal if all its rows
    are.
    """
    if not data.is_series:
        yield from windows_by_kind(data).items()
        return
    length = view.window
    judged = sliding_window_view(data.judged, length).all(1)
    usable = judged & sliding_window_view(np.isfinite(data.values).all(1), length).all(1)
    windows = np.moveaxis(sliding_window_view(data.values, length, axis=0), 2, 1)
    is_normal = sliding_window_view(data.kinds == NORMAL, length).all(1)
    middle = data.kinds[length // 2 : length // 2 + len(windows)]
    for kind in (NORMAL, *data.types):
        places = np.flatnonzero(usable & (is_normal if kind == NORMAL else middle == kind))
        if len(places):
            yield kind, windows[places[:: max(1, -(-len(places) // _SHOWN))]]


def _reconstruct(view: View, windows: Floats) -> Floats | None:
    """Return reconstructions (n, T, D) in data units, None if the model has none."""
    model, scaler = view.model, view.scaler
    if not isinstance(model, LatentModel):
        return None
    with torch.no_grad():
        back = model.decode(model.encode(_scaled(view, windows, model)))
    z = back.reshape(windows.shape).double().cpu().numpy()
    return np.asarray(z * scaler.scale + scaler.offset)


def _scaled(view: View, windows: Floats, model: DensityModel) -> Tensor:
    z = view.scaler(windows)
    return torch.from_numpy(z.reshape(len(z), *model.event_shape)).to(model.device)

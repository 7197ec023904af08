"""A monitor for a deployed policy: one row at a time, a verdict each, in microseconds."""

import copy
import math
import threading
import warnings
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gormpo_density.base import FLOOR, DensityModel
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError, ShapeError
from gormpo_density.persistence import load_model

_Score = Callable[[Tensor], Tensor]

#: Rows on which the recorded score must equal the model's, up to so many standard deviations off.
_PROBES, _PROBE_SPREAD = 32, 8.0
_TOLERANCE = 1e-5


class Verdict(NamedTuple):
    """What a monitor says of one row.

    Attributes:
        score: As of `score_samples`, higher is more normal; the floor score -1e30 where a value
            is not finite.
        p_value: Share of calibration rows that are no more normal, (1 + k) / (n + 1): a normal
            row is at most a with probability at most a.
        is_anomaly: Whether the score is below the threshold.
        surprise: u, 0 at the threshold and -1 at a typical row.
    """

    score: float
    p_value: float
    is_anomaly: bool
    surprise: float


class Monitor:
    """Scores single rows as a calibrated model does, without what a batch needs.

        monitor = Monitor.load("runs/hopper-realnvp-seed0")
        verdict = monitor(obs, action)

    The model's operations on one row are recorded once and replayed (TorchScript), which spares
    Python's part of the cost. The recording is compared with the model on rows near and far; a
    model that cannot be recorded, such as one whose steps depend on the row, runs as it is. The
    model is copied to the CPU: what happens to it later changes nothing.

    Args:
        model: A calibrated model of rows.
        score: The calibrated score to use; the model's default one when absent.

    Attributes:
        is_recorded: Whether a recording is replayed.

    Raises:
        ConfigError: The model scores windows (`TimeSeriesDetector.stream` does those), or has no
            such score.
        NotCalibratedError: That score is not calibrated, or u has no scale.
    """

    def __init__(self, model: DensityModel, score: str | None = None) -> None:
        name = model.score_name(score)
        if len(model.event_shape) != 1:
            raise ConfigError(f"a monitor scores rows; the model's are {model.event_shape}")
        is_default = name == model.default_score
        calibration = model.calibration if is_default else model.calibrations.get(name)
        if calibration is None:
            raise NotCalibratedError(f"score {name!r} is not calibrated: there is no p-value")
        self._threshold, self._scale = calibration.threshold, calibration.scale
        self._ordered: list[float] = calibration.scores.tolist()
        model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        self._row = np.zeros(model.event_shape)
        self._tensor = torch.from_numpy(self._row)[None]  # shares its memory
        self._dtype = model.standardizer.mean.dtype
        self._largest = torch.finfo(self._dtype).max
        self._score, self.is_recorded = _recorded(model, name)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: str | Path, score: str | None = None) -> "Monitor":
        """Load the model of a run of either program, or a model folder.

        Raises:
            ModelFileError: As of `load_model`; further errors as of the class.
        """
        return cls(load_model(folder), score)

    def __call__(self, *parts: ArrayLike) -> Verdict:
        """Judge one row.

        Args:
            parts: The parts of a row (each one-dimensional) in the order the model was fitted
                on: obs and action, or the whole row.

        Returns:
            The verdict; a value that is not finite is the largest alarm, not an error.

        Raises:
            ShapeError: The parts are not one row of the model's width.
            DataError: A part does not hold numbers.
        """
        with self._lock, torch.inference_mode():
            self._fill(parts)
            x = self._tensor.to(self._dtype)
            score = self._score(x).item() if self._is_usable() else FLOOR
        score = FLOOR if math.isnan(score) else max(score, FLOOR)
        p_value = (1 + bisect_right(self._ordered, score)) / (len(self._ordered) + 1)
        surprise = (self._threshold - score) / self._scale
        return Verdict(score, p_value, score < self._threshold, surprise)

    def _fill(self, parts: tuple[ArrayLike, ...]) -> None:
        try:
            np.concatenate(parts, out=self._row, casting="same_kind")
        except (TypeError, ValueError) as error:
            raise _complaint(parts, len(self._row)) from error

    def _is_usable(self) -> bool:
        return all(-self._largest <= value <= self._largest for value in self._row.tolist())


def _complaint(parts: tuple[ArrayLike, ...], width: int) -> DataError:
    try:
        arrays = [np.asarray(part) for part in parts]
    except ValueError as error:  # rows of a list that differ in length
        return DataError(f"a part of a row is no array: {error}")
    if wrong := [a.dtype for a in arrays if a.dtype.kind not in "biuf"]:
        return DataError(f"a row of {wrong[0]} does not hold real numbers")
    shapes = " + ".join(str(a.shape) for a in arrays) or "nothing"
    return ShapeError(f"a row has {width} values, one-dimensional; got {shapes}")


def _recorded(model: DensityModel, name: str) -> tuple[_Score, bool]:
    """Return the score of (1, D) rows, recorded if that gives the model's own numbers."""

    def score(x: Tensor) -> Tensor:
        return model._named_score(x, name)

    generator = torch.Generator().manual_seed(0)
    mean, scale = model.standardizer.mean, model.standardizer.scale
    spread = torch.linspace(0, _PROBE_SPREAD, _PROBES, dtype=mean.dtype)[:, None]
    noise = torch.randn(_PROBES, len(mean), generator=generator, dtype=mean.dtype)
    rows = mean + scale * spread * noise
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # It warns of every shape that becomes a constant, as one row's should.
            warnings.simplefilter("ignore")
            replay: _Score = torch.jit.trace(score, rows[:1], check_trace=False)
            # The first calls specialise it, so that no verdict has to wait for that.
            found = torch.cat([replay(row) for row in rows.split(1)])
            expected = torch.cat([score(row) for row in rows.split(1)])
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError):
        return score, False
    off = (found - expected).abs() > _TOLERANCE * (1 + expected.abs())
    return (score, False) if off.any() else (replay, True)

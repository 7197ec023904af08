"""What is installed: every model by name, its scores, and what a row costs on this machine."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gormpo_density.base import DensityModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import GormpoDensityError
from gormpo_density.registry import available_models, make_model, model_origin

#: Width of the measured rows (Hopper's state and action), and steps of the measured windows.
ROW_WIDTH, WINDOW_STEPS = 14, 8
#: Rows that models are fitted to before they are measured.
FITTED_ROWS = 1000
_LEAST_ROWS, _MOST_ROWS = 128, 4096
_LONG_ENOUGH = 0.02  # seconds that a pass takes before its time is believed


@dataclass(frozen=True)
class Listing:
    """One model, as listed.

    Attributes:
        name: As in the registry.
        origin: "built in", the package that brings it, or the module that registered it.
        scores: Kind of each score, the default first; empty if the model cannot be used.
        microseconds: Of processor time to score one event, with default parameters.
        event_shape: What was scored: (D,), or (T, D) where the model takes windows only.
        problem: Why the model cannot be used, None if it can.
    """

    name: str
    origin: str
    scores: dict[str, ScoreKind]
    microseconds: float
    event_shape: tuple[int, ...]
    problem: str | None = None


def list_models() -> Iterator[Listing]:
    """Build, fit to noise for one epoch, and time every available model; yield one after another.

    A model of another package that fails, in whatever way, is listed with its problem.
    """
    for name in available_models():
        origin = model_origin(name)
        try:
            model = _fitted(name)
            cost = 1e6 * _seconds_a_row(model)
        except Exception as error:
            yield Listing(name, origin, {}, float("nan"), (), f"{type(error).__name__}: {error}")
        else:
            yield Listing(name, origin, dict(model.scores), cost, model.event_shape)


def _fitted(name: str) -> DensityModel:
    try:
        model = make_model(name, input_dim=ROW_WIDTH)
    except GormpoDensityError:  # of windows only
        model = make_model(name, input_dim=(WINDOW_STEPS, ROW_WIDTH))
    rows, val = _noise(model, FITTED_ROWS), _noise(model, _LEAST_ROWS)
    model.fit(rows, val, epochs=1, batch_size=FITTED_ROWS)
    return model


def _noise(model: DensityModel, n: int) -> NDArray[np.float32]:
    return np.random.default_rng(n).normal(size=(n, *model.event_shape)).astype(np.float32)


def _seconds_a_row(model: DensityModel) -> float:
    """Score ever more rows, until the best of three passes is long enough to be believed."""
    n = _LEAST_ROWS
    while True:
        rows = _noise(model, n)
        seconds = min(_seconds(model, rows) for _ in range(3))
        if seconds > _LONG_ENOUGH or n == _MOST_ROWS:
            return seconds / n
        n *= 2


def _seconds(model: DensityModel, rows: NDArray[np.float32]) -> float:
    start = time.process_time()
    model.score_samples(rows)
    return time.process_time() - start

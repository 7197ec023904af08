"""Trainings one after another, told as one: their curves, epochs, checkpoints and options."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import model_serializer

from gormpo_density.base import NonNegative, Positive, PositiveInt
from gormpo_density.fitting import FitOptions, History, Hooks
from gormpo_density.schema import Section


class Phases:
    """Run trainings in a row, each resumable by itself.

    Epochs are counted on from one training to the next, and every row of the history says in a
    curve of its own which training it is of, from 0. The checkpoint of training i is the given
    file with "-i" behind its stem.

    Args:
        hooks: What happens around all of them.
        curve: Name of the curve that counts the trainings, for instance "phase".

    Attributes:
        history: The curves so far.
    """

    def __init__(self, hooks: Hooks, curve: str) -> None:
        self.history: History = {}
        self._hooks = hooks
        self._curve = curve
        self._number = 0
        self._epochs = 0

    def run(self, train: Callable[[Hooks], History]) -> None:
        """Run the next training, handing it hooks of its own, and append its curves."""
        curves = train(Hooks(self._checkpoint, self._on_epoch, self._hooks.progress))
        epochs = max(map(len, curves.values()), default=0)
        for name, values in {**curves, self._curve: [float(self._number)] * epochs}.items():
            self.history.setdefault(name, []).extend(values)
        self._number += 1
        self._epochs += epochs

    @property
    def _checkpoint(self) -> Path | None:
        path = self._hooks.checkpoint
        return path and path.with_name(f"{path.stem}-{self._number}{path.suffix}")

    @property
    def _on_epoch(self) -> Callable[[int, dict[str, float]], None] | None:
        report, done, number = self._hooks.on_epoch, self._epochs, float(self._number)
        if report is None:
            return None
        return lambda epoch, row: report(done + epoch, {**row, self._curve: number})


class PhaseOptions(Section):
    """Options of one phase of a fit; those left out are those of the whole fit.

    Attributes: see `DensityModel.fit`.
    """

    epochs: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    grad_clip: Positive | None = None
    patience: PositiveInt | None = None

    @model_serializer(mode="plain")
    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}

    def of(self, options: FitOptions) -> FitOptions:
        """Return the options of the whole fit with the phase's own in their place."""
        return replace(options, **self._given())


class NoisyPhaseOptions(PhaseOptions):
    """Options of a phase that is trained on the data themselves, to which noise can be added."""

    noise: NonNegative | None = None

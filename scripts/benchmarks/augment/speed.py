"""Part "speed": synthetic series a second, and the cost of augmentation in a training step."""

from statistics import median

import numpy as np
import torch

from benchmarks.augment.arms import Arm
from benchmarks.augment.protocol import ANCESTOR, CLASSIC, OURS, RESNET
from benchmarks.cells import Bench, Cell, Result
from benchmarks.tables import table
from benchmarks.timing import cpu_seconds, interleaved
from gormpo_density.augmentation.classifiers import make_classifier

#: Rows and time steps of a made-up set; a batch and rounds of the stopwatch.
_ROWS, _LENGTH = 64, 128
_BATCH = int(RESNET.params["batch_size"])
_ROUNDS = 15


def report(bench: Bench) -> str:
    """Measure what is missing and return the table."""
    length = 16 if bench.quick else _LENGTH
    rounds = 2 if bench.quick else _ROUNDS
    settings = {"rows": _ROWS, "length": length, "rounds": rounds, "batch": _BATCH}
    arms = [ANCESTOR, *CLASSIC, *OURS]
    augmenters = [arm.augmenter for arm in arms]
    result = bench.result(
        Cell("speed", "simulated", "augmenters"),
        {**settings, "augmenters": augmenters},
        lambda: _measured(arms, length, rounds, bench),
    )
    step = result["step"]
    rows = [
        (
            name,
            f"{_ROWS / seconds:,.0f}",
            f"{100 * seconds * _BATCH / 2 / _ROWS / step:.1f} %",
            f"{result['fit'][name]:.1f}",
        )
        for name, seconds in result["draw"].items()
    ]
    header = ("arm", "synthetic series/s", "share of a training step", "fit, CPU s")
    return (
        f"Series of {length} steps, one thread, medians of {rounds} interleaved rounds. A step of "
        f"the ResNet on {_BATCH} rows, half of them synthetic, takes {1000 * step:.0f} ms; the "
        f"share is what drawing that half costs.\n\n{table(header, rows)}"
    )


def _measured(arms: list[Arm], length: int, rounds: int, bench: Bench) -> Result:
    x, y = _simulated(length)
    fit, calls = {}, {}
    for arm in arms:
        augmenter = arm.make(quick=bench.quick)
        assert augmenter is not None
        fit[arm.name] = cpu_seconds(lambda augmenter=augmenter: augmenter.fit(x, y))
        calls[arm.name] = lambda augmenter=augmenter: augmenter.augment(x, y)
    draw = {name: median(times) for name, times in interleaved(calls, rounds).items()}
    return {"fit": fit, "draw": draw, "step": _step_seconds(x, y, bench)}


def _step_seconds(x: np.ndarray, y: np.ndarray, bench: Bench) -> float:
    """Return CPU seconds a training step, from runs of two lengths."""
    few, many = (2, 4) if bench.quick else (5, 45)
    settings = RESNET.settings(bench)

    def seconds(steps: int) -> float:
        model = make_classifier(**{**settings, "steps": steps})
        return cpu_seconds(lambda: model.fit(x, y))

    return (seconds(many) - seconds(few)) / (many - few)


def _simulated(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sines of two frequencies in noise, (_ROWS, length, 1), and their classes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(_ROWS) % 2
    phase = 2 * torch.pi * torch.rand(_ROWS, 1, generator=generator)
    angle = 0.2 * (1 + y[:, None]) * torch.arange(length) + phase
    x = angle.sin() + 0.1 * torch.randn(angle.shape, generator=generator)
    return x[..., None].numpy(), y.numpy()

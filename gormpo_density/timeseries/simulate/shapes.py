"""Simulated labelled series: four shapes at changing places, few of them to learn from."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from gormpo_density.schema import Section
from gormpo_density.timeseries.labelled import LabelledSet
from gormpo_density.timeseries.series import Values
from gormpo_density.timeseries.simulate.ranges import Count, NotNegative

SHAPES = ("bell", "burst", "plateau", "ramp")

_WIDTH = 0.25  # share of the series that a shape of mean width takes up


class ShapesConfig(Section):
    """Parameters of `simulate_shapes`.

    Attributes:
        train_rows: Series of each class to learn from.
        test_rows: Series of each class that are judged.
        time_steps: T.
        channels: D; each sees the same shape at a height of its own, with its own noise.
        shift: Standard deviation of the place of a shape, in series; the mean is the middle.
        width_variability: Coefficient of variation of a shape's width.
        height_variability: Coefficient of variation of its height, whose mean is 1.
        wander: Standard deviation of a straight line below it, at the ends.
        noise: Standard deviation of the measurement.
    """

    train_rows: Count = 6
    test_rows: Count = 100
    time_steps: Annotated[int, Ge(8)] = 96
    channels: Count = 1
    shift: NotNegative = 0.1
    width_variability: NotNegative = 0.25
    height_variability: NotNegative = 0.2
    wander: NotNegative = 0.2
    noise: NotNegative = 0.15


def simulate_shapes(config: ShapesConfig | None = None, seed: int = 0) -> LabelledSet:
    """Simulate series that differ in the shape of one event.

    x(t) = h s(u) + slope (2 t - 1) + noise, u = (t - place) / width, t in [0, 1], with

    bell     exp(-8 u^2);
    burst    exp(-8 u^2) cos(6 pi u);
    plateau  1 for |u| < 1/2;
    ramp     u + 1/2 for |u| < 1/2.

    Place, width, height and slope are drawn for every series.

    Args:
        config: All numbers; None takes the defaults.
        seed: The same seed gives the same set.

    Source:
        In the manner of Saito 1994, Local feature extraction and its applications using a library
        of bases, PhD thesis, Yale (cylinder, bell and funnel). Differs: other shapes, whose place
        and width are normal and log-normal; several channels.
    """
    config = config or ShapesConfig()
    rng = np.random.default_rng(seed)
    parts = []
    for rows in (config.train_rows, config.test_rows):
        labels = np.repeat(SHAPES, rows)
        parts += [_drawn(rng, config, labels), labels.tolist()]
    return LabelledSet.of("shapes", *parts)


def _drawn(rng: np.random.Generator, config: ShapesConfig, labels: NDArray[np.str_]) -> Values:
    """Return one series for each label, (n, T, D)."""
    n, size = len(labels), (len(labels), 1, config.channels)
    t = np.linspace(0, 1, config.time_steps)
    place = 0.5 + config.shift * rng.standard_normal((n, 1))
    width = _WIDTH * np.exp(config.width_variability * rng.standard_normal((n, 1)))
    u = (t - place) / width
    height = np.exp(config.height_variability * rng.standard_normal(size))
    slope = config.wander * rng.standard_normal(size)
    noise = config.noise * rng.standard_normal((n, len(t), config.channels))
    shape = np.select([labels[:, None] == name for name in SHAPES], list(_shapes(u)))
    return np.asarray(height * shape[..., None] + slope * (2 * t - 1)[:, None] + noise)


def _shapes(u: Values) -> tuple[Values, ...]:
    """Return every one of `SHAPES` at u."""
    bell, inside = np.exp(-8 * u**2), np.abs(u) < 0.5
    return bell, bell * np.cos(6 * np.pi * u), inside.astype(np.float64), inside * (u + 0.5)

"""Simulated heartbeats as sums of Gaussian waves, normal ones and four kinds that are not."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from gormpo_density.schema import Section
from gormpo_density.timeseries.series import NORMAL, Collection, Values
from gormpo_density.timeseries.simulate.ranges import NotNegative, Positive, Share

WAVES = ("P", "Q", "R", "S", "T")
_BEATS = {  # for each wave: height in mV, centre in s after R, width in s
    NORMAL: (
        (0.15, -0.17, 0.022),
        (-0.12, -0.030, 0.010),
        (1.20, 0.0, 0.011),
        (-0.25, 0.030, 0.010),
        (0.30, 0.26, 0.045),
    ),
    "ventricular": (  # no P, a wide R, T the other way: the beat starts in a ventricle
        (0.0, -0.17, 0.022),
        (-0.05, -0.060, 0.020),
        (1.40, 0.0, 0.040),
        (-0.55, 0.090, 0.035),
        (-0.35, 0.28, 0.060),
    ),
    "supraventricular": (  # P inverted and close to R: the beat starts near the node
        (-0.10, -0.09, 0.018),
        (-0.12, -0.030, 0.010),
        (1.10, 0.0, 0.011),
        (-0.25, 0.030, 0.010),
        (0.25, 0.24, 0.045),
    ),
    "st_elevation": (  # S lifted and T high and wide: lack of blood in the wall
        (0.15, -0.17, 0.022),
        (-0.20, -0.030, 0.012),
        (1.00, 0.0, 0.011),
        (0.15, 0.070, 0.040),
        (0.50, 0.22, 0.065),
    ),
    "t_inversion": (
        (0.15, -0.17, 0.022),
        (-0.12, -0.030, 0.010),
        (1.10, 0.0, 0.011),
        (-0.25, 0.030, 0.010),
        (-0.22, 0.27, 0.045),
    ),
}
ANOMALIES = tuple(kind for kind in _BEATS if kind != NORMAL)


class ECGConfig(Section):
    """Parameters of `simulate_ecg`.

    Attributes:
        num_samples: n, beats in all.
        time_steps: T, steps of a beat.
        sample_rate: Steps a second, Hz. R stands at 40 % of the window.
        train_share: Share of the beats to learn from, all normal.
        anomaly_share: Share of the other beats that are not normal; each kind equally often.
        severity: 0 makes every beat normal, 1 gives the kinds as they are.
        heart_rate: Mean, beats a minute.
        heart_rate_variability: Coefficient of variation between beats.
        shape_variability: Coefficient of variation of each wave's height and width.
        jitter: Standard deviation of where R stands, s.
        wander: Standard deviation of the baseline's level and, over a window, of its slope, mV.
        noise: Standard deviation of the measurement, mV.
    """

    num_samples: Annotated[int, Ge(4)] = 2000
    time_steps: Annotated[int, Ge(8)] = 140
    sample_rate: Positive = 180.0
    train_share: Share = 0.6
    anomaly_share: Share = 0.3
    severity: Annotated[float, Interval(ge=0, le=2)] = 1.0
    heart_rate: Positive = 70.0
    heart_rate_variability: NotNegative = 0.08
    shape_variability: NotNegative = 0.08
    jitter: NotNegative = 0.004
    wander: NotNegative = 0.04
    noise: NotNegative = 0.02


def simulate_ecg(config: ECGConfig | None = None, seed: int = 0) -> Collection:
    """Simulate single heartbeats, each in a window of its own.

    x(t) = sum_i a_i exp(-(t - c_i)^2 / (2 b_i^2)) + baseline + noise over the waves P, Q, R, S
    and T. Heights a_i and widths b_i vary from beat to beat. The centres c_i of P and T keep
    their distance to R in proportion to the square root of the time between beats (Bazett).
    A beat of another kind has a, c and b of (1 - severity) * normal + severity * kind.

    Args:
        config: All numbers; None takes the defaults.
        seed: The same seed gives the same beats. Severity changes the anomalies of a seed and
            nothing else.

    Source:
        McSharry et al. 2003, A dynamical model for generating synthetic electrocardiogram
        signals, IEEE Trans. Biomed. Eng. 50(3), eq. 1. Differs: no differential equation, since
        single beats are wanted.
    """
    config = config or ECGConfig()
    rng = np.random.default_rng(seed)
    n = config.num_samples
    n_train = min(max(1, round(config.train_share * n)), n - 2)
    n_odd = min(max(1, round(config.anomaly_share * (n - n_train))), n - n_train - 1)
    odd = [ANOMALIES[i % len(ANOMALIES)] for i in range(n_odd)]
    judged = rng.permutation(np.array([*odd, *[NORMAL] * (n - n_train - n_odd)]))
    classes = np.concatenate([np.full(n_train, NORMAL, dtype=judged.dtype), judged])
    beats = np.stack([_beat(str(kind), config.severity) for kind in classes])
    return Collection(
        name="ecg_beats",
        values=_drawn(rng, config, beats)[..., None],
        channels=("ecg",),
        train=np.arange(n_train),
        test=np.arange(n_train, n),
        labels=classes != NORMAL,
        classes=classes,
    )


def _beat(kind: str, severity: float) -> Values:
    """Return heights, centres and widths of the waves, (5, 3)."""
    normal, other = np.array(_BEATS[NORMAL]), np.array(_BEATS[kind])
    mixed: Values = normal + severity * (other - normal)
    mixed[:, 2] = np.maximum(mixed[:, 2], 0.5 * normal[:, 2])
    return mixed


def _drawn(rng: np.random.Generator, config: ECGConfig, beats: Values) -> Values:
    """Return the windows of beats (n, 5, 3), each with its own variation, (n, T)."""
    n = len(beats)
    height, centre, width = np.moveaxis(beats, -1, 0)
    height = height * np.exp(config.shape_variability * rng.standard_normal((n, 5)))
    width = width * np.exp(config.shape_variability * rng.standard_normal((n, 5)))
    between = np.exp(config.heart_rate_variability * rng.standard_normal((n, 1)))
    between = between * 60 / config.heart_rate
    centre = centre * np.where(np.abs(centre) > 0.1, np.sqrt(between), 1.0)
    position = np.linspace(-0.5, 0.5, config.time_steps)
    t = np.arange(config.time_steps) / config.sample_rate
    t = t - 0.4 * t[-1] - config.jitter * rng.standard_normal((n, 1))
    distance = (t[:, None] - centre[..., None]) / width[..., None]
    waves = (height[..., None] * np.exp(-0.5 * distance**2)).sum(axis=1)
    level, slope = config.wander * rng.standard_normal((2, n, 1))
    noise = config.noise * rng.standard_normal(waves.shape)
    return np.asarray(waves + level + slope * position + noise)

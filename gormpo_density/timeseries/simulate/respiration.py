"""Simulated breathing, seen by one or several sensors, with events that are labelled."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from scipy.signal import lfilter

from gormpo_density.schema import Section
from gormpo_density.timeseries.series import Series, Values
from gormpo_density.timeseries.simulate.events import labels_of
from gormpo_density.timeseries.simulate.ranges import NotNegative, Positive, Share
from gormpo_density.timeseries.simulate.respiratory_events import (
    RespiratoryEvents,
    coughs,
    gain,
    place_events,
    rate_factor,
)

_SENSORS = {
    "belt": (0.0, 1.0),  # stretch of a band around the chest, arbitrary units
    "temperature": (33.0, 2.0),  # under the nose, degrees C
    "humidity": (70.0, 15.0),  # under the nose, % relative
}
_INHALING = 0.4  # share of a breath
_NOSTRIL_TIME = 0.25  # time constant of a sensor under the nose, in breaths


class RespirationConfig(Section):
    """Parameters of `simulate_respiration`; the defaults are an adult at rest.

    Attributes:
        minutes: Length of the recording.
        sample_rate: Rows a second, Hz.
        sensors: D: a chest belt, then temperature and humidity under the nose, then a second of
            each, and so on; every one has its own noise and wander.
        breaths_per_minute: Mean rate.
        rate_variability: Coefficient of variation of the rate, which changes within half a minute.
        depth_variability: Coefficient of variation of the depth from breath to breath.
        wander: Standard deviation of the slow drift of a baseline, in amplitudes of a breath.
        noise: Standard deviation of the measurement, in amplitudes of a breath.
        train_share: Share of the recording to learn from, without events.
        events: What happens in the rest.
    """

    minutes: Positive = 30.0
    sample_rate: Annotated[float, Ge(4)] = 10.0
    sensors: Annotated[int, Ge(1)] = 1
    breaths_per_minute: Positive = 15.0
    rate_variability: NotNegative = 0.08
    depth_variability: NotNegative = 0.12
    wander: NotNegative = 0.1
    noise: NotNegative = 0.03
    train_share: Share = 0.5
    events: RespiratoryEvents = RespiratoryEvents()


def simulate_respiration(config: RespirationConfig | None = None, seed: int = 0) -> Series:
    """Simulate a recording of breathing whose second part has respiratory events.

    The phase of breathing is the integral of the rate f(t) = f0 exp(r(t)) k(t), where r is an
    Ornstein-Uhlenbeck process of 30 s and k speeds up in tachypnea. A breath has depth
    exp(d_i) of its own; apnea and shallow breathing damp it. In a breath of phase p in [0, 1)
    and inhaling until p = 0.4,

    belt                   (1 - cos(pi p / 0.4)) / 2 up, then a power of a cosine down;
    temperature, humidity  toward 0 while cool dry air comes in, toward 1 while warm moist air
                           goes out, each with a time constant of a quarter breath.

    Coughs are added to the belt as they are, to the others at half height and upward. The values
    are centre + amplitude * (breathing + wander + noise).

    Args:
        config: All numbers; None takes the defaults.
        seed: The same seed gives the same recording. Severity scales the events of a seed and
            changes nothing before the first of them.

    Raises:
        DataError: The part with events has no room for one.
    """
    config = config or RespirationConfig()
    rng = np.random.default_rng(seed)
    rows = round(config.minutes * 60 * config.sample_rate)
    split = round(config.train_share * rows)
    test = slice(split, rows)
    spans = place_events(rng, config.events, test, config.sample_rate)
    cough = coughs(rng, config.events, spans, rows, config.sample_rate)
    phase = _phase(rng, config, rate_factor(config.events, spans, rows, config.sample_rate))
    depth = _depth(rng, config, phase) * gain(config.events, spans, rows, config.sample_rate)
    names = _channels(config.sensors)
    columns = [_sensor(rng, config, kind, phase % 1, depth, cough) for kind in _kinds(names)]
    labels, types = labels_of(spans, rows)
    return Series(
        name="respiratory",
        values=np.stack(columns, axis=1),
        channels=names,
        train=slice(0, split),
        test=(test,),
        timestamps=np.arange(rows) / config.sample_rate,
        labels=labels,
        types=types,
    )


def _channels(sensors: int) -> tuple[str, ...]:
    kinds = list(_SENSORS)
    rounds = [f"_{i // len(kinds) + 1}" if i >= len(kinds) else "" for i in range(sensors)]
    return tuple(kinds[i % len(kinds)] + suffix for i, suffix in enumerate(rounds))


def _kinds(names: tuple[str, ...]) -> list[str]:
    return [name.split("_")[0] for name in names]


def _phase(rng: np.random.Generator, config: RespirationConfig, factor: Values) -> Values:
    wandering = _slow_noise(rng, len(factor), 30 * config.sample_rate)
    rate = config.breaths_per_minute / 60 * np.exp(config.rate_variability * wandering)
    return np.asarray(rng.uniform() + np.cumsum(rate * factor) / config.sample_rate)


def _depth(rng: np.random.Generator, config: RespirationConfig, phase: Values) -> Values:
    """Return the depth of the breath that each row belongs to, (rows,)."""
    # Every possible breath is drawn, so that events change no later breath.
    drawn = np.exp(config.depth_variability * rng.standard_normal(len(phase)))
    return np.asarray(drawn[phase.astype(np.int64) % len(phase)])


def _sensor(
    rng: np.random.Generator,
    config: RespirationConfig,
    kind: str,
    phase: Values,
    depth: Values,
    cough: Values,
) -> Values:
    centre, amplitude = _SENSORS[kind]
    breath = _volume(phase) if kind == "belt" else _nostril(phase)
    added = cough if kind == "belt" else 0.5 * np.abs(cough)
    wander = config.wander * _slow_noise(rng, len(phase), 60 * config.sample_rate)
    noise = config.noise * rng.standard_normal(len(phase))
    return np.asarray(centre + amplitude * (depth * breath + added + wander + noise))


def _volume(phase: Values) -> Values:
    """Return the air in the lungs, from 0 to 1 and back: up in a cosine, down faster at first."""
    up = 0.5 - 0.5 * np.cos(np.pi * phase / _INHALING)
    exhaled = np.clip((phase - _INHALING) / (1 - _INHALING), 0, 1)
    down = (0.5 + 0.5 * np.cos(np.pi * exhaled)) ** 1.5
    return np.asarray(np.where(phase < _INHALING, up, down))


def _nostril(phase: Values) -> Values:
    """Return warmth or moisture less their value at the start of a breath, a periodic lag."""
    inhale, exhale = np.exp(-_INHALING / _NOSTRIL_TIME), np.exp(-(1 - _INHALING) / _NOSTRIL_TIME)
    start = (1 - exhale) / (1 - inhale * exhale)
    cooling = start * np.exp(-phase / _NOSTRIL_TIME)
    warming = 1 - (1 - start * inhale) * np.exp(-(phase - _INHALING) / _NOSTRIL_TIME)
    return np.asarray(np.where(phase < _INHALING, cooling, warming) - start)


def _slow_noise(rng: np.random.Generator, rows: int, time_constant: float) -> Values:
    """Return an Ornstein-Uhlenbeck process of variance 1, smoothed once more, (rows,)."""
    keep = np.exp(-1 / max(1.0, time_constant / 2))
    white = rng.standard_normal(rows + round(10 * time_constant))
    twice = lfilter([1.0], [1, -2 * keep, keep**2], white)
    variance = (1 + keep**2) / (1 - keep**2) ** 3
    return np.asarray(twice[len(white) - rows :] / np.sqrt(variance))

"""Respiratory events: how they are set, where they go, and how a recording is given some."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, MinLen

from gormpo_density.errors import DataError
from gormpo_density.schema import Section
from gormpo_density.timeseries.series import Series, Values
from gormpo_density.timeseries.simulate.events import Span, labels_of, place_spans, taper
from gormpo_density.timeseries.simulate.injection import speed_up
from gormpo_density.timeseries.simulate.ranges import CountRange, NotNegative, Positive, Range

EventKind = Literal["apnea", "tachypnea", "shallow", "cough"]

_RAMP = 1.0  # seconds in which breathing changes to an event and back
_BASELINE = 10.0  # seconds of the moving average that breathing swings about
_BURST = 0.6  # seconds of one cough
_BURST_TIME = 0.15
_BURST_FREQUENCY = 2.2


class RespiratoryEvents(Section):
    """Which events happen, how often and how strongly.

    Apnea and hypopnea last at least ten seconds by the definition of sleep medicine; fast
    breathing of adults begins at 20 breaths a minute.

    Attributes:
        per_hour: Events an hour of the judged part, each kind equally often and at least once;
            those that find no room are left out.
        kinds: Which of them happen.
        severity: 0 is invisible, 1 is clear, as the numbers below say.
        apnea_seconds: Shortest and longest apnea.
        apnea_depth: What is left of the depth of breathing at severity 1.
        shallow_seconds: Shortest and longest time of shallow breathing (hypopnea).
        shallow_depth: What is left of the depth at severity 1.
        tachypnea_seconds: Shortest and longest time of fast breathing.
        tachypnea_rate: Factor on the rate at severity 1.
        coughs: Fewest and most coughs of a fit.
        cough_height: Height of a cough at severity 1, in amplitudes of a normal breath.

    Source:
        Berry et al. 2012, Rules for scoring respiratory events in sleep, J. Clin. Sleep Med. 8(5).
    """

    per_hour: Positive = 40.0
    kinds: Annotated[tuple[EventKind, ...], MinLen(1)] = ("apnea", "tachypnea", "shallow", "cough")
    severity: NotNegative = 1.0
    apnea_seconds: Range = (10.0, 25.0)
    apnea_depth: NotNegative = 0.05
    shallow_seconds: Range = (12.0, 30.0)
    shallow_depth: NotNegative = 0.35
    tachypnea_seconds: Range = (15.0, 40.0)
    tachypnea_rate: Annotated[float, Ge(1)] = 1.8
    coughs: CountRange = (2, 4)
    cough_height: NotNegative = 1.0


def place_events(
    rng: np.random.Generator, events: RespiratoryEvents, within: slice, sample_rate: float
) -> list[Span]:
    """Place the events in a part of a series, at least 3 s apart.

    Raises:
        DataError: There is no room for one event.
    """
    hours = (within.stop - within.start) / sample_rate / 3600
    n = max(len(events.kinds), round(events.per_hour * hours))
    rounds = -(-n // len(events.kinds))
    kinds = [str(kind) for _ in range(rounds) for kind in rng.permutation(events.kinds)][:n]
    lengths = [max(2, round(_seconds(rng, events, kind) * sample_rate)) for kind in kinds]
    spans = place_spans(rng, kinds, lengths, within, gap=round(3 * sample_rate))
    if not spans:
        raise DataError(f"{hours * 3600:.0f} s to judge have no room for an event")
    return spans


def gain(events: RespiratoryEvents, spans: list[Span], rows: int, sample_rate: float) -> Values:
    """Return the factor on the depth, (rows,): 1 but in apnea and shallow breathing."""
    depth = {"apnea": events.apnea_depth, "shallow": events.shallow_depth}
    factor = np.ones(rows)
    for span in spans:
        if span.kind in depth:
            weights = taper(span.stop - span.start, round(_RAMP * sample_rate))
            factor[span.rows] = 1 - min(1.0, events.severity * (1 - depth[span.kind])) * weights
    return factor


def rate_factor(
    events: RespiratoryEvents, spans: list[Span], rows: int, sample_rate: float
) -> Values:
    """Return the factor on the rate of breathing, (rows,): 1 but in tachypnea."""
    factor = np.ones(rows)
    for span in spans:
        if span.kind == "tachypnea":
            weights = taper(span.stop - span.start, round(_RAMP * sample_rate))
            factor[span.rows] += events.severity * (events.tachypnea_rate - 1) * weights
    return factor


def coughs(
    rng: np.random.Generator,
    events: RespiratoryEvents,
    spans: list[Span],
    rows: int,
    sample_rate: float,
) -> Values:
    """Return the coughs, (rows,), in amplitudes of a normal breath.

    A cough is -h exp(-t / 0.15 s) sin(2 pi 2.2 Hz t): the chest falls in, rebounds and settles.
    """
    signal = np.zeros(rows)
    burst = max(2, round(_BURST * sample_rate))
    t = np.arange(1, burst + 1) / sample_rate
    shape = -np.exp(-t / _BURST_TIME) * np.sin(2 * np.pi * _BURST_FREQUENCY * t)
    shape /= np.abs(shape).max()
    for span in spans:
        if span.kind == "cough":
            starts = range(span.start, span.stop - burst // 2, burst)
            for start in starts:
                height = events.severity * events.cough_height * rng.uniform(0.7, 1.3)
                length = min(burst, span.stop - start)
                signal[start : start + length] += height * shape[:length]
    return signal


def inject_respiratory_events(
    series: Series, events: RespiratoryEvents | None = None, seed: int = 0
) -> Series:
    """Give a real recording of breathing respiratory events with labels, in its judged part.

    apnea, shallow  the swing about the moving average of 10 s is damped;
    tachypnea       the recording is played faster, then fades back into itself;
    cough           a fit of coughs is added, in units of the training rows' amplitude.

    Args:
        series: Normal breathing, all channels of it, with timestamps in seconds.
        events: What happens; None takes the defaults.
        seed: The same seed gives the same events.

    Raises:
        DataError: The series has no evenly spaced seconds or has gaps, or is too short.
    """
    events = events or RespiratoryEvents()
    per_day = series.samples_per_day
    if per_day is None or np.isnan(series.values).any():
        raise DataError(f"{series.name}: needs timestamps, and values without gaps")
    sample_rate = per_day / 86400
    rng = np.random.default_rng(seed)
    spans = [span for part in series.test for span in place_events(rng, events, part, sample_rate)]
    rows = len(series.values)
    values = series.values.copy()
    for span in spans:
        if span.kind == "tachypnea":
            factor = 1 + events.severity * (events.tachypnea_rate - 1)
            values[span.rows] = speed_up(values, span, factor, round(_RAMP * sample_rate))
    baseline = _moving_average(values, round(_BASELINE * sample_rate))
    values += (gain(events, spans, rows, sample_rate)[:, None] - 1) * (values - baseline)
    values += coughs(rng, events, spans, rows, sample_rate)[:, None] * _amplitude(series)
    labels, types = labels_of(spans, rows)
    return replace(series, values=values, labels=labels, types=types)


def _seconds(rng: np.random.Generator, events: RespiratoryEvents, kind: str) -> float:
    if kind == "cough":
        return _BURST * int(rng.integers(*events.coughs, endpoint=True))
    ranges = {
        "apnea": events.apnea_seconds,
        "shallow": events.shallow_seconds,
        "tachypnea": events.tachypnea_seconds,
    }
    return float(rng.uniform(*ranges[kind]))


def _moving_average(values: Values, length: int) -> Values:
    """Return the centred moving average along time, with the ends repeated."""
    half = max(1, length // 2)
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    total = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    return np.asarray((total[2 * half + 1 :] - total[: -2 * half - 1]) / (2 * half + 1))


def _amplitude(series: Series) -> Values:
    """Return the height of a breath in each channel, (D,): from 5th to 95th percentile."""
    low, high = np.percentile(series.values[series.train], [5, 95], axis=0)
    return np.asarray(high - low)

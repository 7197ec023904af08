"""Anomalies put into data that is normal, to choose between detectors without any labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gormpo_density.errors import ConfigError, DataError, ShapeError
from gormpo_density.registry import suggestion
from gormpo_density.timeseries.series import NORMAL, Labels, Names, Values
from gormpo_density.timeseries.simulate.events import Span, labels_of, place_spans, taper

Change = Callable[[np.random.Generator, Values, Span, Values], Values]


class Injected(NamedTuple):
    """Values with anomalies; labels and kinds are per row of a series, per window of a collection.

    `types` is "" for a normal row and "normal" for a normal window.
    """

    values: Values
    labels: Labels
    types: Names


def inject_anomalies(
    values: Values,
    rng: np.random.Generator,
    *,
    kinds: Sequence[str] | None = None,
    share: float = 0.1,
    length: int = 50,
    severity: float = 1.0,
) -> Injected:
    """Put labelled anomalies into held-out normal data.

    In units of a channel's standard deviation s, and x the true values of a span:

    spike     up to 3 rows move by 3 s to 6 s, up or down;
    flat      the channel stays at the value before the span;
    shift     the span moves by 1 s to 2 s, up or down;
    noise     white noise of s / 2 to s is added;
    speed_up  the span is played at twice its speed, then fades back.

    The change is severity * (anomaly - x), in one to all channels.

    Args:
        values: A series (L, D) or windows (n, T, D); left as they are. NaN stays NaN.
        rng: Source of randomness.
        kinds: Some of `INJECTED_KINDS`; all of them by default, equally often.
        share: Of the rows, or of the windows, that become anomalous; at least one does.
        length: Rows of the longest anomaly; others last at least half of that, a spike 1 to 3.
        severity: 0 changes nothing but the labels, 1 is as above, more is easier to see.

    Raises:
        ShapeError: Values are neither a series nor windows.
        DataError: The series is too short for one anomaly.
        ConfigError: A kind is unknown, or a number is out of range.
    """
    kinds = INJECTED_KINDS if kinds is None else tuple(kinds)
    _check(kinds, share, length, severity)
    values = np.array(values, dtype=np.float64)
    if values.ndim == 2:
        return _into_series(values, rng, kinds, share, length, severity)
    if values.ndim == 3:
        return _into_windows(values, rng, kinds, share, length, severity)
    raise ShapeError(f"values must be (L, D) or (n, T, D), are {values.shape}")


def _check(kinds: Sequence[str], share: float, length: int, severity: float) -> None:
    problems = [
        f"kind {kind!r} is unknown{suggestion(kind, INJECTED_KINDS)}"
        for kind in kinds
        if kind not in _CHANGES
    ]
    if not kinds:
        problems.append("kinds is empty")
    if not 0 < share < 1:
        problems.append(f"share must lie between 0 and 1, is {share}")
    if length < 2:
        problems.append(f"length must be at least 2, is {length}")
    if severity < 0:
        problems.append(f"severity must be at least 0, is {severity}")
    if problems:
        raise ConfigError(problems)


def _into_series(
    values: Values,
    rng: np.random.Generator,
    kinds: Sequence[str],
    share: float,
    length: int,
    severity: float,
) -> Injected:
    rows = len(values)
    chosen, lengths = _draw(rng, kinds, length, lambda used: used >= share * rows)
    spans = place_spans(rng, chosen, lengths, slice(1, rows), gap=max(1, length // 2))
    if not spans:
        raise DataError(f"{rows} rows have no room for an anomaly of {lengths[0]} rows")
    scale = _scale(values)
    for span in spans:
        _apply(rng, values, span, scale, severity)
    labels, types = labels_of(spans, rows)
    return Injected(values, labels, types)


def _into_windows(
    values: Values,
    rng: np.random.Generator,
    kinds: Sequence[str],
    share: float,
    length: int,
    severity: float,
) -> Injected:
    n, steps, n_channels = values.shape
    longest = min(length, steps - 2)
    if longest < 2:
        raise DataError(f"windows of {steps} steps have no room for an anomaly")
    scale = _scale(values.reshape(-1, n_channels))
    types = np.full(n, NORMAL, dtype=f"<U{max(map(len, (NORMAL, *kinds)))}")
    chosen = rng.permutation(n)[: max(1, round(share * n))]
    names, lengths = _draw(rng, kinds, longest, lambda _: False, count=len(chosen))
    for window, kind, rows in zip(chosen, names, lengths, strict=True):
        start = int(rng.integers(1, steps - rows, endpoint=True))
        _apply(rng, values[window], Span(kind, start, start + rows), scale, severity)
        types[window] = kind
    return Injected(values, types != NORMAL, types)


def _draw(
    rng: np.random.Generator,
    kinds: Sequence[str],
    length: int,
    is_enough: Callable[[int], bool],
    count: int | None = None,
) -> tuple[list[str], list[int]]:
    """Draw kinds, each as often as any other, and lengths until they are enough."""
    chosen: list[str] = []
    lengths: list[int] = []
    while len(chosen) != count and not (lengths and is_enough(sum(lengths))):
        for kind in rng.permutation(np.array(kinds)):
            longest = min(3, length) if kind == "spike" else length
            shortest = 1 if kind == "spike" else max(2, length // 2)
            chosen.append(str(kind))
            lengths.append(int(rng.integers(shortest, longest, endpoint=True)))
            if len(chosen) == count or is_enough(sum(lengths)):
                break
    return chosen, lengths


def _scale(values: Values) -> Values:
    """Return each channel's standard deviation, 1 for one that is constant or all missing."""
    present = np.ma.masked_invalid(values)
    scale = np.asarray(present.std(axis=0).filled(0.0), dtype=np.float64)
    return np.where(scale > 0, scale, 1.0)


def _apply(
    rng: np.random.Generator, values: Values, span: Span, scale: Values, severity: float
) -> None:
    """Change the rows of a span in place, in a random choice of channels."""
    n_channels = values.shape[1]
    touched = rng.permutation(n_channels)[: rng.integers(1, n_channels, endpoint=True)]
    before = values[span.rows].copy()
    after = _CHANGES[span.kind](rng, values, span, scale)
    values[span.rows, touched] += severity * (after - before)[:, touched]


def _spike(rng: np.random.Generator, values: Values, span: Span, scale: Values) -> Values:
    return values[span.rows] + _signs(rng, scale) * rng.uniform(3, 6) * scale


def _flat(rng: np.random.Generator, values: Values, span: Span, scale: Values) -> Values:
    return np.repeat(values[span.start - 1 : span.start], span.stop - span.start, axis=0)


def _shift(rng: np.random.Generator, values: Values, span: Span, scale: Values) -> Values:
    return values[span.rows] + _signs(rng, scale) * rng.uniform(1, 2) * scale


def _noise(rng: np.random.Generator, values: Values, span: Span, scale: Values) -> Values:
    rows = values[span.rows]
    return rows + rng.uniform(0.5, 1) * scale * rng.standard_normal(rows.shape)


def _speed_up(rng: np.random.Generator, values: Values, span: Span, scale: Values) -> Values:
    return speed_up(values, span, factor=2.0, ramp=(span.stop - span.start) // 4)


def speed_up(values: Values, span: Span, factor: float, ramp: int) -> Values:
    """Return the rows of a span as they would be if time ran `factor` times as fast in it.

    The rows of the span and those after it are read at that speed; the last `ramp` rows fade
    back into the recording. Beyond the end of the recording it is read backwards.

    Args:
        values: (L, D).
        span: Where.
        factor: Above 1 is faster; 1 changes nothing.
        ramp: Rows of the fading, at both ends.
    """
    length = span.stop - span.start
    at = span.start + np.arange(length) + (factor - 1) * np.arange(1, length + 1)
    last = len(values) - 1
    at = np.abs(last - np.abs(last - at))
    low = np.minimum(at.astype(np.int64), last - 1)
    part = (at - low)[:, None]
    fast = (1 - part) * values[low] + part * values[low + 1]
    weights = taper(length, ramp)[:, None]
    return np.asarray(values[span.rows] + weights * (fast - values[span.rows]))


def _signs(rng: np.random.Generator, scale: Values) -> Values:
    return np.asarray(rng.choice([-1.0, 1.0], size=len(scale)))


_CHANGES: dict[str, Change] = {
    "spike": _spike,
    "flat": _flat,
    "shift": _shift,
    "noise": _noise,
    "speed_up": _speed_up,
}
INJECTED_KINDS = tuple(_CHANGES)
"""The kinds that `inject_anomalies` knows."""

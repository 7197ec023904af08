"""A simulated power converter: windows of voltage, current and temperature, with faults."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval
from scipy.signal import lfilter

from gormpo_density.schema import Section
from gormpo_density.timeseries.series import NORMAL, Collection, Names, Values
from gormpo_density.timeseries.simulate.ranges import NotNegative, Positive, Range, Share

CHANNELS = ("voltage", "current", "temperature")
ANOMALIES = ("voltage_spike", "current_oscillation", "temperature_drift")
"""The faults; the i-th shows first in the i-th of `CHANNELS`."""


class PowerConverterConfig(Section):
    """Parameters of `simulate_power_converter`; the defaults are a 48 V supply of 240 to 720 W.

    Attributes:
        num_samples: n, windows in all.
        time_steps: T, steps of a window.
        num_features: D: voltage alone, with current, or with temperature too.
        sample_rate: Steps a second, Hz.
        train_share: Share of the windows to learn from, all normal.
        anomaly_share: Share of the other windows that have a fault; each kind equally often.
        severity: Times every fault: 0 is invisible, 1 is easy to see.
        voltage: Nominal output, V.
        output_resistance: Static droop, V per A.
        transient_impedance: Dip at a load step before the control catches up, V per A.
        control_time: Time constant of the control, s.
        load: Range of the load's levels, A.
        load_steps: Mean number of load steps a window (Poisson).
        load_time: Time constant of the current, s.
        ripple_frequency: Of the rectified mains, Hz.
        voltage_ripple: Amplitude, V.
        current_ripple: Amplitude, A, a quarter period behind that of the voltage.
        ambient: Mean temperature around, degrees C.
        ambient_spread: Its standard deviation between windows, K.
        idle_loss: Loss without a load, W.
        on_resistance: Loss of the switches per squared current, ohm.
        thermal_resistance: Rise of the die's temperature per loss, K per W.
        thermal_time: Time constant of the die's temperature, s.
        voltage_noise: Standard deviation of the measurement, V.
        current_noise: The same, A.
        temperature_noise: The same, K.
        spike_height: Of a voltage spike, V.
        spike_time: Its time constant of decay, s.
        oscillation_amplitude: Of a current oscillation, A.
        oscillation_frequency: Its range, Hz.
        drift: Rise of the temperature at the end of a window, K.
    """

    num_samples: Annotated[int, Ge(4)] = 2000
    time_steps: Annotated[int, Ge(8)] = 100
    num_features: Annotated[int, Interval(ge=1, le=3)] = 3
    sample_rate: Positive = 1000.0
    train_share: Share = 0.6
    anomaly_share: Share = 0.3
    severity: NotNegative = 1.0
    voltage: Positive = 48.0
    output_resistance: NotNegative = 0.03
    transient_impedance: NotNegative = 0.08
    control_time: Positive = 0.006
    load: Range = (5.0, 15.0)
    load_steps: NotNegative = 0.5
    load_time: Positive = 0.002
    ripple_frequency: Positive = 100.0
    voltage_ripple: NotNegative = 0.15
    current_ripple: NotNegative = 0.3
    ambient: float = 25.0
    ambient_spread: NotNegative = 2.0
    idle_loss: NotNegative = 2.0
    on_resistance: NotNegative = 0.05
    thermal_resistance: NotNegative = 3.0
    thermal_time: Positive = 0.5
    voltage_noise: NotNegative = 0.05
    current_noise: NotNegative = 0.1
    temperature_noise: NotNegative = 0.1
    spike_height: NotNegative = 2.0
    spike_time: Positive = 0.0015
    oscillation_amplitude: NotNegative = 1.0
    oscillation_frequency: Range = (150.0, 250.0)
    drift: NotNegative = 2.0


def simulate_power_converter(
    config: PowerConverterConfig | None = None, seed: int = 0
) -> Collection:
    """Simulate windows of a DC supply behind a rectifier, some with a fault.

    Load current: steps between levels, low-passed with `load_time`, plus ripple at twice the
    mains frequency. Voltage: V = V0 - R I - Z (I - lowpass(I, control_time)) + ripple. Die
    temperature: tau dT/dt = T_ambient + R_th (P0 + R_on I^2) - T, in balance at the start.
    Each sensor adds white noise.

    Faults, each in one kind of window:

    voltage_spike        one to three jumps up or down that decay exponentially;
    current_oscillation  a sine in the current, swelling and fading, with its droop in the
                         voltage and its losses in the temperature;
    temperature_drift    from some moment on the die warms at a constant rate: cooling has failed.

    With fewer than three features only the faults of the channels there are happen.

    Args:
        config: All numbers; None takes the defaults.
        seed: The same seed gives the same windows. Severity scales the faults of a seed and
            changes nothing else.
    """
    config = config or PowerConverterConfig()
    rng = np.random.default_rng(seed)
    n_train = min(max(1, round(config.train_share * config.num_samples)), config.num_samples - 2)
    classes = _classes(rng, config, n_train)
    ripple_phase = rng.uniform(0, 2 * np.pi, size=(config.num_samples, 1))
    load = _load(rng, config)
    swing, spikes, drift = (fault(rng, config, classes) for fault in (_swing, _spikes, _drift))
    wave = 2 * np.pi * config.ripple_frequency * _seconds(config) + ripple_phase
    current = load + swing - config.current_ripple * np.cos(wave)
    voltage = _voltage(config, load + swing) + config.voltage_ripple * np.sin(wave) + spikes
    temperature = _temperature(rng, config, load, load + swing) + drift
    exact = np.stack([voltage, current, temperature], axis=-1)
    noise = np.array([config.voltage_noise, config.current_noise, config.temperature_noise])
    values = exact + noise * rng.standard_normal(exact.shape)
    return Collection(
        name="power_converter",
        values=np.ascontiguousarray(values[:, :, : config.num_features]),
        channels=CHANNELS[: config.num_features],
        train=np.arange(n_train),
        test=np.arange(n_train, config.num_samples),
        labels=classes != NORMAL,
        classes=classes,
    )


def _classes(rng: np.random.Generator, config: PowerConverterConfig, n_train: int) -> Names:
    n_test = config.num_samples - n_train
    n_faults = min(max(1, round(config.anomaly_share * n_test)), n_test - 1)
    kinds = [ANOMALIES[i % config.num_features] for i in range(n_faults)]
    test = rng.permutation(np.array([*kinds, *[NORMAL] * (n_test - n_faults)]))
    return np.concatenate([np.full(n_train, NORMAL, dtype=test.dtype), test])


def _seconds(config: PowerConverterConfig) -> Values:
    return np.arange(config.time_steps) / config.sample_rate


def _load(rng: np.random.Generator, config: PowerConverterConfig) -> Values:
    """Return the load current without ripple, (n, T)."""
    shape = (config.num_samples, config.time_steps)
    steps = rng.random(shape) < config.load_steps / config.time_steps
    steps[:, 0] = True
    levels = rng.uniform(*config.load, size=shape)
    last_step = np.maximum.accumulate(np.where(steps, np.arange(config.time_steps), 0), axis=1)
    return _lowpass(np.take_along_axis(levels, last_step, axis=1), config.load_time, config)


def _voltage(config: PowerConverterConfig, current: Values) -> Values:
    change = current - _lowpass(current, config.control_time, config)
    droop = config.output_resistance * current + config.transient_impedance * change
    return np.asarray(config.voltage - droop)


def _temperature(
    rng: np.random.Generator, config: PowerConverterConfig, load: Values, current: Values
) -> Values:
    ambient = rng.normal(config.ambient, config.ambient_spread, size=(config.num_samples, 1))
    loss = config.idle_loss + config.on_resistance * current**2
    start = config.idle_loss + config.on_resistance * load[:, :1] ** 2
    warmed = _lowpass(loss - start, config.thermal_time, config, start=0.0) + start
    return np.asarray(ambient + config.thermal_resistance * warmed)


def _lowpass(
    x: Values, time_constant: float, config: PowerConverterConfig, start: float | None = None
) -> Values:
    """Filter along time with y' = (x - y) / time_constant, from balance or from `start`."""
    keep = float(np.exp(-1 / (time_constant * config.sample_rate)))
    first = x[:, :1] if start is None else np.full_like(x[:, :1], start)
    return np.asarray(lfilter([1 - keep], [1, -keep], x, axis=1, zi=keep * first)[0])


def _spikes(rng: np.random.Generator, config: PowerConverterConfig, classes: Names) -> Values:
    """Return the voltage of the spikes, (n, T); zero in other windows."""
    n, steps = len(classes), config.time_steps
    count = rng.integers(1, 3, size=(n, 1), endpoint=True)
    at = rng.integers(0, steps - 4, size=(n, 3))
    height = rng.uniform(0.7, 1.3, size=(n, 3)) * rng.choice([-1, 1], size=(n, 3))
    height = config.severity * config.spike_height * height * (np.arange(3) < count)
    height[classes != "voltage_spike"] = 0
    impulses = np.zeros((n, steps))
    np.add.at(impulses, (np.arange(n)[:, None], at), height)
    decay = np.exp(-1 / (config.spike_time * config.sample_rate))
    return np.asarray(lfilter([1.0], [1.0, -decay], impulses, axis=1))


def _swing(rng: np.random.Generator, config: PowerConverterConfig, classes: Names) -> Values:
    """Return the current of the oscillations, (n, T); zero in other windows."""
    n, steps = len(classes), config.time_steps
    length = rng.uniform(0.4, 0.9, size=(n, 1)) * steps
    start = rng.uniform(0, 1, size=(n, 1)) * (steps - length)
    part = np.clip((np.arange(steps) - start) / length, 0, 1)
    swell = np.sin(np.pi * part) ** 2
    frequency = rng.uniform(*config.oscillation_frequency, size=(n, 1))
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1))
    amplitude = config.severity * config.oscillation_amplitude * rng.uniform(0.7, 1.3, (n, 1))
    amplitude[classes != "current_oscillation"] = 0
    return np.asarray(amplitude * swell * np.sin(2 * np.pi * frequency * _seconds(config) + phase))


def _drift(rng: np.random.Generator, config: PowerConverterConfig, classes: Names) -> Values:
    """Return the excess temperature of the drifts, (n, T); zero in other windows."""
    n, steps = len(classes), config.time_steps
    onset = rng.uniform(0, 0.5, size=(n, 1)) * steps
    rise = config.severity * config.drift * rng.uniform(0.7, 1.3, size=(n, 1))
    rise[classes != "temperature_drift"] = 0
    return np.asarray(rise * np.clip((np.arange(steps) - onset) / (steps - onset), 0, None))

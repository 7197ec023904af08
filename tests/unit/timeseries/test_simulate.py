from dataclasses import replace

import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.timeseries.simulate import (
    ECGConfig,
    PowerConverterConfig,
    RespirationConfig,
    RespiratoryEvents,
    inject_respiratory_events,
    simulate_ecg,
    simulate_power_converter,
    simulate_respiration,
)

POWER = PowerConverterConfig(num_samples=60, time_steps=40)
ECG = ECGConfig(num_samples=60)
BREATH = RespirationConfig(minutes=12, events=RespiratoryEvents(per_hour=60))
SIMULATORS = {
    "power": (simulate_power_converter, POWER),
    "ecg": (simulate_ecg, ECG),
    "respiration": (simulate_respiration, BREATH),
}
COLLECTIONS = {name: SIMULATORS[name] for name in ("power", "ecg")}


def still(config, **changes):
    """Return a configuration of the power converter without noise, ripple or load steps."""
    quiet = {
        "voltage_noise": 0.0,
        "current_noise": 0.0,
        "temperature_noise": 0.0,
        "voltage_ripple": 0.0,
        "current_ripple": 0.0,
        "load_steps": 0.0,
        "ambient_spread": 0.0,
    }
    return config.model_copy(update={**quiet, **changes})


@pytest.mark.parametrize(("simulate", "config"), SIMULATORS.values(), ids=SIMULATORS)
def test_a_seed_gives_the_same_data_again(simulate, config):
    np.testing.assert_array_equal(simulate(config, 5).values, simulate(config, 5).values)
    assert not np.array_equal(simulate(config, 5).values, simulate(config, 6).values)


@pytest.mark.parametrize(("simulate", "config"), COLLECTIONS.values(), ids=COLLECTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_severity_changes_the_anomalies_alone(simulate, config, seed):
    data = simulate(config, seed)
    normal = simulate(config.model_copy(update={"severity": 0.0}), seed)
    changed = (data.values != normal.values).any(axis=(1, 2))
    np.testing.assert_array_equal(changed, data.labels)
    np.testing.assert_array_equal(normal.classes, data.classes)
    assert not data.labels[data.train].any()
    assert len(data.train) == 36
    assert int(data.labels[data.test].sum()) == round(0.3 * 24)


@pytest.mark.parametrize(("simulate", "config"), COLLECTIONS.values(), ids=COLLECTIONS)
def test_more_severe_is_further_away(simulate, config):
    normal, mild, severe = (
        simulate(config.model_copy(update={"severity": severity}), 0).values
        for severity in (0.0, 0.5, 1.0)
    )
    distance = [np.square(data - normal).sum(axis=(1, 2)) for data in (mild, severe)]
    odd = distance[1] > 0
    assert (distance[0][odd] < distance[1][odd]).all()


@pytest.mark.parametrize("simulate", [simulate_power_converter, simulate_ecg])
def test_kinds_are_equally_frequent(simulate):
    kinds, counts = np.unique(simulate().classes, return_counts=True)
    faults = counts[kinds != "normal"]
    assert faults.max() - faults.min() <= 1


def test_power_without_noise_follows_its_equations():
    config = still(POWER)
    data = simulate_power_converter(config)
    voltage, current, temperature = np.moveaxis(data.values[data.train], -1, 0)
    assert ((current >= 5) & (current <= 15)).all()
    np.testing.assert_allclose(voltage, 48 - 0.03 * current, atol=1e-12)
    loss = 2 + 0.05 * current**2
    np.testing.assert_allclose(temperature, 25 + 3 * loss, atol=1e-9)
    np.testing.assert_allclose(current, current[:, :1].repeat(40, axis=1), atol=1e-12)


def test_power_ripple_and_noise_have_their_size():
    config = still(PowerConverterConfig(num_samples=200), voltage_ripple=0.2, current_noise=0.5)
    data = simulate_power_converter(config)
    within = data.values[data.train].std(axis=1).mean(axis=0)
    assert within[0] == pytest.approx(0.2 / np.sqrt(2), rel=1e-6)
    assert within[1] == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "channel"),
    [("voltage_spike", 0), ("current_oscillation", 1), ("temperature_drift", 2)],
)
def test_power_faults_show_first_in_their_channel(kind, channel):
    data = simulate_power_converter(still(POWER))
    normal = simulate_power_converter(still(POWER, severity=0.0))
    moved = np.abs(data.values - normal.values)[data.classes == kind].max(axis=1)
    assert (moved[:, channel] > 0.3).all()
    assert (moved.argmax(axis=1) == channel).all()


def test_power_oscillation_sags_and_warms():
    data = simulate_power_converter(still(POWER))
    odd = data.values[data.classes == "current_oscillation"]
    assert (odd.std(axis=1)[:, :2] > 0).all()
    assert (odd[:, -1, 2] > odd[:, 0, 2]).all()


@pytest.mark.parametrize("features", [1, 2, 3])
def test_power_has_the_features_asked_for(features):
    config = POWER.model_copy(update={"num_features": features})
    data = simulate_power_converter(config)
    assert data.values.shape == (60, 40, features)
    assert data.channels == ("voltage", "current", "temperature")[:features]
    assert len(set(data.classes)) == features + 1


def test_ecg_has_its_peak_in_place():
    quiet = {"wander": 0.0, "noise": 0.0, "jitter": 0.0, "shape_variability": 0.0}
    data = simulate_ecg(ECG.model_copy(update=quiet))
    normal = data.values[~data.labels, :, 0]
    assert set(normal.argmax(axis=1)) <= {55, 56}  # 40 % of 140 steps
    assert normal.max(axis=1) == pytest.approx(1.2, abs=0.05)
    inverted = data.values[data.classes == "t_inversion", 90:110, 0]
    assert (inverted.mean(axis=1) < 0).all()
    assert (normal[:, 90:110].mean(axis=1) > 0).all()


def quiet_breath(**changes):
    values = {"rate_variability": 0.0, "depth_variability": 0.0, "wander": 0.0, "noise": 0.0}
    return BREATH.model_copy(update={**values, **changes})


def upward_crossings(values, level):
    return int(((values[:-1] < level) & (values[1:] >= level)).sum())


def test_breathing_has_its_rate_and_depth():
    series = simulate_respiration(quiet_breath(minutes=20, breaths_per_minute=12.0))
    belt = series.values[series.train, 0]
    assert upward_crossings(belt, 0.5) in (119, 120, 121)
    assert belt.min() == pytest.approx(0, abs=1e-3)
    assert belt.max() == pytest.approx(1, abs=0.01)


def test_fast_breathing_is_fast():
    events = RespiratoryEvents(kinds=("tachypnea",), tachypnea_seconds=(40, 40), per_hour=30)
    series = simulate_respiration(quiet_breath(minutes=30, events=events))
    first = int(series.labels.argmax())
    inside = series.values[first + 10 : first + 390, 0]
    assert upward_crossings(inside, 0.5) == pytest.approx(38 * 15 / 60 * 1.8, abs=1.5)


@pytest.mark.parametrize("kind", ["apnea", "shallow", "cough"])
@pytest.mark.parametrize("seed", range(3))
def test_labels_cover_exactly_what_an_event_changes(kind, seed):
    events = RespiratoryEvents(kinds=(kind,), per_hour=60)
    config = BREATH.model_copy(update={"events": events, "sensors": 4})
    series = simulate_respiration(config, seed)
    calm_events = events.model_copy(update={"severity": 0.0})
    calm = simulate_respiration(config.model_copy(update={"events": calm_events}), seed)
    changed = (series.values != calm.values).all(axis=1)
    np.testing.assert_array_equal(calm.labels, series.labels)
    np.testing.assert_array_equal(changed, series.labels)
    assert set(series.types[series.labels]) == {kind}
    assert not series.labels[series.train].any()


def test_every_kind_happens_and_severity_zero_is_normal_breathing():
    series = simulate_respiration(BREATH)
    assert set(series.types) == {"", "apnea", "tachypnea", "shallow", "cough"}
    first = int(series.labels.argmax())
    events = BREATH.events.model_copy(update={"severity": 0.0})
    calm = simulate_respiration(BREATH.model_copy(update={"events": events}))
    np.testing.assert_array_equal(series.values[:first], calm.values[:first])
    assert calm.values.max() < 1.0 * np.exp(0.12 * 5) + 0.6


def test_sensors_are_named_and_differ():
    series = simulate_respiration(BREATH.model_copy(update={"sensors": 4}))
    assert series.channels == ("belt", "temperature", "humidity", "belt_2")
    assert series.values[:, 1].mean() == pytest.approx(32.5, abs=1)
    assert series.samples_per_day == pytest.approx(864000)
    assert np.corrcoef(series.values[:, 0], series.values[:, 3])[0, 1] > 0.8


def test_no_room_for_an_event():
    with pytest.raises(DataError, match="6 s to judge have no room for an event"):
        simulate_respiration(BREATH.model_copy(update={"minutes": 0.2}))


@pytest.mark.parametrize("seed", range(4))
def test_events_in_a_recording_change_the_labelled_rows_alone(seed):
    recording = simulate_respiration(quiet_breath(noise=0.02, sensors=2), seed=9)
    series = inject_respiratory_events(recording, BREATH.events, seed)
    changed = (series.values != recording.values).any(axis=1)
    np.testing.assert_array_equal(changed, series.labels)
    assert set(series.types) == {"", "apnea", "tachypnea", "shallow", "cough"}
    calm = inject_respiratory_events(
        recording, BREATH.events.model_copy(update={"severity": 0.0}), seed
    )
    np.testing.assert_array_equal(calm.values, recording.values)
    np.testing.assert_array_equal(calm.types, series.types)


def test_an_apnea_in_a_recording_is_almost_still():
    recording = simulate_respiration(quiet_breath())
    events = RespiratoryEvents(kinds=("apnea",), apnea_seconds=(20, 20))
    series = inject_respiratory_events(recording, events)
    first = int(series.labels.argmax())
    assert np.ptp(series.values[first + 20 : first + 180]) < 0.2
    assert np.ptp(recording.values[first + 20 : first + 180]) > 0.9


def test_a_recording_needs_times():
    recording = simulate_respiration(BREATH)
    with pytest.raises(DataError, match="needs timestamps"):
        inject_respiratory_events(replace(recording, timestamps=None))

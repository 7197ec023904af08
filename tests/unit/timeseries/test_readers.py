"""The formats of published data sets, on small files written here."""

import json

import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.ecg5000 import load_ecg5000
from gormpo_density.timeseries.readers.kdd21 import load_kdd21
from gormpo_density.timeseries.readers.nab import LIN_SERIES, load_nab
from gormpo_density.timeseries.readers.respiration import load_respiration
from gormpo_density.timeseries.readers.skab import load_skab

START = np.datetime64("2014-01-01 00:00:00", "s")


def write_nab(folder, file, times, windows, points=()):
    (folder / "data" / "real").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    lines = [f"{str(time).replace('T', ' ')},{row}" for row, time in enumerate(times)]
    (folder / "data" / "real" / f"{file}.csv").write_text("\n".join(["timestamp,value", *lines]))
    for name, entry in {"windows": windows, "labels": points}.items():
        text = json.dumps({f"real/{file}.csv": entry})
        (folder / "labels" / f"combined_{name}.json").write_text(text)


def minutes(n, step=5):
    return START + np.arange(n) * np.timedelta64(step, "m")


WINDOW = ["2014-01-01 00:30:00.000000", "2014-01-01 00:40:00.000000"]


@pytest.mark.parametrize("inside", ["nab", ""])
def test_nab_labels_windows_and_trains_before_the_first(tmp_path, inside):
    write_nab(tmp_path / inside, "cpu", minutes(20), [WINDOW], ["2014-01-01 00:35:00"])
    series = load_nab("cpu", tmp_path)
    np.testing.assert_array_equal(np.flatnonzero(series.labels), [6, 7, 8])
    assert (series.train, series.test) == (slice(0, 6), (slice(6, 20),))
    assert (series.name, series.channels) == ("nab_cpu", ("value",))
    assert series.samples_per_day == 288
    points = load_nab("cpu", tmp_path, labels="points")
    np.testing.assert_array_equal(np.flatnonzero(points.labels), [7])


def test_nab_trains_on_half_at_most(tmp_path):
    write_nab(tmp_path, "never", minutes(20), [])
    never = load_nab("never", tmp_path)
    assert never.train == slice(0, 10)
    assert not never.labels.any()
    write_nab(tmp_path, "late", minutes(20), [["2014-01-01 01:20:00", "2014-01-01 01:25:00"]])
    assert load_nab("late", tmp_path).train == slice(0, 10)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("nyc_taxi", slice(0, 5500), (slice(5500, 5600),)),
        ("machine_temperature", slice(5000, 15500), (slice(0, 5000), slice(15500, 15600))),
        (
            "machine_temperature_system_failure",
            slice(5000, 15500),
            (slice(0, 5000), slice(15500, 15600)),
        ),
    ],
)
def test_nab_spans_of_lin(tmp_path, name, train, test):
    file = LIN_SERIES[name][0] if name in LIN_SERIES else name
    write_nab(tmp_path, file, minutes(train.stop + 100), [])
    series = load_nab(name, tmp_path)
    assert (series.train, series.test) == (train, test)


def test_nab_clock_set_back_gets_even_times_after_labelling(tmp_path):
    times = minutes(20)
    times[10:] -= np.timedelta64(55, "m")
    write_nab(tmp_path, "clock", times, [WINDOW])
    series = load_nab("clock", tmp_path)
    np.testing.assert_array_equal(series.timestamps, minutes(20))
    np.testing.assert_array_equal(np.flatnonzero(series.labels), [6, 7, 8, 17, 18, 19])


def test_nab_problems(tmp_path):
    write_nab(tmp_path, "cpu", minutes(20), [["2014-01-01 00:00:00", "2014-01-01 00:05:00"]])
    with pytest.raises(DataError, match="no rows before the first anomaly"):
        load_nab("cpu", tmp_path)
    with pytest.raises(DataError, match=r"no gpu\.csv; it holds data, labels"):
        load_nab("gpu", tmp_path)
    (tmp_path / "labels" / "combined_windows.json").write_text("[1]")
    with pytest.raises(DataError, match=r"combined_windows\.json: is not a label file"):
        load_nab("cpu", tmp_path)
    (tmp_path / "labels" / "combined_windows.json").write_text("{}")
    with pytest.raises(DataError, match=r"says nothing about cpu\.csv"):
        load_nab("cpu", tmp_path)
    (tmp_path / "data" / "real" / "cpu.csv").write_text("timestamp,value\n1,2\n3,x\n")
    with pytest.raises(DataError) as caught:
        load_nab("cpu", tmp_path)
    assert [problem.split("cpu.csv: ")[1][:6] for problem in caught.value.problems] == [
        "line 3",
        "column",
    ]


def test_nab_short_file_of_lin(tmp_path):
    write_nab(tmp_path, "nyc_taxi", minutes(100), [])
    with pytest.raises(DataError, match="100 rows, but the first 5500 are to train on"):
        load_nab("nyc_taxi", tmp_path)


def test_kdd21_reads_its_name(tmp_path):
    path = tmp_path / "007_UCR_Anomaly_heart_beat_10_15_17.txt"
    path.write_text("\n".join(f"  {row}.0e+00" for row in range(20)))
    series = load_kdd21(path)
    assert series.name == "kdd21_007_heart_beat"
    assert (series.train, series.test) == (slice(0, 10), (slice(10, 20),))
    np.testing.assert_array_equal(series.values[series.labels, 0], [14, 15, 16])
    path.write_text(" ".join(map(str, range(20))))
    np.testing.assert_array_equal(load_kdd21(path).values, series.values)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("series.txt", "1 2", "the name must be NNN_UCR_Anomaly_NAME"),
        ("1_UCR_Anomaly_a_2_4_9.txt", "1 2 3 4 5", "its name does not fit its 5 rows"),
        ("1_UCR_Anomaly_a_2_1_2.txt", "1 2 3 4 5", "its name does not fit its 5 rows"),
        ("1_UCR_Anomaly_a_2_3_4.txt", "1 2 x 4 5", "could not convert string to float: 'x'"),
    ],
)
def test_kdd21_problems(tmp_path, name, content, text):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=text):
        load_kdd21(tmp_path / name)


def write_skab(path, rows, anomaly=()):
    times = START + np.arange(rows) * np.timedelta64(1, "s")
    lines = ["datetime;Current;Pressure" + (";anomaly;changepoint" if anomaly else "")]
    for row, time in enumerate(times):
        flags = f";{float(row in anomaly)};0.0" if anomaly else ""
        lines.append(f"{str(time).replace('T', ' ')};{row / 10};{row}{flags}")
    path.write_text("\n".join(lines))
    return path


def test_skab_trains_on_the_first_rows(tmp_path):
    series = load_skab(write_skab(tmp_path / "1.csv", 500, anomaly=range(390, 420)))
    assert series.name == "skab_1"
    assert series.channels == ("Current", "Pressure")
    assert (series.train, series.test) == (slice(0, 400), (slice(400, 500),))
    np.testing.assert_array_equal(np.flatnonzero(series.labels), range(390, 420))
    assert np.isnan(series.train_values[390:]).all()
    assert not np.isnan(series.train_values[:390]).any()


def test_skab_without_anomalies(tmp_path):
    series = load_skab(write_skab(tmp_path / "free.csv", 50), train_rows=20)
    assert not series.labels.any()
    assert len(series.values[series.train]) == 20


def test_skab_problems(tmp_path):
    with pytest.raises(DataError, match="50 rows, but 400 are to train on"):
        load_skab(write_skab(tmp_path / "short.csv", 50))
    (tmp_path / "bare.csv").write_text("datetime;anomaly\n2014-01-01;0")
    with pytest.raises(DataError, match="has no columns of sensors"):
        load_skab(tmp_path / "bare.csv")


def test_respiration_is_resampled(tmp_path):
    t = np.arange(5000) / 125
    wave = np.sin(2 * np.pi * 0.25 * t)
    lines = [f"{a:.6g},{b:.5f},0" for a, b in zip(t, wave, strict=True)]
    (tmp_path / "bidmc_Signals.csv").write_text("\n".join(["Time [s], RESP, II", *lines]))
    lines = ["# Sampling Rate (Hz):= 125.00", "# Labels:= Resp", *map(str, wave)]
    (tmp_path / "resp.txt").write_text("\n".join(lines))
    for name in ("bidmc_Signals.csv", "resp.txt"):
        series = load_respiration(tmp_path / name, sample_rate=10)
        assert series.values.shape == (400, 1)
        assert (series.train, series.test) == (slice(0, 200), (slice(200, 400),))
        expected = np.sin(2 * np.pi * 0.25 * series.timestamps)
        np.testing.assert_allclose(series.values[20:-20, 0], expected[20:-20], atol=5e-3)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "1\n2", "needs a line"),
        ("a.txt", "# Sampling Rate (Hz):= 5\n1\n2", "cannot give 10 Hz, has 5 Hz"),
        ("a.txt", "# Sampling Rate (Hz):= 10\n1\n2x", "could not convert"),
        ("a.txt", "# Sampling Rate (Hz):= 10\n1\nnan", "row 1 is missing"),
        ("a.txt", "# Sampling Rate (Hz):= 10\n1", "is too short"),
        ("a.csv", "Time [s],RESP\n0,1", "does not count seconds"),
        ("a.csv", "Time [s],RESPI\n0,1", "no column 'RESP', did you mean 'RESPI'"),
    ],
)
def test_respiration_problems(tmp_path, name, content, text):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=text):
        load_respiration(tmp_path / name, sample_rate=10)


def write_ecg5000(folder, labels=(1, 1, 2, 1, 5, 1, 1, 3, 4, 1)):
    folder.mkdir(exist_ok=True)
    for half, part in {"TRAIN": labels[:4], "TEST": labels[4:]}.items():
        lines = ["\t".join(map(str, [label, row, row])) for row, label in enumerate(part)]
        (folder / f"ECG5000_{half}.tsv").write_text("\n".join(lines))


@pytest.mark.parametrize("folder", ["ECG5000", "ecg5000", "ucr", "."])
def test_ecg5000_a_is_the_split_of_the_archive(tmp_path, folder):
    write_ecg5000(tmp_path / folder)
    beats = load_ecg5000(tmp_path)
    assert beats.values.shape == (10, 2, 1)
    np.testing.assert_array_equal(beats.train, [0, 1, 3])
    np.testing.assert_array_equal(beats.test, range(4, 10))
    assert list(beats.classes[4:9]) == [
        "unclassified",
        "normal",
        "normal",
        "ventricular",
        "supraventricular",
    ]


def test_ecg5000_b_trains_on_four_fifths_of_the_normals(tmp_path):
    write_ecg5000(tmp_path, labels=(*[1] * 20, 2, 3, 4, 5))
    beats = load_ecg5000(tmp_path, "B", seed=3)
    assert len(beats.train) == 16
    assert (len(beats.test), int(beats.labels[beats.test].sum())) == (8, 4)
    np.testing.assert_array_equal(beats.train, load_ecg5000(tmp_path, "B", seed=3).train)
    assert set(beats.train) != set(load_ecg5000(tmp_path, "B", seed=4).train)


def test_ecg5000_knows_its_classes(tmp_path):
    write_ecg5000(tmp_path, labels=(1, 1, 2, 7, 1, 1))
    with pytest.raises(DataError, match=r"the files hold \['7'\]"):
        load_ecg5000(tmp_path)

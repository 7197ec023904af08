import numpy as np
import pytest

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.datasets import available_series, load_series, series_source
from gormpo_density.timeseries.series import Collection, Series
from gormpo_density.timeseries.simulate import PowerConverterConfig

SMALL = {
    "power_converter": ({"num_samples": 20, "time_steps": 16}, Collection),
    "ecg_beats": ({"num_samples": 20, "time_steps": 32}, Collection),
    "respiratory": ({"minutes": 5.0}, Series),
}


def test_every_embedded_data_set_is_tried():
    assert set(SMALL) == {name for name in available_series() if series_source(name).is_embedded}


@pytest.mark.parametrize("name", SMALL)
def test_embedded_data_needs_no_files(name):
    options, kind = SMALL[name]
    data = load_series(name, options=options, seed=3)
    assert isinstance(data, kind)
    assert data.name == name
    np.testing.assert_array_equal(data.values, load_series(name, options=options, seed=3).values)
    assert not np.array_equal(data.values, load_series(name, options=options, seed=4).values)


@pytest.mark.parametrize("name", SMALL)
def test_defaults_validate_and_come_back(name):
    section = series_source(name).options
    assert section.model_validate_json(section().model_dump_json(), strict=True) == section()


def test_options_may_be_a_section():
    data = load_series("power_converter", options=PowerConverterConfig(num_samples=10))
    assert len(data.values) == 10


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_files_are_found_by_name(tmp_path):
    rows = "\n".join(f"2020-01-01 {i // 60 % 24:02d}:{i % 60:02d}:00;{i}" for i in range(500))
    for path in ("other/1.csv", "data/valve1/0.csv", "anomaly-free/anomaly-free.csv"):
        write(tmp_path / "skab" / path, "datetime;Current\n" + rows)
    write(tmp_path / "ucr_anomaly" / "135_UCR_Anomaly_x_2_4_5.txt", "1 2 3 4 5 6")
    assert load_series("skab_1", tmp_path).name == "skab_1"
    assert load_series("skab_valve1_0", tmp_path).name == "skab_0"
    assert load_series("skab_anomaly_free", tmp_path).name == "skab_anomaly-free"
    assert load_series("kdd21_135", tmp_path).name == "kdd21_135_x"
    path = tmp_path / "ucr_anomaly" / "135_UCR_Anomaly_x_2_4_5.txt"
    assert load_series(str(path)).name == "kdd21_135_x"


def test_recordings_get_events(tmp_path):
    wave = np.sin(np.arange(2400) / 6)
    lines = ["# Sampling Rate (Hz):= 10", *map(str, wave)]
    write(tmp_path / "resp" / "biosppy_resp.txt", "\n".join(lines))
    first, second = (load_series("biosppy", tmp_path, seed=seed) for seed in (0, 1))
    assert first.labels.any()
    assert not np.array_equal(first.labels, second.labels)


def test_a_csv_file_is_taken_as_it_stands_or_from_the_folder(tmp_path):
    write(tmp_path / "nab_own.csv", "x\n1\n2\n3\n4\n")
    for series in (
        load_series(str(tmp_path / "nab_own.csv"), options={"train_end": 1}),
        load_series("nab_own.csv", tmp_path, options={"train_end": 1}),
    ):
        assert series.train == slice(0, 1)
    with pytest.raises(DataError, match=r"absent\.csv: no such file, neither here nor in"):
        load_series("absent.csv", tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"severity": -1.0}, "severity must be greater than or equal to 0"),
        ({"num_sample": 5}, "num_sample is unknown, did you mean 'num_samples'?"),
        ({"load": [5.0, 1.0]}, "load must be [lowest, highest], is [5.0, 1.0]"),
        ({"num_features": 4}, "num_features must be less than or equal to 3"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ConfigError) as caught:
        load_series("power_converter", options=options)
    assert f"power_converter: {text}" in str(caught.value)


def test_a_nested_option_is_named():
    with pytest.raises(ConfigError, match=r"events\.coughs must be \[lowest, highest\]"):
        load_series("respiratory", options={"events": {"coughs": [3, 1]}})
    with pytest.raises(ConfigError, match=r"events\.kinds\.0 .*apnea"):
        load_series("respiratory", options={"events": {"kinds": ["sneeze"]}})


def test_options_of_csv_are_checked(tmp_path):
    write(tmp_path / "own.csv", "x\n1\n2\n3\n4\n")
    with pytest.raises(ConfigError, match="train_ende is unknown, did you mean 'train_end'"):
        load_series("own.csv", tmp_path, options={"train_ende": 1})
    series = load_series("own.csv", tmp_path, options={"intervals": [[2, 3]], "train_end": 0.25})
    assert series.labels.tolist() == [False, False, True, True]


def test_unknown_names_are_told():
    with pytest.raises(ConfigError, match="'power_convertor' is unknown, did you mean"):
        load_series("power_convertor")


def test_absent_files_are_told(tmp_path):
    with pytest.raises(DataError, match=r"nyc_taxi\.csv is needed: name the folder"):
        load_series("nab_nyc_taxi")
    write(tmp_path / "a.txt", "")
    with pytest.raises(DataError, match=r"no other/1\.csv; it holds a\.txt"):
        load_series("skab_1", tmp_path)
    for number in range(2):
        write(tmp_path / f"5_UCR_Anomaly_{number}_1_2_3.txt", "1 2 3 4")
    with pytest.raises(DataError, match="could be any of 5_UCR_Anomaly_0"):
        load_series("kdd21_5", tmp_path)

"""What a detection run learns from and judges."""

from pathlib import Path

import numpy as np
import pytest

from gormpo_density.detection.config import load_detect_config
from gormpo_density.detection.data import DetectData, absent_detect_data, load_detect_data
from gormpo_density.errors import DataError
from gormpo_density.timeseries.series import Collection, Series

LABELS = np.array([0, 1, 0, 0, 1, 0], dtype=bool)


def series(**changes) -> Series:
    arguments = {
        "name": "toy",
        "values": np.arange(12.0).reshape(6, 2),
        "channels": ("a", "b"),
        "train": slice(1, 3),
        "test": (slice(0, 1), slice(3, 6)),
        "timestamps": np.arange(6.0),
        "labels": LABELS,
    }
    return Series(**(arguments | changes))


def collection(**changes) -> Collection:
    kinds = np.where(LABELS, "spike", "normal")
    arguments = {
        "name": "toy",
        "values": np.arange(36.0).reshape(6, 3, 2),
        "channels": ("a", "b"),
        "train": np.array([0, 2]),
        "test": np.array([1, 3, 4]),
        "labels": LABELS,
        "classes": kinds,
    }
    return Collection(**(arguments | changes))


def data_config(*settings: str):
    return load_detect_config(None, settings).data


def test_a_series_is_judged_on_both_sides_of_what_trains() -> None:
    data = DetectData(series())
    assert data.parts.tolist() == ["test", "train", "train", "test", "test", "test"]
    assert data.judged.tolist() == [True, False, False, True, True, True]
    assert np.isnan(data.train[0]).all()  # labelled as an anomaly
    assert data.train_times.tolist() == [1.0, 2.0]
    assert (data.kinds[4], data.types, data.unit) == ("anomaly", ("anomaly",), "rows")


def test_types_are_those_among_what_is_judged() -> None:
    types = np.array(["", "cough", "", "", "apnea", ""])
    data = DetectData(series(types=types))
    assert data.types == ("apnea",)
    assert data.kinds.tolist() == ["normal", "cough", "normal", "normal", "apnea", "normal"]


def test_a_collection_is_judged_where_it_says() -> None:
    data = DetectData(collection())
    assert data.parts.tolist() == ["train", "test", "train", "test", "test", ""]
    assert (data.times, data.train_times, data.is_series) == (None, None, False)
    assert data.train.shape == (2, 3, 2)
    assert data.types == ("spike",)


def test_known_anomalies_are_those_that_are_not_judged() -> None:
    data = DetectData(collection(test=np.array([1, 3, 5])))
    np.testing.assert_array_equal(data.known_anomalies, data.values[4:5])
    assert DetectData(collection()).known_anomalies is None
    assert DetectData(series()).known_anomalies is None


def test_data_without_labels_is_all_normal_for_all_we_know() -> None:
    data = DetectData(collection(labels=None, classes=None))
    assert data.labels is None
    assert data.types == ()


def test_all_of_new_data_is_judged() -> None:
    data = DetectData(series(), is_new=True)
    assert data.judged.all()
    assert "to learn from" not in data.description
    assert "6 judged, 2 of them anomalous" in data.description


def test_the_description_has_names_shape_and_counts() -> None:
    text = DetectData(collection()).description
    assert text == (
        "toy: 6 windows of 3, 2 channels (a, b), shape (6, 3, 2); 2 to learn from, 3 judged, "
        "2 of them anomalous"
    )


def test_the_seed_decides_what_is_simulated() -> None:
    config = data_config("task=ecg_beats", "data.num_samples=20", "data.time_steps=30")
    first, same, other = (load_detect_data(config, seed).values for seed in (1, 1, 2))
    assert first.shape == (20, 30, 1)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_beats_stand_in_for_ecg5000_only_where_no_folder_is_named(tmp_path: Path) -> None:
    data = load_detect_data(data_config("task=ecg5000"), seed=0)
    assert (data.source.name, data.requested) == ("ecg_beats", "ecg5000")
    with pytest.raises(DataError, match="it holds nothing"):
        load_detect_data(data_config("task=ecg5000", f"data.data_dir={tmp_path}"), seed=0)


def test_absent_data_is_told(tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_text("x\n1\n")
    folder = f"data.data_dir={tmp_path}"
    assert absent_detect_data(data_config("task=power_converter")) is None
    assert absent_detect_data(data_config("task=ecg5000")) is None
    assert absent_detect_data(data_config("data.data_path=here.csv", folder)) is None
    assert absent_detect_data(data_config("data.data_path=gone.csv")) == "gone.csv: no such file"
    assert "needs --data-dir" in str(absent_detect_data(data_config("task=skab_1")))
    gone = absent_detect_data(data_config("task=skab_1", "data.data_dir=/nowhere"))
    assert gone == "/nowhere: no such folder"

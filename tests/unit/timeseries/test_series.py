from dataclasses import replace

import numpy as np
import pytest

from gormpo_density.errors import DataError, ShapeError
from gormpo_density.timeseries.series import Collection, Series, save_prepared

SERIES = Series(
    name="s",
    values=np.arange(20.0).reshape(10, 2),
    channels=("a", "b"),
    train=slice(2, 6),
    test=(slice(0, 2), slice(6, 10)),
    timestamps=np.arange(10) * 30.0,
    labels=np.arange(10) == 7,
    types=np.where(np.arange(10) == 7, "spike", ""),
)
COLLECTION = Collection(
    name="c",
    values=np.arange(24.0).reshape(4, 3, 2),
    channels=("a", "b"),
    train=np.array([0, 1]),
    test=np.array([2, 3]),
    labels=np.array([False, False, False, True]),
    classes=np.array(["normal", "normal", "normal", "spike"]),
)


def changed(array, at, value):
    copy = array.copy()
    copy[at] = value
    return copy


BAD_SERIES = {
    "one rank": ({"values": np.ones(3)}, "must be (L, D), are (3,)"),
    "no rows": ({"values": np.ones((0, 2))}, "must be (L, D), are (0, 2)"),
    "float32": ({"values": np.ones((10, 2), np.float32)}, "must be float64"),
    "infinite": (
        {"values": changed(SERIES.values, (4, 1), np.inf)},
        "channel 1 is infinite at 4",
    ),
    "few names": ({"channels": ("a",)}, "1 channel names for 2 channels"),
    "same names": ({"channels": ("a", "a")}, "two channels have one name: a, a"),
    "empty train": ({"train": slice(3, 3)}, "train is [3, 3), not a span of the 10 rows"),
    "steps": ({"train": slice(2, 6, 2)}, "train is [2, 6)"),
    "test outside": ({"test": (slice(6, 11),)}, "test 0 is [6, 11)"),
    "no test": ({"test": ()}, "nothing to judge"),
    "test in train": ({"test": (slice(5, 8),)}, "test 0 [5, 8) and train share rows"),
    "test order": ({"test": (slice(6, 10), slice(0, 2))}, "overlap, or are not in time order"),
    "test overlap": ({"test": (slice(6, 9), slice(8, 10))}, "overlap, or are not in time order"),
    "time stands": (
        {"timestamps": changed(SERIES.timestamps, 4, 90.0)},
        "timestamp 90.0 of row 4 does not come after 90.0",
    ),
    "time is text": ({"timestamps": np.full(10, "now")}, "must be dates or seconds"),
    "time is short": ({"timestamps": np.arange(9.0)}, "timestamps must be (10,), is (9,)"),
    "labels short": ({"labels": np.zeros(9, bool)}, "labels must be (10,), is (9,)"),
    "labels of numbers": ({"labels": np.zeros(10), "types": None}, "labels must be booleans"),
    "types alone": ({"labels": None}, "types of anomalies without labels"),
    "types differ": (
        {"labels": np.arange(10) == 8},
        "row 7 is labelled False, but its type is 'spike'",
    ),
}


@pytest.mark.parametrize(("fields", "text"), BAD_SERIES.values(), ids=BAD_SERIES)
def test_a_series_names_what_is_wrong(fields, text):
    with pytest.raises(DataError) as caught:
        replace(SERIES, **fields)
    assert text in str(caught.value)
    assert str(caught.value).startswith("s: ")


BAD_COLLECTIONS = {
    "two ranks": ({"values": np.ones((4, 3))}, "must be (n, T, D), are (4, 3)"),
    "NaN": (
        {"values": changed(COLLECTION.values, (2, 1, 0), np.nan)},
        "window 2 is NaN at step 1 of channel 0",
    ),
    "outside": ({"train": np.array([0, 4])}, "train has an index outside the 4 windows"),
    "negative": ({"train": np.array([-1])}, "train has an index outside the 4 windows"),
    "twice": ({"train": np.array([1, 1])}, "train has a window twice"),
    "shared": ({"test": np.array([1, 3])}, "window 1 is in train and in test"),
    "empty": ({"train": np.array([], np.int64)}, "train must be a list of indices"),
    "mask": ({"train": np.array([True, True, False, False])}, "train must be a list of indices"),
    "anomaly trains": (
        {"train": np.array([0, 3]), "test": np.array([2])},
        "window 3 is in train, but labelled as an anomaly",
    ),
    "labels short": ({"labels": np.zeros(3, bool)}, "labels must be (4,), is (3,)"),
}


@pytest.mark.parametrize(("fields", "text"), BAD_COLLECTIONS.values(), ids=BAD_COLLECTIONS)
def test_a_collection_names_what_is_wrong(fields, text):
    with pytest.raises(DataError) as caught:
        replace(COLLECTION, **fields)
    assert text in str(caught.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(DataError) as caught:
        replace(SERIES, channels=("a",), test=(), timestamps=np.zeros(10))
    assert len(caught.value.problems) == 3


def test_wrong_ranks_are_shape_errors():
    with pytest.raises(ShapeError):
        replace(SERIES, values=np.ones(3))


def test_labelled_rows_do_not_train_and_nothing_is_spliced():
    series = replace(SERIES, labels=np.isin(np.arange(10), [3, 7]), types=None)
    np.testing.assert_array_equal(series.train_values[[0, 2, 3]], SERIES.values[[2, 4, 5]])
    assert np.isnan(series.train_values[1]).all()
    assert not np.isnan(series.values).any()


def test_samples_per_day_counts_seconds_and_dates():
    minutes = np.datetime64("2014-01-01") + np.arange(10) * np.timedelta64(5, "m")
    assert SERIES.samples_per_day == 2880
    assert replace(SERIES, timestamps=minutes).samples_per_day == 288
    assert replace(SERIES, timestamps=None).samples_per_day is None


def test_a_gap_does_not_change_samples_per_day():
    times = np.concatenate([np.arange(5) * 30.0, 9000 + np.arange(5) * 30.0])
    assert replace(SERIES, timestamps=times).samples_per_day == 2880


def test_prepared_series_can_be_inspected(tmp_path):
    save_prepared(SERIES, tmp_path / "prepared.npz", windows=np.ones((2, 3, 2)))
    with np.load(tmp_path / "prepared.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["values"], SERIES.values)
        np.testing.assert_array_equal(stored["train"], [[2, 6]])
        np.testing.assert_array_equal(stored["test"], [[0, 2], [6, 10]])
        np.testing.assert_array_equal(stored["labels"], SERIES.labels)
        assert stored["windows"].shape == (2, 3, 2)
        assert list(stored["channels"]) == ["a", "b"]
        assert stored["types"][7] == "spike"


def test_prepared_collection_can_be_inspected(tmp_path):
    save_prepared(replace(COLLECTION, classes=None), tmp_path / "prepared.npz")
    with np.load(tmp_path / "prepared.npz", allow_pickle=False) as stored:
        assert set(stored) == {"values", "labels", "channels", "train", "test"}
        np.testing.assert_array_equal(stored["test"], [2, 3])

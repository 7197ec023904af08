from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.labelled import LabelledSet, label_text, write_labelled
from gormpo_density.timeseries.readers.ucr import read_windows

X = np.array([[0.5, -1.0, 2.0], [3.0, 4.0, 5.5]])


def test_labels_become_places_in_numeric_order():
    found = LabelledSet.of("two", X, [10, 9], X[:1], torch.tensor([10.0]))
    assert found.classes == ("9", "10")
    np.testing.assert_array_equal(found.train_y, [1, 0])
    np.testing.assert_array_equal(found.test_y, [1])
    assert found.train_x.shape == (2, 3, 1)
    assert found.train_x.dtype == np.float64


def test_other_labels_are_ordered_as_text():
    assert LabelledSet.of("two", X, ["up", "10"], X, ["up", "9"]).classes == ("10", "9", "up")


@pytest.mark.parametrize(
    ("label", "text"),
    [(1, "1"), (1.0, "1"), ("1.0000e+00", "1"), (" a ", "a"), (1.5, "1.5"), ("inf", "inf")],
)
def test_label_text(label, text):
    assert label_text(label) == text


BAD = {
    "rank": ((np.zeros(3), [1], X, [1, 1]), r"x_train: must be \(n, T\).*is \(3,\)"),
    "empty": ((np.zeros((0, 3)), [], X, [1, 1]), r"x_train: must be"),
    "ragged": (
        ([[1.0, 2.0], [1.0]], [1, 2], X, [1, 2]),
        "x_train: must be numbers, .* one length",
    ),
    "text": (([["a", "b"]], [1], X, [1, 2]), "x_train: must be numbers"),
    "halves": ((X, [1, 2], X[:, :2], [1, 2]), r"differ in shape: \(3, 1\) and \(2, 1\)"),
    "labels": ((X, [1], X, [1, 2]), "2 series but 1 labels in y_train"),
    "gap": (
        (X, [1, 2], np.array([[1, 2, np.nan]]), [1]),
        r"x_test: row 0, step 2, channel 0 is nan \(1 such values\); fill the gaps",
    ),
}


@pytest.mark.parametrize(("parts", "text"), BAD.values(), ids=BAD)
def test_bad_parts_are_named(parts, text):
    with pytest.raises(DataError, match=text):
        LabelledSet.of("bad", *parts)


def test_a_test_label_that_is_not_in_train_is_named():
    odd = LabelledSet.of("odd", X, ["a", "b"], X, ["a", "c"])
    with pytest.raises(DataError, match=r"odd: test labels \['c'\] are not in the training part"):
        odd.require_classes()
    LabelledSet.of("fine", X, ["a", "b"], X, ["a", "a"]).require_classes()


def test_a_single_class_is_told():
    with pytest.raises(DataError, match="lone: has a single class, 'a'"):
        LabelledSet.of("lone", X, ["a", "a"], X, ["a", "a"]).require_classes()


# Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".ts", ".tsv"])
@settings(max_examples=20, derandomize=True, deadline=None)
@given(
    x=arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(1)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_what_is_written_is_read_back_exactly(tmp_path_factory, suffix, x):
    path = tmp_path_factory.mktemp("written") / f"Some_TRAIN{suffix}"
    y = np.arange(len(x)) % 2
    write_labelled(path, x, y, ("-1", "up"))
    windows = read_windows(path)
    np.testing.assert_array_equal(windows.x, x)
    assert windows.labels == tuple(("-1", "up")[i] for i in y)


@pytest.mark.parametrize("suffix", [".npz", ".ts"])
def test_channels_are_read_back(tmp_path, suffix):
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    write_labelled(tmp_path / f"a{suffix}", x, [0, 1, 1], ("a", "b"))
    np.testing.assert_array_equal(read_windows(tmp_path / f"a{suffix}").x, x)


def test_the_header_of_ts_is_that_of_sktime_and_aeon(tmp_path):
    write_labelled(tmp_path / "My set.ts", np.ones((2, 3, 2)), [1, 0], ("1", "2"))
    assert (tmp_path / "My set.ts").read_text().splitlines() == [
        "@problemName My_set",
        "@timestamps false",
        "@missing false",
        "@univariate false",
        "@dimensions 2",
        "@equalLength true",
        "@seriesLength 3",
        "@classLabel true 1 2",
        "@data",
        "1.0,1.0,1.0:1.0,1.0,1.0:2",
        "1.0,1.0,1.0:1.0,1.0,1.0:1",
    ]


REFUSED = {
    "ending": ("a.csv", 1, "a", ConfigError, "must end in .npz, .tsv, .ts"),
    "channels": ("a.tsv", 2, "a", DataError, "a .tsv holds one channel, there are 2; use .ts"),
    "blank": ("a.tsv", 1, "a b", DataError, "label 'a b' cannot stand in a .tsv; use .npz"),
    "colon": ("a.ts", 1, "a:b", DataError, "label 'a:b' cannot stand in a .ts; use .npz"),
    "comment": ("a.tsv", 1, "#1", DataError, "label '#1' cannot stand in a .tsv; use .npz"),
}


@pytest.mark.parametrize(
    ("name", "channels", "label", "error", "text"), REFUSED.values(), ids=REFUSED
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, name, channels, label, error, text):
    with pytest.raises(error, match=text):
        write_labelled(tmp_path / name, np.ones((1, 2, channels)), [0], (label,))
    assert list(Path(tmp_path).iterdir()) == []

import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.csv_series import load_csv

DAY = [f"2024-01-01 {hour:02d}:00:00" for hour in range(10)]


@pytest.fixture
def write(tmp_path):
    def to_file(header, *columns, name="own.csv", delimiter=","):
        rows = zip(*columns, strict=True)
        lines = [delimiter.join(header), *[delimiter.join(map(str, row)) for row in rows]]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return to_file


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_found_by_name_and_kind(write, delimiter):
    flags = [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    words = ["on"] * 10
    path = write(
        ["Timestamp", "flow", "state", "Label", "heat"],
        *(DAY, range(10), words, flags, np.arange(10) / 2),
        delimiter=delimiter,
    )
    series = load_csv(path)
    assert series.name == "own"
    assert series.channels == ("flow", "heat")
    np.testing.assert_array_equal(series.values[:, 1], np.arange(10) / 2)
    np.testing.assert_array_equal(series.labels, np.array(flags, bool))
    assert series.timestamps[1] == np.datetime64("2024-01-01 01:00:00")
    assert (series.train, series.test) == (slice(0, 5), (slice(5, 10),))


def test_rows_are_counted_without_a_column_of_times(write):
    series = load_csv(write(["x"], range(4)))
    assert series.timestamps is None
    assert series.labels is None


def test_a_table_without_a_header(write):
    series = load_csv(write(["1", "2"], [3, 5, 7], [4, 6, 8]))
    assert series.channels == ("column_0", "column_1")
    np.testing.assert_array_equal(series.values[:, 0], [1, 3, 5, 7])


def test_seconds_are_times_and_a_unit_is_no_part_of_a_name(write):
    series = load_csv(write(["Time [s]", "x"], np.arange(4) * 0.5, range(4)))
    np.testing.assert_array_equal(series.timestamps, [0, 0.5, 1, 1.5])
    assert series.channels == ("x",)


def test_offsets_become_utc(write):
    times = ["2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+02:00", "2024-03-31T02:30:00Z"]
    series = load_csv(write(["time", "x"], times, range(3)))
    assert series.timestamps[0] == np.datetime64("2024-03-31T00:30")
    assert series.timestamps[2] == np.datetime64("2024-03-31T02:30")


def test_empty_cells_are_missing_values(write):
    series = load_csv(write(["x", "y"], [1, "", "NaN", 4], range(4)))
    np.testing.assert_array_equal(np.isnan(series.values[:, 0]), [False, True, True, False])


@pytest.mark.parametrize(
    ("train_end", "expected"),
    [(3, 3), (0.3, 3), ("2024-01-01 03:00:00", 3), ("2024-01-01 02:30", 3), (0.5, 5)],
)
def test_training_ends_at_a_row_a_time_or_a_fraction(write, train_end, expected):
    series = load_csv(write(["time", "x"], DAY, range(10)), train_end=train_end)
    assert series.train == slice(0, expected)


@pytest.mark.parametrize(
    ("intervals", "rows"),
    [
        ([[6, 7], [9, 9]], [6, 7, 9]),
        ([["2024-01-01 06:00", "2024-01-01 07:00"]], [6, 7]),
        ([["2024-01-01 05:30", "2024-01-01 07:30"]], [6, 7]),
        ([[6, "2024-01-01 08:00"]], [6, 7, 8]),
        ([], []),
    ],
)
def test_intervals_include_both_ends(write, intervals, rows):
    series = load_csv(write(["time", "x"], DAY, range(10)), intervals=intervals)
    np.testing.assert_array_equal(np.flatnonzero(series.labels), rows)


def test_intervals_count_beside_a_label_column_and_blank_the_training_rows(write):
    path = write(["x", "anomaly"], range(6), [0, 0, 0, 0, 1, 0])
    series = load_csv(path, intervals=[[1, 1]])
    np.testing.assert_array_equal(np.flatnonzero(series.labels), [1, 4])
    np.testing.assert_array_equal(np.isnan(series.train_values[:, 0]), [False, True, False])


def test_columns_may_be_named(write):
    path = write(["t", "x", "y", "bad"], DAY, range(10), range(10), [0] * 9 + [1])
    series = load_csv(path, time="t", values=["y"], label="bad")
    assert series.channels == ("y",)
    assert series.labels.sum() == 1


def test_an_empty_text_uses_neither_times_nor_labels(write):
    path = write(["time", "x", "label"], [3, 2, 1], range(3), [0, 0, 1])
    series = load_csv(path, time="", label="")
    assert (series.timestamps, series.labels) == (None, None)
    assert series.channels == ("x",)


X = (["x"], range(10))
T = (["time", "x"], DAY, range(10))
BAD = {
    "number": ((["x"], [1, 2, 3, "six"]), {}, "line 5, column 'x': 'six' is not a finite"),
    "infinite": ((["x"], [1, 2, "inf"]), {}, "line 4, column 'x': 'inf' is not a finite number"),
    "label": ((["x", "label"], [1, 2], [0, 2]), {}, "line 3, column 'label': '2' is not 0 or 1"),
    "date": ((["time", "x"], ["2024-01-01", "1.2.2024"], [1, 2]), {}, "'1.2.2024' is not a time"),
    "order": ((["time", "x"], [2, 1, 0], [1, 2, 3]), {}, "line 3: time 1.0 does not come after"),
    "no numbers": ((["x"], ["a", "b"]), {}, "no column of numbers"),
    "two times": ((["time", "date", "x"], *[[1, 2]] * 3), {}, "columns time and date could both"),
    "two names": ((["x", "x"], [1, 2], [1, 2]), {}, "line 1: two columns are called 'x'"),
    "delimiter": (X, {"delimiter": ""}, "delimiter must be one character, is ''"),
    "unknown": (X, {"values": ["xx"]}, "no column 'xx', did you mean 'x'?"),
    "ends late": (X, {"train_end": 10}, "train_end 10: row 10 is outside the 10 rows"),
    "ends at once": (X, {"train_end": 0}, "train_end 0: leaves 0 of 10 rows to train on"),
    "small fraction": (X, {"train_end": 0.01}, "train_end 0.01: leaves 0 of 10"),
    "no fraction": (X, {"train_end": 3.0}, "a fraction lies between 0 and 1"),
    "no times": (X, {"train_end": "2024-01-01"}, "the file has no column of times"),
    "no time": (T, {"train_end": "noon"}, "train_end 'noon'"),
    "interval outside": (X, {"intervals": [[3, 10]]}, "interval 0 [3, 10]: row 10 is outside"),
    "interval reversed": (X, {"intervals": [[4, 3]]}, "interval 0 [4, 3]: holds no row"),
    "interval of three": (X, {"intervals": [[1, 2, 3]]}, "interval 0 [1, 2, 3]"),
    "interval between": (
        T,
        {"intervals": [["2024-01-01 02:10", "2024-01-01 02:20"]]},
        "holds no row",
    ),
    "blank sensor": ((["x", "y"], range(4), ["", "", 1, 2]), {}, "'y': no value in the 2 rows"),
}


@pytest.mark.parametrize(("table", "options", "text"), BAD.values(), ids=BAD)
def test_bad_input_is_told_with_file_line_and_column(write, table, options, text):
    path = write(*table)
    with pytest.raises(DataError) as caught:
        load_csv(path, **options)
    assert any(text in problem for problem in caught.value.problems)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)


def test_every_problem_is_told_at_once(write):
    path = write(["time", "x", "label"], ["a", *DAY[1:]], ["?", *range(9)], [7, *[0] * 9])
    with pytest.raises(DataError) as caught:
        load_csv(path)
    assert [problem.split("column ")[1][:3] for problem in caught.value.problems] == [
        "'x'",
        "'ti",
        "'la",
    ]


def test_many_bad_cells_are_counted(write):
    path = write(["x"], [*range(20), *["?"] * 9])
    with pytest.raises(DataError) as caught:
        load_csv(path)
    assert caught.value.problems[-1].endswith("column 'x': 4 more such cells")
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "has no rows"),
        (b"x\n", "has no rows"),
        (b"x,y\n1,2\n3\n", "line 3: 1 cells for 2 columns"),
        (b"\xff\xfe\x00", "is not a csv file"),
    ],
)
def test_broken_files(tmp_path, content, text):
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        load_csv(path)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv: cannot be read"):
        load_csv(tmp_path / "absent.csv")


def test_blank_lines_are_skipped_and_lines_still_counted(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("x\n1\n\n2\nno\n3\n")
    with pytest.raises(DataError, match="line 5, column 'x': 'no'"):
        load_csv(path)

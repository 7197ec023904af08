import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.ucr import load_ucr, read_windows

X = np.array([[0.5, -1.0, 2.0], [3.0, 4.0, 5.5]])
TEXTS = {
    ".tsv": "-1\t0.5\t-1.0\t2.0\n1\t3\t4\t5.5\n",
    ".txt": "  -1.0000000e+00   5.0000000e-01  -1.0000000e+00   2.0000000e+00\n 1 3 4 5.5\n",
    "": "-1,0.5,-1.0,2.0\n1,3,4,5.5\n",
    ".ts": "# made here\n@problemName Two\n@data\n0.5,-1.0,2.0:-1\n3,4,5.5:1\n",
}


@pytest.mark.parametrize(("suffix", "text"), TEXTS.items())
def test_every_format_gives_the_same(tmp_path, suffix, text):
    path = tmp_path / f"Two_TRAIN{suffix}"
    path.write_text(text)
    windows = read_windows(path)
    np.testing.assert_array_equal(windows.x, X[..., None])
    assert windows.labels == ("-1", "1")


def test_npz(tmp_path):
    np.savez(tmp_path / "Two_TEST.npz", X=X.astype(np.float32), y=np.array([-1, 1]))
    windows = read_windows(tmp_path / "Two_TEST.npz")
    np.testing.assert_array_equal(windows.x, X[..., None])
    assert windows.labels == ("-1", "1")


def test_channels_of_ts(tmp_path):
    (tmp_path / "a.ts").write_text("@data\n1,2,3:4,5,6:up\n7,8,9:0,0,0:down\n")
    windows = read_windows(tmp_path / "a.ts")
    assert windows.x.shape == (2, 3, 2)
    np.testing.assert_array_equal(windows.x[0, :, 1], [4, 5, 6])
    assert windows.labels == ("up", "down")


@pytest.mark.parametrize("folder", ["ucr/Two", "Two", "two", "ucr", "."])
def test_a_set_is_found_and_its_labels_are_counted(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir(parents=True, exist_ok=True)
    (home / "Two_TRAIN.tsv").write_text("10\t1\t2\n9\t3\t4\n")
    (home / "Two_TEST").write_text("9 5 6\n-1 5 6\n")
    ucr = load_ucr("Two", tmp_path)
    assert ucr.classes == ("-1", "9", "10")
    np.testing.assert_array_equal(ucr.train_y, [2, 1])
    np.testing.assert_array_equal(ucr.test_y, [1, 0])
    assert ucr.test_x.shape == (2, 2, 1)


def test_halves_must_agree(tmp_path):
    (tmp_path / "Two_TRAIN.tsv").write_text("1\t1\t2\n")
    (tmp_path / "Two_TEST.tsv").write_text("1\t1\t2\t3\n")
    with pytest.raises(DataError, match=r"differ in shape: \(2, 1\) and \(3, 1\)"):
        load_ucr("Two", tmp_path)


BAD = {
    "padded": ("a.tsv", "1\t1\t2\n2\t3\tNaN\n", "line 2: ends after 1 of 2 steps; fill the gaps"),
    "missing": ("a.tsv", "1\tNaN\t2\n", r"line 1: step 0 is missing \(1 such\)"),
    "missing in ts": ("a.ts", "@data\n1,?,3:1\n", "line 2: step 1 is missing"),
    "shorter": ("a.tsv", "1\t1\t2\n2\t3\n", r"line 2: length and channels are \(1, 1\) where"),
    "text": ("a.tsv", "1\t1\tx\n", "line 1: could not convert string to float: 'x'"),
    "times": ("a.ts", "@data\n(0,1),(1,2):1\n", "values with timestamps"),
    "no label": ("a.ts", "@data\n1,2\n", "no label after a colon"),
    "channels differ": ("a.ts", "@data\n1,2:3:1\n", "line 2: the channels differ in length"),
    "empty": ("a.tsv", "", "has no rows"),
    "no archive": ("a.npz", "x", "does not hold arrays X and y"),
}


@pytest.mark.parametrize(("name", "content", "text"), BAD.values(), ids=BAD)
def test_problems_name_the_line(tmp_path, name, content, text):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=text) as caught:
        read_windows(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_npz_problems(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([[1.0, np.nan], [1.0, 2.0]]), y=np.zeros(2))
    with pytest.raises(DataError, match="row 0: ends after 1 of 2 steps"):
        read_windows(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", X=np.ones((2, 2)), y=np.zeros(3))
    with pytest.raises(DataError, match=r"X must be \(n, T\)"):
        read_windows(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", X=np.array([[object()]]), y=np.zeros(1))
    with pytest.raises(DataError, match="does not hold arrays"):
        read_windows(tmp_path / "c.npz")


def test_an_absent_set_lists_what_is_there(tmp_path):
    (tmp_path / "Coffee").mkdir()
    with pytest.raises(DataError, match=r"no Two_TRAIN\{.*\}; it holds Coffee"):
        load_ucr("Two", tmp_path)
    with pytest.raises(DataError, match="name the folder that holds it with data_dir"):
        load_ucr("Two", None)
    with pytest.raises(DataError, match="no such folder"):
        load_ucr("Two", tmp_path / "absent")

import contextlib
import os
import pickle

import h5py
import numpy as np
import pytest

from gormpo_density.data.files import load_file, load_rows
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import DataError

OBS = np.array([[0.0, 10], [1, 11], [2, 12], [50, 60], [51, 61]])
D4RL = {
    "observations": OBS,
    "actions": np.linspace(-1, 1, 5)[:, None],
    "rewards": np.arange(5.0),
    "next_observations": OBS + 1,
    "terminals": np.array([0, 0, 1, 0, 0], dtype=bool),
    "timeouts": np.array([0, 0, 0, 0, 1], dtype=bool),
}


class Run:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def write_npz(path, columns):
    with path.open("wb") as file:
        np.savez(file, **columns)


def write_compressed(path, columns):
    with path.open("wb") as file:
        np.savez_compressed(file, **columns)


def write_pickle(path, contents):
    path.write_bytes(pickle.dumps(contents))


def write_hdf5(path, columns):
    with h5py.File(path, "w") as file:
        for name, array in columns.items():
            file[name] = array


WRITERS = {".npz": write_npz, ".pkl": write_pickle, ".pickle": write_pickle}
WRITERS |= {".hdf5": write_hdf5, ".h5": write_hdf5, ".NPZ": write_compressed}


def check_d4rl(data):
    np.testing.assert_array_equal(data.obs, OBS)
    np.testing.assert_array_equal(data.next_obs, OBS + 1)
    np.testing.assert_array_equal(data.action, D4RL["actions"].astype(np.float32))
    np.testing.assert_array_equal(data.reward, D4RL["rewards"])
    np.testing.assert_array_equal(data.terminated, D4RL["terminals"])
    np.testing.assert_array_equal(data.truncated, D4RL["timeouts"])
    np.testing.assert_array_equal(data.episode, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("suffix", WRITERS)
def test_loads_named_arrays(suffix, tmp_path):
    path = tmp_path / f"hop{suffix}"
    WRITERS[suffix](path, D4RL)
    data = load_file(str(path))
    check_d4rl(data)
    assert data.info == DatasetInfo(f"hop{suffix}", "file")


def test_loads_a_list_of_trajectories(tmp_path):
    path = tmp_path / "x.pkl"
    write_pickle(path, [{k: v[:3] for k, v in D4RL.items()}, {k: v[3:] for k, v in D4RL.items()}])
    check_d4rl(load_file(path))


def test_loads_minari_episodes(tmp_path):
    path = tmp_path / "main_data.hdf5"
    episodes = {}
    for number, start in ((10, 3), (9, 0)):  # by number, not by name
        rows = slice(start, start + (3 if start == 0 else 2))
        group = f"episode_{number}"
        last = D4RL["next_observations"][rows][-1:]
        episodes[f"{group}/observations"] = np.concatenate([OBS[rows], last])
        episodes[f"{group}/infos/x_position"] = np.zeros(4)
        for minari, d4rl in (
            ("actions", "actions"),
            ("rewards", "rewards"),
            ("terminations", "terminals"),
            ("truncations", "timeouts"),
        ):
            episodes[f"{group}/{minari}"] = D4RL[d4rl][rows]
    write_hdf5(path, episodes)
    check_d4rl(load_file(path))


def test_loads_csv_columns(tmp_path):
    path = tmp_path / "x.csv"
    names = ["action_0", "obs_1", "obs_0", "next_obs_0", "next_obs_1", "reward", "terminated"]
    columns = [D4RL["actions"], OBS[:, ::-1], OBS + 1, D4RL["rewards"], D4RL["terminals"]]
    header = ",".join(f'"{name}"' for name in names)
    table = np.column_stack(columns)
    np.savetxt(path, table, delimiter=",", header=header, comments="\ufeff", encoding="utf-8")
    check_d4rl(load_file(path))


def test_unneeded_members_of_any_type_are_not_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, **D4RL, metadata=np.array({"env": Run()}, dtype=object))
    check_d4rl(load_file(path))


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("x.npz", {"X": [[1, 2], [3, 4]], "y": [0, 1]}),
        ("x.npz", {"anything": [[1, 2], [3, 4]]}),
        ("x.npz", {"a": [1, 3], "b": [2, 4]}),
        ("x.hdf5", {"data": [[1, 2], [3, 4]], "labels": [0, 1]}),
        ("x.pkl", np.array([[1, 2], [3, 4]])),
        ("x.pkl", [[1, 2], [3, 4]]),
        ("x.pkl", {"rows": [[1, 2], [3, 4]]}),
    ],
)
def test_loads_plain_rows(name, contents, tmp_path):
    path = tmp_path / name
    WRITERS[path.suffix](path, contents)
    rows = load_rows(path)
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])
    assert rows.dtype == np.float32


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "x,y\n1,2\n3,4", "temp (C), b\r\n1,2\r\n3, 4\r\n"])
def test_loads_rows_of_csv(text, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text, newline="")
    np.testing.assert_array_equal(load_rows(path), [[1, 2], [3, 4]])


def test_loads_npy_and_single_columns(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3))
    np.testing.assert_array_equal(load_rows(tmp_path / "x.npy"), [[0], [1], [2]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.mat", b"", r"unknown kind of file; known are \.npz .* \.csv"),
        ("x", b"", "unknown kind of file"),
        ("x.npz", b"", "is not an npz archive"),
        ("x.npz", b"\x93NUMPY", "is not an npz archive"),
        ("x.npy", b"not numpy at all", r"cannot be read as \.npy \(the magic string"),
        ("x.hdf5", b"\x89HDF", r"cannot be read as \.hdf5"),
        ("x.pkl", b"", "cannot be unpickled"),
        ("x.pkl", pickle.dumps(Run()), r"system, which is refused"),
        ("x.pkl", pickle.dumps(7), r"plain rows of shape \(\)"),
        ("x.pkl", pickle.dumps([]), "no trajectories"),
        ("x.pkl", pickle.dumps([[1], [2, 3]]), r"cannot be read as \.pkl"),
        ("x.pkl", pickle.dumps([{"obs": [1, 2], "act": 2}]), "trajectory 0: no action"),
        ("x.csv", b"", "has no rows"),
        ("x.csv", b"obs_0,action_0\n", "has no rows"),
        ("x.csv", b"1,2\n3,4", r"plain rows of shape \(2, 2\)"),
        ("x.csv", b"obs_0,action_0\n1,2\n3", r"columns changed from 2 to 1"),
        ("x.csv", b"obs_0,action_0\n1,2\n3,four", "could not convert string 'four'"),
        ("x.csv", b"obs_0,action_0\n1,", "could not convert string ''"),
        ("x.csv", b"obs_0,obs_0,action_0\n1,2,3", "has 2 different names for 3 columns"),
        ("x.csv", b"obs_0,obs_2,action_0\n1,2,3", "has 2 columns obs_.*, but no obs_1"),
        ("x.csv", b"obs_0,act_0\n1,2", "no action or actions; found"),
        ("x.csv", b"obs_0,action_0\n1,2\nnan,2\n3,4", "obs column 0 row 1 is nan"),
        ("x.csv", b"\xff\xfe\x00", "cannot be read as .csv"),
    ],
)
def test_bad_files_are_one_clear_error(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_file, load_rows])
def test_missing_files_are_named(load, tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz: no such file"):
        load(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".npz", ".NPZ", ".pkl", ".hdf5"])
def test_truncated_files_are_one_clear_error(suffix, tmp_path):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    WRITERS[suffix](whole, D4RL)
    content = whole.read_bytes()
    for end in range(0, len(content), max(1, len(content) // 40)):
        cut.write_bytes(content[:end])
        with pytest.raises(DataError, match="cut") as caught:
            load_file(cut)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".NPZ"])
def test_damaged_archives_never_end_in_another_error(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    WRITERS[suffix](path, D4RL)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            load_file(path)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("x.npz", D4RL, "holds observations, .*; expected one array, or X"),
        ("x.npz", {}, "holds nothing; expected one array"),
        ("x.npz", {"X": np.zeros((2, 2, 2))}, r"rows must have shape \(N, D\)"),
        ("x.npz", {"X": np.zeros((0, 2))}, r"rows must have shape \(N, D\)"),
        ("x.npz", {"X": [["a"]]}, "holds <U1 values, not numbers"),
        ("x.npz", {"X": [[0, 1], [0, np.nan]]}, "rows column 1 row 1 is nan"),
        ("x.npz", {"X": [[1e300]]}, "rows column 0 row 0 is inf"),
        ("x.npz", {"X": np.array([[None]])}, "Object arrays cannot be loaded"),
        ("x.pkl", [D4RL], "holds trajectories"),
    ],
)
def test_bad_rows_are_one_clear_error(name, contents, message, tmp_path):
    path = tmp_path / name
    WRITERS[path.suffix](path, contents)
    with pytest.raises(DataError, match=message):
        load_rows(path)

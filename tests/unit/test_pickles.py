import contextlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from gormpo_density.errors import DataError
from gormpo_density.pickles import load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Call:
    """Pickles as a call of `function` with `args`, the way a hostile pickle is made."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.array(["walk", "hop"]),
        np.arange(24, dtype=">i2").reshape(2, 3, 4).transpose(1, 0, 2),
        np.float64(3),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_reads_arrays_of_every_protocol(array, protocol):
    loaded = load_pickle(pickle.dumps(array, protocol))
    assert loaded.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_plain_containers(protocol):
    content = {
        "numbers": [1, 2.5, True, None, 1 + 2j, np.float32(3), np.int64(4)],
        "text": ("a", b"b", b""),
        "sets": {1, 2},
        "frozen": frozenset({3}),
        "ordered": OrderedDict(x=1),
    }
    assert load_pickle(pickle.dumps(content, protocol)) == content


def test_reads_object_arrays_of_arrays():
    array = np.empty(2, dtype=object)
    array[:] = [np.zeros(2), {"reward": np.ones(3)}]
    loaded = load_pickle(pickle.dumps(array))
    np.testing.assert_array_equal(loaded[0], np.zeros(2))
    np.testing.assert_array_equal(loaded[1]["reward"], np.ones(3))


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
def test_reads_what_numpy_1_and_2_wrote(core):
    content = pickle.dumps({"x": np.arange(3.0), "y": np.float64(2)}, 2)
    content = content.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", core)
    loaded = load_pickle(content)
    np.testing.assert_array_equal(loaded["x"], np.arange(3.0))
    assert loaded["y"] == 2


def test_reads_bytes_of_python_2():
    assert load_pickle(b"(dp0\nS'a\\xe9'\np1\nI1\ns.") == {"aé": 1}


def test_reads_files(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    assert load_pickle(path) == load_pickle(str(path)) == [1, 2]


def object_array(item):
    array = np.empty(1, dtype=object)
    array[0] = item
    return array


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(os.system, "touch hacked"), "system"),
        (Call(eval, "1 + 1"), "eval"),
        (Call(exec, "open('hacked', 'w')"), "exec"),
        (Call(getattr, np.ndarray, "tofile"), "getattr"),
        (Call(__import__, "os"), "__import__"),
        (Call(open, "hacked", "w"), "open"),
        (Call(np.load, "hacked", None, True), "load"),
        ({"observations": object_array(Call(os.system, "touch hacked"))}, "system"),
        ([Call(eval, "1")], "eval"),
        (Path("x"), "Path"),
        (os.system, "system"),
    ],
    ids=repr,
)
def test_refuses_every_other_name(content, name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"holds \S*{name}\S* which is refused.*npz"):
        load_pickle(pickle.dumps(content, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x80\x04\x8c\x08builtins\x8c\x0cset.__base__\x93.", "set.__base__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "ndarray.tofile"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"c_codecs\nencode\n(V1\nVrot13\ntR.", "rot13"),
        (b"(ipickle\nloads\n.", "pickle.loads"),
    ],
)
def test_refuses_hand_written_names(content, name):
    with pytest.raises(DataError, match=f"{name}.* is refused"):
        load_pickle(content)


LATIN1 = b"c_codecs\nencode\n(V%b\nVlatin1\ntR"
RAW = LATIN1 % (b"A" * 8)
EMPTY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
LYING_DTYPE = b"cnumpy\ndtype\n(VO8\nI00\nI01\ntR(I3\nV|\nNNNI-1\nI-1\nI0\ntb"
FLOATS = b"cnumpy\ndtype\n(Vf8\nI00\nI01\ntR"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cnumpy\nndarray\n((I1\ntVO\n%btR." % RAW, "not callable"),
        (EMPTY + b"(I1\n(I1\nt%bI00\n%btb." % (LYING_DTYPE, RAW), "raw memory"),
        (b"cnumpy._core.multiarray\nscalar\n(%b%btR." % (LYING_DTYPE, RAW), "OBJECT"),
        (EMPTY + b"(I1\n(I-1\nI-1\nt%bI00\n%btb." % (FLOATS, RAW), "unknown dimension"),
        (EMPTY + b"(I1\n(I9\nt%bI00\n%btb." % (FLOATS, RAW), "cannot reshape"),
        (b"cnumpy\ndtype\n(VO,f8\nI00\nI01\ntR.", "array of type"),
    ],
)
def test_refuses_memory_passed_off_as_something_else(content, message):
    with pytest.raises(DataError, match=message):
        load_pickle(content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_truncated_pickle_is_one_clear_error(protocol):
    content = pickle.dumps({"x": np.arange(4.0), "s": {1, 2}}, protocol)
    for end in range(len(content)):
        with pytest.raises(DataError, match="cannot be unpickled") as caught:
            load_pickle(content[:end])
        assert "\n" not in str(caught.value)


def test_damaged_bytes_never_end_in_another_error():
    content = pickle.dumps({"x": np.arange(4.0), "t": ("a", 1.5)}, 4)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        with contextlib.suppress(DataError):
            load_pickle(bytes(damaged))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pkl: cannot be read"):
        load_pickle(tmp_path / "absent.pkl")

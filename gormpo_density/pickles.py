"""Reading pickles that cannot run code: numpy arrays and plain containers, nothing else.

A pickle is a program that names functions to call while it is read. Here every name it may use
stands for a checked function of this module. Even numpy's own would not be safe: they take the
state of a dtype from the pickle, and one that lies can pass raw bytes off as Python objects.
"""

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gormpo_density.errors import DataError

_ARRAY_KINDS = "biufcSUO"  # bool, integers, floats, complex, bytes, text, objects


def load_pickle(source: str | Path | bytes) -> Any:
    """Read a pickle made of numpy arrays, numpy scalars, numbers, strings and plain containers.

    Pickles of numpy 1 and 2, of every protocol and of Python 2 (as latin-1) are read.

    Args:
        source: A file, or the bytes of one.

    Returns:
        What was pickled. Arrays may be of a subclass: pass them through `np.asarray`.

    Raises:
        DataError: The file is missing, truncated, corrupt, or names any other class or function
            (which is told).
    """
    if isinstance(source, bytes):
        return _load(source, "the pickle")
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    return _load(content, str(source))


def _load(content: bytes, place: str) -> Any:
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except _RefusedError as refused:
        raise DataError(
            f"{place} holds {refused}, which is refused, because reading a pickle can run any "
            "code; only numpy arrays and plain containers are read (save an npz file instead)"
        ) from None
    except Exception as error:  # a corrupt pickle can fail in any way: it drives the unpickler
        raise DataError(
            f"{place} cannot be unpickled ({type(error).__name__}: {error})"
        ) from error


class _RefusedError(Exception):
    """The pickle names or holds something that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


class _Dtype:
    """Stands for a pickled dtype: built from its code and byte order, never from its state."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.real = np.dtype(str(code))
        if self.real.kind not in _ARRAY_KINDS:
            raise _RefusedError(f"an array of type {self.real}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.real = self.real.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array in the making: empty until the pickle hands over its state."""

    def __setstate__(self, state: Any, /) -> None:
        _, shape, dtype, is_fortran, data = state
        is_object = dtype.real.kind == "O"
        if is_object and not isinstance(data, list):
            raise _RefusedError("raw memory as Python objects")
        data = data if is_object else _as_bytes(data)
        flat = np.empty(len(data), object) if is_object else np.frombuffer(data, dtype.real)
        true_shape = flat.reshape(shape).shape  # numpy trusts the shape it is given next
        super().__setstate__((1, true_shape, dtype.real, is_fortran, data))


def _as_bytes(data: Any) -> Any:
    return data.encode("latin1") if isinstance(data, str) else data  # str: from Python 2


def _reconstruct(subtype: object, shape: object, code: object) -> Any:
    return _Array(0)


def _scalar(dtype: _Dtype, data: Any) -> Any:
    return np.frombuffer(_as_bytes(data), dtype.real)[0]


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: Any, axes: Any = None) -> Any:
    items = np.frombuffer(data, dtype.real)
    if axes is None:
        return items.reshape(shape, order=order)
    return items.reshape(shape).transpose(axes)


def _encode(text: str, encoding: str) -> bytes:
    """Stand for `codecs.encode`, with which protocols 0 to 2 write bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[str, Any] = {
    "numpy.ndarray": None,  # only named, as the first argument of _reconstruct
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "collections.OrderedDict": collections.OrderedDict,
    "_codecs.encode": _encode,
    "__builtin__.bytes": bytes,
    "__builtin__.complex": complex,
    "__builtin__.set": set,
    "__builtin__.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
}

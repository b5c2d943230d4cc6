"""Reads the data in a pickle, and nothing else: lists, tuples, dicts, bytes, text, numbers, arrays.

Keras's cache holds two data sets as NumPy object arrays and two as Python pickles. No global of a
file is ever looked up: the few names NumPy writes map to the stand-ins below, any other is refused,
and arrays are built from checked parts. Refuses to write pickles.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.errors import KCValueError

MAX_BYTES = 1 << 30  # of one unpacked member


class _DType:
    """Stands in for `numpy.dtype` while a pickle is read."""

    def __init__(self, name: Any = "", *_: Any):
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not re.fullmatch(r"[biuf][1248]|O8?", text):
            raise _refused(f"an array of dtype {name!r}")
        self.name, self.order = text, "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise _refused(f"byte order {order!r}")
        self.order = "=" if order == "|" else order


class _Array:
    """Stands in for an array while a pickle is read; `value` is the array."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _DType) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise _refused(f"an array of shape {shape!r}")
        if dtype.name.startswith("O"):
            if not isinstance(data, list) or len(data) != math.prod(shape):
                raise _refused("an object array whose length is not its shape's")
            self.value = _objects(data)
        else:
            if isinstance(data, str):
                data = data.encode("latin1")
            kind = np.dtype(dtype.order + dtype.name)
            if not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
                raise _refused("an array whose bytes are not its shape's")
            self.value = np.frombuffer(data, kind)
        self.value = self.value.reshape(shape, order="F" if fortran else "C")


def _objects(items: Iterable[Any]) -> np.ndarray[Any, Any]:
    items = list(items)
    out = np.empty(len(items), object)
    out[:] = items
    return out


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
    if subtype is not _NDARRAY:
        raise _refused("an array of an unknown class")
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise _refused(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """`bytes()`, as old protocols spell an empty text; a length is no argument."""
    return b""


_NDARRAY = "numpy.ndarray"
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            raise _refused(f"{module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise _refused(f"the persistent object {pid!r}")


def _refused(what: str) -> KCValueError:
    return KCValueError(
        "KC405",
        f"a pickle that asks for {what}",
        "from a data file only lists, numbers, text and plain arrays are read; nothing in it is run",
        "delete the file and load the data set again",
    )


def loads(data: bytes, where: str) -> Any:
    """The plain data in the pickle `data`; `where` names it in errors.

    Raises KCValueError KC405 when it holds anything else, KC402 when it is damaged.
    """
    try:
        return _plain(_Reader(io.BytesIO(data), encoding="bytes").load())
    except KCValueError:
        raise
    except Exception as e:  # an unpickler raises whatever a damaged stream leads it to
        raise KCValueError(
            "KC402", f"{where}: {e!r}", "a data file is a whole pickle", "delete it and load again"
        ) from e


def _plain(x: Any) -> Any:
    if isinstance(x, _Array):
        return x.value
    if isinstance(x, dict):
        return {_plain(k): _plain(v) for k, v in x.items()}
    if isinstance(x, tuple):
        return tuple(_plain(v) for v in x)
    if isinstance(x, list) and any(isinstance(v, (_Array, dict, list, tuple)) for v in x):
        return [_plain(v) for v in x]
    return x


def load_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file by name; object arrays are read as plain data.

    Raises KCValueError KC402 for a damaged or oversized file, KC405 as `loads` does.
    """
    try:
        with zipfile.ZipFile(path) as z:
            large = [i.filename for i in z.infolist() if i.file_size > MAX_BYTES]
            if large:
                raise ValueError(f"{large[0]} unpacks to more than {MAX_BYTES} bytes")
            return {
                n.removesuffix(".npy"): _read_npy(z.read(n), f"{path}:{n}") for n in z.namelist()
            }
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as e:
        if isinstance(e, KCValueError):
            raise
        raise KCValueError(
            "KC402", f"{path}: {e}", "a data set is a whole .npz file", "delete it and load again"
        ) from e


def _read_npy(data: bytes, where: str) -> np.ndarray[Any, Any]:
    f = io.BytesIO(data)
    version = np.lib.format.read_magic(f)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{where} is of the unknown version {version}")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(f)
    if not dtype.hasobject:
        f.seek(0)
        return np.asarray(np.load(f, allow_pickle=False))
    found = loads(f.read(), where)
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise ValueError(f"{where} does not hold the array its header says")
    return found

"""Plain data is read; whatever asks for more is refused before it can do anything."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from kcompile.datasets.plain_pickle import load_npz, loads
from kcompile.errors import KCValueError


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data(protocol):
    data = {"a": [1, 2.5, None, True, (3, "x")], "b": b"bytes"}
    read = loads(pickle.dumps(data, protocol), "here")
    assert dict(read) == data


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.array(3, np.int64),
        np.array([1, 2], ">i4"), np.zeros((0, 4), np.float32), np.array([[1], [2, 3]], dtype=object),
        np.array([True, False]),
    ],
)  # fmt: skip
def test_arrays(array, protocol):
    read = loads(pickle.dumps([array], protocol), "here")[0]
    assert read.dtype == array.dtype and read.shape == array.shape
    assert read.tolist() == array.tolist()


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        (os.system, ("touch owned",)),
        (eval, ("open('owned', 'w')",)),
        (np.ndarray, ((10**12,),)),
        (np.dtype, ("O8,O8",)),
        (np.dtype, ([("a", "O")],)),
        (np.load, ("owned",)),
        (getattr, ("text", "upper")),
        (bytes, (10**12,)),
    ],
)
def test_anything_else_is_refused(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KCValueError, match=r"KC40[25]"):
        loads(pickle.dumps(Evil(*call)), "here")
    assert not list(tmp_path.iterdir())


def test_array_parts_must_agree():
    text = pickle.dumps(np.arange(4, dtype=np.uint8), 2)
    for old, new in ((b"K\x04\x85", b"K\x09\x85"), (b"u1", b"V1"), (b"u1", b"u8")):
        assert old in text
        with pytest.raises(KCValueError):
            loads(text.replace(old, new), "here")


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps([1, 2])[:-3], b"\x80\x04P1\n."])
def test_damage(data):
    with pytest.raises(KCValueError, match=r"KC40[25]"):
        loads(data, "here")


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    ragged = np.empty(2, object)
    ragged[:] = [[1, 2], [3]]
    np.savez_compressed(path, x=ragged, y=np.arange(3, dtype=np.int64))
    read = load_npz(path)
    assert read["x"].tolist() == [[1, 2], [3]] and read["y"].tolist() == [0, 1, 2]
    np.savez(path, x=np.array([Evil(os.system, ("touch owned",))], object))
    with pytest.raises(KCValueError, match="KC405"):
        load_npz(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(KCValueError, match="KC402"):
        load_npz(path)

"""A program written by hand, bound and stepped: memory, states, results, tracebacks."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

from codegen.program import Buffer, Kernel, Program
from runtime.executable import Executable
from runtime.memory import ALIGNMENT, aligned, arena, view
from runtime.store import StateStore

SOURCE = """
import numpy as np

def build(buffers, tools):
    w, x, t, loss = buffers
    flat = t.reshape(-1)
    def step():
        np.multiply(x, w, out=t)
        np.add.reduce(flat, axis=0, out=loss)
        np.add(w, 1.0, out=w)
        if x[0, 0] < 0:
            raise ValueError("negative")
    return step
"""


def program(**changes: object) -> Program:
    parts = dict(
        name="train",
        target="numpy",
        source=SOURCE,
        kernels=(Kernel("k0", ("w", "x"), ("loss", "w"), ("dense",), "mul reduce add", 24, 96),),
        buffers=(
            Buffer("w", "f32", (3,), "state", "dense/kernel", -1, 12),
            Buffer("x", "f32", (2, 3), "data", "x", -1, 24),
            Buffer("t", "f32", (2, 3), "temp", "", 0, 24),
            Buffer("loss", "f32", (), "result", "", 64, 4),
        ),
        arena_bytes=128,
        states=("w",),
        data=("x",),
        results=("loss",),
        key="0123456789abcdef",
    )
    return Program(**(parts | changes))


def store() -> StateStore:
    s = StateStore()
    s.put("dense/kernel", np.array([1, 2, 3], np.float32))
    return s


def test_steps_update_the_store_in_place():
    s = store()
    owned = s["dense/kernel"]
    exe = Executable(program(), s)
    x = np.ones((2, 3), np.float32)
    assert [r.item() for r in exe.run(x)] == [12.0]
    assert [r.item() for r in exe.run(x)] == [18.0]
    assert s["dense/kernel"] is owned and owned.tolist() == [3, 4, 5]


def test_buffers_are_aligned_and_results_stand_until_the_next_step():
    exe = Executable(program(), store())
    assert all(b.ctypes.data % ALIGNMENT == 0 for b in exe.buffers)
    exe.data[0][...] = 1
    exe.step()
    assert exe.results[0] == 12


def test_traceback_shows_the_generated_line():
    exe = Executable(program(), store())
    exe.data[0][...] = -1
    try:
        exe.step()
    except ValueError:
        text = traceback.format_exc()
    assert 'raise ValueError("negative")' in text and "<kcompile train 0123456789ab>" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), r"takes 1 arrays \(x\), not 0"),
        ((np.ones((3, 3), np.float32),), r"'x' has shape \(2, 3\), not \(3, 3\)"),
    ],
)
def test_wrong_data(given, words):
    with pytest.raises(ValueError, match=words):
        Executable(program(), store()).run(*given)


def test_states_must_be_there_with_their_type():
    with pytest.raises(KeyError, match="no state 'dense/kernel'"):
        Executable(program(), StateStore())
    s = StateStore()
    s.put("dense/kernel", np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"expects the state 'dense/kernel' as f32\[3\]"):
        Executable(program(), s)


def test_two_programs_share_states():
    s = store()
    one, two = Executable(program(), s), Executable(program(name="test"), s)
    x = np.ones((2, 3), np.float32)
    one.run(x)
    assert two.run(x)[0] == 18


def test_store_keeps_types_and_places():
    s = store()
    with pytest.raises(ValueError, match="keeps its type"):
        s.put("dense/kernel", np.zeros(3, np.float64))
    assert s["dense/kernel"].tolist() == [1, 2, 3]
    mine = np.zeros(2, np.float32)
    assert s.adopt("mine", mine) is mine and s["mine"] is mine
    with pytest.raises(ValueError, match="cannot move"):
        s.adopt("mine", mine.copy())
    with pytest.raises(ValueError, match="C-contiguous"):
        s.adopt("other", np.zeros((4, 4), np.float32).T[1:])
    assert list(s) == ["dense/kernel", "mine"] and s.nbytes == 20


def test_memory():
    assert aligned((3, 5), np.float64).flags.c_contiguous
    assert aligned((), np.float32).shape == ()
    assert aligned((0, 4), np.int32).size == 0
    a = arena(256)
    v = view(a, 64, "i32", (4, 4))
    v[...] = 7
    assert a[64] == 7 and v.base is not None
    with pytest.raises(ValueError, match="needs 320 bytes"):
        view(a, 256, "f32", (16,))
    with pytest.raises(ValueError, match="no multiple"):
        view(a, 2, "f32", (1,))

"""Steps over a data set in one call of C: the same states and results as batch after batch."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.text import parse
from runtime.drive import NativeDrive
from runtime.executable import Executable
from runtime.feed import Drive, feeder
from runtime.store import StateStore

STEP = """
def f(n: i32 = state("n"), s: f32[3] = state("s"), x: f32[4, 3] = data("x"), y: i32[4] = data("y")) -> (i32, f32[3], f32[4, 3], i32[4], i32[4],):
    one: i32 = full(shape=(), value=1, dtype=i32)
    m: i32 = add(n, one)
    c: f32[3] = reduce_sum(x, axes=(0,))
    t: f32[3] = add(s, c)
    e: f32[4, 3] = exp(x)
    z: i32[4] = neg(y)
    return m, t, e, z, z,
"""


def store() -> StateStore:
    made = StateStore()
    made.adopt("n", np.zeros((), np.int32))
    made.adopt("s", np.zeros(3, np.float32))
    return made


@pytest.mark.parametrize("shuffled", [False, True])
def test_many_steps_in_one_call_are_the_steps_one_by_one(
    shuffled: bool, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(22, 3)).astype("f"), np.arange(22, dtype=np.int32)
    order = rng.permutation(22) if shuffled else None
    program = generate(parse(STEP), "native")
    kept = []
    for kind in (NativeDrive, Drive):
        exe = Executable(program, store())
        drive = exe.drive([x, y])
        assert type(drive) is NativeDrive
        if kind is Drive:
            drive = Drive(
                lambda o, e=exe: feeder([x, y], e.data, o), exe.step, 4, lambda e=exe: e.results
            )
        out = [np.zeros((22, *a.shape[1:]), a.dtype) for a in exe.results]
        drive.begin(order, out)
        drive.run(0, 2)
        drive.run(2, 5)
        drive.begin(order)
        drive.run(1, 3)
        exe.run(x[:4], y[:4])
        kept.append([*out, *(s.copy() for s in exe.states), *(r.copy() for r in exe.results)])
    for a, b in zip(*kept, strict=True):
        assert np.array_equal(a, b)
    assert kept[0][3] == 8


def test_results_that_have_no_row_for_each_sample_are_refused() -> None:
    text = STEP.replace("i32[4], i32[4],)", "f32[3], i32[4],)").replace("e, z, z", "e, t, z")
    exe = Executable(generate(parse(text), "native"), store())
    drive = exe.drive([np.zeros((8, 3), np.float32), np.zeros(8, np.int32)])
    with pytest.raises(ValueError, match="row for each sample"):
        drive.begin(None, [np.zeros((8, *r.shape[1:]), r.dtype) for r in exe.results])


def test_data_of_another_dtype_is_fed_batch_by_batch() -> None:
    exe = Executable(generate(parse(STEP), "native"), store())
    assert type(exe.drive([np.zeros((8, 3)), np.zeros(8, np.int32)])) is Drive

"""Whole train steps as Triton programs: launches counted, and in the interpreter equal to the NumPy target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from codegen.program import Program
from runtime.executable import Executable
from runtime.store import StateStore
from tests.triton.plan import faults
from tests.triton.steps import cnn, lstm, mlp, train_graph

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram, host


@pytest.mark.parametrize(
    ("model", "rows"),
    [(lambda: cnn(9, (3, 5)), 3)]
    + [(lambda: mlp(6, 20), rows) for rows in (1, 17, 31, 32, 33)]
    + [(lambda: cnn(5, (3,)), rows) for rows in (1, 33)],
)
def test_three_steps_equal_the_numpy_target(model: Any, rows: int) -> None:
    built = model()
    graph, states = train_graph(built, rows)
    store = StateStore()
    for path, value in states.items():
        store.adopt(path, value.copy())
    ours = TritonProgram(generate(graph, "triton"), states)
    theirs = Executable(generate(graph, "numpy"), store)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.random(ours.data[0].shape, dtype=np.float32)
        y = rng.integers(0, 10, rows).astype("i4")
        ours.run(x, y)
        theirs.run(x, y)
        for path in states:
            a, b = host(ours.states[path]), store[path]
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=path)


def test_launches_of_a_step() -> None:
    programs = [generate(train_graph(m, 32)[0], "triton") for m in (mlp(), cnn(), lstm())]
    assert len(programs[0].kernels) <= 6
    assert len(programs[1].kernels) <= 24
    assert len(programs[2].kernels) <= 14
    loops = [k.schedule for k in programs[2].kernels if k.schedule["kind"] == "scan"]
    assert [(s["grid"], s["resident"]) for s in loops] == [(32, True)] * 2
    assert [faults(p) for p in programs] == [[], [], []]


def test_a_plan_that_is_wrong_is_found() -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    assert faults(p) == []
    one = next(b for b in p.buffers if b.offset > 0)
    moved = [replace(b, offset=0) if b is one else b for b in p.buffers]
    assert faults(replace(p, buffers=tuple(moved)))
    assert faults(replace(p, kernels=p.kernels[1:]))


def test_a_program_goes_through_json() -> None:
    program = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    again = Program.from_json(program.to_json())
    assert again.to_json() == program.to_json()
    assert [k.schedule["args"] for k in again.kernels] == [
        k.schedule["args"] for k in program.kernels
    ]

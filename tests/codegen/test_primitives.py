"""Every op of the table, on every case, as a NumPy program against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen.numpy.pointwise import BINARY, OTHERS, UNARY
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Graph, Role
from ir.interpret import interpret
from ir.passes.fold import POINTWISE
from runtime.executable import Executable
from runtime.store import StateStore
from tests.ops.cases import TYPED, Case, graph_for

TOLERANCE = {"float64": (1e-9, 1e-9), "float32": (2e-5, 2e-5), "float16": (2e-2, 2e-2)}


def as_step(graph: Graph) -> Graph:
    return graph.replace(roles=[Role("data", f"x{k}") for k in range(len(graph.inputs))])


def check(graph: Graph, arrays: Any, times: int = 2) -> Program:
    """Run the program of `graph` and compare every result with the interpreter's."""
    program = generate(as_step(graph))
    assert Program.from_json(program.to_json()) == program
    exe = Executable(program, StateStore())
    expected = interpret(graph, arrays)
    for _ in range(times):
        got = exe.run(*arrays)
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            rtol, atol = TOLERANCE.get(str(b.dtype), (0, 0))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=program.source)
    return program


@pytest.mark.parametrize(("c", "dtype"), TYPED)
def test_a_case_of_the_table(c: Case, dtype: str) -> None:
    graph, arrays = graph_for(c, dtype)
    check(graph, arrays)


def test_pointwise_ops_are_the_same_everywhere() -> None:
    """What the passes take for pointwise is what the renderer spells pointwise."""
    spelled = {*UNARY, *BINARY, *OTHERS} - {"uniform"}  # random bits as numbers: no op of the table
    assert spelled == POINTWISE - {"stop_gradient"}

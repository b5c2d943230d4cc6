"""Every case of every op of the graph as Triton kernels, in the interpreter, against the op's NumPy meaning."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from codegen.triton.spelling import SPELLING, STRUCTURAL, UNSUPPORTED
from ir.interpret import interpret
from ir.op import TABLE
from tests.ops.cases import CASES, Case, graph_for

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram


def test_each_op_has_a_spelling_or_a_reason() -> None:
    primitives = {n for n, o in TABLE.items() if not o.is_composite}
    known = {*SPELLING, *STRUCTURAL, *UNSUPPORTED}
    assert primitives - known == set()
    assert {*STRUCTURAL, *UNSUPPORTED} - {*TABLE} == set()
    assert not set(UNSUPPORTED) & {*SPELLING, *STRUCTURAL}


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_an_op_means_what_its_meaning_says(c: Case) -> None:
    graph, arrays = graph_for(c, "f64" if "body" in c.attrs else "f32")
    with np.errstate(all="ignore"):
        expected = interpret(graph, arrays)
    program = generate(graph, "triton")
    found = TritonProgram(program, {}).run(*arrays)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=program.source[2000:])

"""Every op of the table and its gradient, through every pass of the pipeline: valid and equal in value."""

from __future__ import annotations

import numpy as np
import pytest

from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.pipeline import stages
from ir.types import FLOATS, NUMPY
from ir.verify import verify
from tests.ops.cases import CASES, Case, graph_for


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_passes_keep_the_value(c: Case) -> None:
    graph, arrays = graph_for(c)
    floats = [v for v in graph.outputs if v.dtype in FLOATS]
    wrt = [v for v in graph.inputs if v.dtype in FLOATS]
    cotangents = [Value(v.type, name=f"ct{k}") for k, v in enumerate(floats)]
    smooth = c.op.vjp is not None or c.op.is_composite
    grads = [g for g in gradients(floats, wrt, cotangents) if g is not None] if smooth else []
    whole = graph_of("whole", [*graph.inputs, *cotangents], [*graph.outputs, *grads])
    rng = np.random.default_rng(0)
    given = [*arrays, *(rng.normal(size=v.shape).astype(NUMPY[v.dtype]) for v in cotangents)]
    want = interpret(whole, given)
    for name, after in stages(whole):
        verify(after)
        for a, b in zip(want, interpret(after, given), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9, err_msg=name)
            assert b.dtype == a.dtype

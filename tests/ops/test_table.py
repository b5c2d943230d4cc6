"""Every op of the table on every case: type rule against NumPy, body against type rule, gradient
against central differences in f64. And that no op is without a case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops
from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.key import key
from ir.op import TABLE, Op
from ir.text import dump, parse
from ir.types import FLOATS, NUMPY
from ir.verify import verify
from tests.ops.cases import CASES, TYPED, Case, graph_for

each_case = pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)


@pytest.mark.parametrize(("c", "dtype"), TYPED)
def test_the_type_rule_is_what_numpy_gives(c: Case, dtype: str) -> None:
    graph, arrays = graph_for(c, dtype)
    verify(graph)
    for out, result in zip(graph.outputs, interpret(graph, arrays), strict=True):
        assert result.shape == out.shape
        assert result.dtype == NUMPY[out.dtype]
        assert isinstance(result, np.ndarray)


@pytest.mark.parametrize("c", [c for c in CASES if c.op.is_composite], ids=lambda c: c.id)
def test_a_composite_has_the_type_of_its_body(c: Case) -> None:
    graph, _ = graph_for(c)
    node = graph.outputs[0].node
    assert c.op.body is not None
    body = c.op.body(*c.op.args(node.inputs), *node.attrs)
    body = body if isinstance(body, tuple) else (body,)
    assert [v.type for v in body] == [v.type for v in node.outs]


@pytest.mark.parametrize("c", [c for c in CASES if c.reference], ids=lambda c: c.id)
def test_the_meaning_is_that_of_the_reference(c: Case) -> None:
    graph, arrays = graph_for(c)
    assert c.reference is not None
    np.testing.assert_allclose(
        interpret(graph, arrays)[0], c.reference(*arrays), rtol=1e-12, atol=1e-12
    )


@each_case
def test_flops_are_counted(c: Case) -> None:
    node = graph_for(c)[0].outputs[0].node
    if c.op.is_composite:
        return
    assert c.op.flops is not None
    flops = c.op.flops(*c.op.args(tuple(v.type for v in node.inputs)), *node.attrs)
    assert isinstance(flops, int) and flops >= 0


@each_case
def test_the_text_reads_back(c: Case) -> None:
    graph, _ = graph_for(c)
    text = dump(graph)
    again = parse(text)
    assert key(again) == key(graph)
    assert dump(again) == text


def differentiable(op: Op) -> bool:
    return op.vjp is not None or op.is_composite


def _has_gradient(c: Case) -> bool:
    floats_in = any(a.dtype.kind == "f" for a in c.inputs)
    graph, _ = graph_for(c)
    return (
        differentiable(c.op) and floats_in and any(v.dtype in ("f32", "f64") for v in graph.outputs)
    )


GRADIENTS = [c for c in CASES if _has_gradient(c)]
# Without float operands, or with a gradient that is zero on purpose.
NO_SLOPE = {"full", "iota", "size", "random_uniform", "random_normal", "stop_gradient"}


def test_every_op_has_a_case() -> None:
    assert set(TABLE) - {c.op.name for c in CASES} == set()


def test_every_op_is_exported() -> None:
    exported = {op.name for op in vars(ir.ops).values() if isinstance(op, Op)}
    assert exported == set(TABLE)


def test_every_differentiable_op_has_a_gradient_case() -> None:
    want = {op.name for op in TABLE.values() if differentiable(op)} - NO_SLOPE
    assert want - {c.op.name for c in GRADIENTS} == set()


def _weighted(graph: Any, arrays: Any, weights: list[Any]) -> float:
    outs = interpret(graph, arrays)
    return sum(float(np.sum(o * w)) for o, w in zip(outs, weights, strict=True) if w is not None)


def check_gradient(graph: Any, arrays: Any, tolerance: float = 2e-7) -> None:
    """All gradients of a weighted sum of the float outputs, against central differences."""
    rng = np.random.default_rng(1)
    floats = [v for v in graph.outputs if v.dtype in FLOATS]
    weights = {v: rng.normal(size=v.shape).astype(NUMPY[v.dtype]) for v in floats}
    cotangents = [Value(v.type, name=f"ct{k}") for k, v in enumerate(floats)]
    wrt = [v for v in graph.inputs if v.dtype in FLOATS]
    grads = gradients(floats, wrt, cotangents)
    made = [g for g in grads if g is not None]
    result = graph_of("grad", [*graph.inputs, *cotangents], made)
    verify(result)
    found = iter(interpret(result, [*arrays, *(weights[v] for v in floats)]))
    per_output = [weights.get(v) for v in graph.outputs]
    for v, g in zip(wrt, grads, strict=True):
        k = graph.inputs.index(v)
        got = np.zeros(v.shape) if g is None else next(found)
        assert got.shape == v.shape
        if g is not None:
            assert g.type is v.type
        want = np.zeros(v.shape)
        h = 1e-5
        for at in np.ndindex(*v.shape):
            sides = []
            for sign in (1, -1):
                moved = [np.array(a) for a in arrays]
                moved[k][at] += sign * h
                sides.append(_weighted(graph, moved, per_output))
            want[at] = (sides[0] - sides[1]) / (2 * h)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 5)


@pytest.mark.parametrize("c", GRADIENTS, ids=lambda c: c.id)
def test_the_gradient_is_that_of_finite_differences(c: Case) -> None:
    graph, arrays = graph_for(c)
    if c.op.name in NO_SLOPE:
        assert gradients(graph.outputs, graph.inputs) == [None] * len(graph.inputs)
    elif any(v.dtype in ("f32", "f16") for v in graph.outputs):  # cast: differences are too coarse
        (g,) = gradients(graph.outputs, graph.inputs)
        assert g.type is graph.inputs[0].type
    else:
        check_gradient(graph, arrays)


@pytest.mark.parametrize(
    "c", [c for c in GRADIENTS if c.op.name == "contract"][::3], ids=lambda c: c.id
)
def test_contract_twice(c: Case) -> None:
    graph, arrays = graph_for(c)
    out = graph.outputs[0]
    ct = Value(out.type, name="ct")
    grads = gradients([out], graph.inputs, [ct])
    rng = np.random.default_rng(2)
    second = graph_of("second", [*graph.inputs, ct], grads)
    check_gradient(second, [*arrays, rng.normal(size=out.shape)])


SMOOTH = [
    "exp",
    "tanh",
    "sigmoid",
    "mul",
    "div",
    "power",
    "softmax",
    "log_softmax",
    "layer_norm",
    "batch_norm_train",
    "gelu",
    "silu",
]


@pytest.mark.parametrize(
    "c", [next(c for c in GRADIENTS if c.op.name == n) for n in SMOOTH], ids=lambda c: c.id
)
def test_second_order(c: Case) -> None:
    graph, arrays = graph_for(c)
    ct = Value(graph.outputs[0].type, name="ct")
    grads = gradients([graph.outputs[0]], graph.inputs, [ct])
    second = graph_of("second", [*graph.inputs, ct], grads)
    weight = np.random.default_rng(3).normal(size=ct.shape)
    check_gradient(second, [*arrays, weight], tolerance=1e-6)

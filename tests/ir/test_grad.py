"""Gradients: the traversal, and scans in particular, against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ir.ops as ops
from ir.grad import gradients
from ir.graph import Graph, Value, at, graph_of
from ir.interpret import interpret
from ir.op import IRError
from ir.passes.differentiate import differentiate
from ir.pipeline import optimise
from ir.types import NUMPY, Type
from ir.verify import verify


def val(*shape: int, dtype: str = "f64", name: str = "") -> Value:
    return Value(Type(dtype, shape), name=name)


def total(v: Value) -> Value:
    return ops.reduce_sum(v, axes=tuple(range(len(v.shape))))


def slope(graph: Graph, operands: list[np.ndarray], i: int, step: float = 1e-6) -> np.ndarray:
    out = np.zeros_like(operands[i])
    for k in np.ndindex(*operands[i].shape):
        ends = []
        for s in (step, -step):
            moved = [a.copy() for a in operands]
            moved[i][k] += s
            ends.append(float(interpret(graph, moved)[0]))
        out[k] = (ends[0] - ends[1]) / (2 * step)
    return out


def check(loss: Value, inputs: list[Value], tolerance: float = 1e-6) -> Graph:
    """Compare all gradients of `loss` with slopes, before and after the passes."""
    grads = gradients([loss], inputs)
    found = [(i, g) for i, g in enumerate(grads) if g is not None]
    graph = graph_of("grad", inputs, [loss, *(g for _, g in found)])
    verify(graph)
    rng = np.random.default_rng(0)
    operands = [
        np.asarray(rng.standard_normal(v.shape) * 0.7 if v.type.is_float else rng.integers(0, 3, v.shape))
        .astype(NUMPY[v.dtype])
        for v in inputs
    ]  # fmt: skip
    plain = graph_of("loss", inputs, [loss])
    optimised = optimise(graph)
    for results in (interpret(graph, operands), interpret(optimised, operands)):
        for (i, _), g in zip(found, results[1:], strict=True):
            np.testing.assert_allclose(g, slope(plain, operands, i), rtol=1e-5, atol=tolerance)
    return optimised


# -- the traversal --------------------------------------------------------------------------------


def test_no_dependence_is_none() -> None:
    x, y = val(2), val(2)
    i = val(2, dtype="i32")
    out = ops.mul(ops.cast(i, dtype="f64"), ops.stop_gradient(y))
    assert gradients([total(ops.add(out, x))], [y, i]) == [None, None]
    assert gradients([total(ops.exp(x))], [y]) == [None]


def test_contributions_add_up() -> None:
    x = val(3)
    check(total(ops.mul(ops.add(x, x), ops.mul(x, ops.sin(x)))), [x])


def test_an_output_among_wrt() -> None:
    x = val(3)
    y = ops.exp(x)
    gy, gx = gradients([y], [y, x])
    assert gy.node.op.name == "full"
    assert gx.node.op.name == "mul"


def test_given_cotangents() -> None:
    x, ct = val(3), val(3)
    y = ops.tanh(x)
    (g,) = gradients([y, y], [x], [ct, None])
    graph = graph_of("f", [x, ct], [g])
    a, b = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(interpret(graph, [a, b])[0], b * (1 - np.tanh(a) ** 2))
    with pytest.raises(IRError, match="cotangent"):
        gradients([y], [x], [val(2)])


def test_paths_of_the_gradient() -> None:
    x = val(3)
    with at("layer"):
        y = ops.gelu(ops.exp(x), approximate=True)
    (g,) = gradients([total(y)], [x])
    graph = graph_of("f", [x], [g])
    assert {n.at for n in graph.nodes} <= {"layer", "layer:grad", ":grad", ""}
    assert g.node.at == "layer:grad"
    (gg,) = gradients([total(g)], [x])
    assert not any(n.at.endswith(":grad:grad") for n in graph_of("f", [x], [gg]).nodes)


def test_ops_without_a_gradient_are_errors() -> None:
    x, i = val(4), val(2, dtype="i32")
    y = ops.sort(x, axis=0)
    check(total(ops.mul(y, y)), [x])
    assert gradients([ops.argmax(x, axis=0)], [x]) == [None]
    assert i.type.dtype == "i32"


def test_operands_of_a_composite_may_depend_on_each_other() -> None:
    x = val(3)
    y = ops.exp(x)
    check(total(ops.binary_cross_entropy(x, y)), [x])
    a, b = val(2, 3), val(3)
    g = ops.layer_norm(a, b, ops.mul(b, b), axes=(1,), epsilon=1e-3)
    check(total(ops.mul(g, g)), [a, b])


def test_differentiate_errors() -> None:
    x = val(3)
    with pytest.raises(IRError, match="float scalar"):
        differentiate(graph_of("f", [x], [ops.exp(x)]))


def test_differentiate_chooses_inputs() -> None:
    x, y = val(3), val(3)
    g = differentiate(graph_of("f", [x, y], [total(ops.mul(x, y))]), wrt=[1])
    assert [v.type for v in g.outputs] == [Type("f64"), y.type]


# -- scans ----------------------------------------------------------------------------------------

N, U, F, T = 2, 3, 2, 4


def _rnn(reverse: bool) -> tuple[Value, list[Value]]:
    h, x, w, u, b = val(N, U), val(N, F), val(F, U), val(U, U), val(U)
    z = ops.add(ops.contract(x, w, spec="mk,kn->mn"), ops.contract(h, u, spec="mk,kn->mn"))
    z = ops.add(z, ops.broadcast(b, shape=(N, U), axes=(1,)))
    n = ops.tanh(z)
    body = graph_of("rnn", [h, x, w, u, b], [n, ops.mul(n, n)])
    inputs = [val(N, U), val(T, N, F), val(F, U), val(U, U), val(U)]
    last, ys = ops.scan(*inputs, body=body, carries=1, xs=1, length=T, reverse=reverse)
    return ops.add(total(ops.mul(last, last)), total(ops.mul(ys, ops.sin(ys)))), inputs


def _elementwise(reverse: bool) -> tuple[Value, list[Value]]:
    """A constant whose share is no contraction, a carry of integers, one that nobody reads."""
    h, c, k, x, p = val(U), val(dtype="i32"), val(U), val(U), val(U)
    even = ops.eq(ops.mod(c, ops.full(value=2, shape=(), dtype="i32")), ops.zeros_like(c))
    n = ops.add(ops.mul(h, p), ops.select(ops.broadcast(even, shape=(U,), axes=()), x, ops.neg(x)))
    after = ops.add(c, ops.full(value=1, shape=(), dtype="i32"))
    body = graph_of(
        "step", [h, c, k, x, p], [n, after, ops.mul(k, x), ops.exp(ops.neg(ops.mul(n, n)))]
    )
    inputs = [val(U), val(dtype="i32"), val(U), val(T, U), val(U)]
    last, _, product, ys = ops.scan(*inputs, body=body, carries=3, xs=1, length=T, reverse=reverse)
    return ops.add(total(ops.mul(last, product)), total(ys)), inputs


def _nested(reverse: bool) -> tuple[Value, list[Value]]:
    h, x, w = val(U), val(U), val(U)
    inner = graph_of("inner", [h, x, w], [ops.tanh(ops.add(ops.mul(h, w), x))])
    g, xs, v = val(U), val(3, U), val(U)
    m = ops.scan(g, xs, v, body=inner, carries=1, xs=1, length=3, reverse=not reverse)
    outer = graph_of("outer", [g, xs, v], [m, ops.mul(m, v)])
    inputs = [val(U), val(T, 3, U), val(U)]
    last, ys = ops.scan(*inputs, body=outer, carries=1, xs=1, length=T, reverse=reverse)
    return ops.add(total(last), total(ops.mul(ys, ys))), inputs


def _forgotten(reverse: bool) -> tuple[Value, list[Value]]:
    """A carry that is not read, a final carry that is not used, a result that is an operand."""
    h, x, w = val(U), val(U), val(U)
    body = graph_of("step", [h, x, w], [ops.mul(x, w), x, ops.add(w, w), h])
    inputs = [val(U), val(T, U), val(U)]
    _, a, b, c = ops.scan(*inputs, body=body, carries=1, xs=1, length=T, reverse=reverse)
    return total(ops.mul(ops.mul(a, b), ops.sin(c))), inputs


SCANS = [_rnn, _elementwise, _nested, _forgotten]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("make", SCANS)
def test_scan(make: Callable[[bool], tuple[Value, list[Value]]], reverse: bool) -> None:
    loss, inputs = make(reverse)
    check(loss, inputs)


@pytest.mark.parametrize("make", [_rnn, _elementwise, _forgotten])
def test_scan_second_order(make: Callable[[bool], tuple[Value, list[Value]]]) -> None:
    loss, inputs = make(False)
    floats = [v for v in inputs if v.type.is_float]
    first = [g for g in gradients([loss], floats) if g is not None]
    inner = total(ops.mul(first[0], first[0]))
    for g in first[1:]:
        inner = ops.add(inner, total(ops.mul(g, g)))
    check(inner, inputs, 1e-4)


def test_scan_of_no_steps() -> None:
    h, x, w = val(U), val(U), val(U)
    body = graph_of("step", [h, x, w], [ops.add(ops.mul(h, w), x), x])
    inputs = [val(U), val(0, U), val(U)]
    last, ys = ops.scan(*inputs, body=body, carries=1, xs=1, length=0)
    check(ops.add(total(ops.mul(last, last)), total(ys)), inputs)


def test_weight_gradient_is_one_product_after_one_loop() -> None:
    loss, inputs = _rnn(False)
    graph = optimise(graph_of("f", inputs, [loss, *gradients([loss], inputs)]))
    names = [n.op.name for n in graph.nodes]
    assert names.count("scan") == 2
    products = [n for n in graph.nodes if n.op.name == "contract"]
    assert len(products) == 2
    assert all(n.inputs[0].shape[0] == n.inputs[1].shape[0] == T for n in products)
    back = [n for n in graph.nodes if n.op.name == "scan"][1].attr("body")
    assert len([n for n in back.nodes if n.op.name == "contract"]) == 2, "to x and to h"


def test_elementwise_share_is_carried() -> None:
    loss, inputs = _elementwise(False)
    graph = optimise(graph_of("f", inputs, [loss, *gradients([loss], [inputs[4]])]))
    back = [n for n in graph.nodes if n.op.name == "scan"][1]
    assert back.attr("carries") == 2


def test_elementwise_share_that_is_stacked_anyway_is_summed_after_the_loop() -> None:
    h, u, b = val(N, U), val(U, U), val(N, U)
    body = graph_of("step", [h, u, b], [ops.tanh(ops.add(ops.contract(h, u, spec="mk,kn->mn"), b))])
    inputs = [val(N, U), val(U, U), val(N, U)]
    loss = total(ops.scan(*inputs, body=body, carries=1, xs=0, length=T))
    graph = check(loss, inputs)
    back = [n for n in graph.nodes if n.op.name == "scan"][1]
    assert back.attr("carries") == 1


def test_lstm_merges_to_two_scans_for_each_layer() -> None:
    x, w, u, b = val(N, T, F), val(F, 4 * U), val(U, 4 * U), val(4 * U)
    h, c = val(N, U), val(N, U)
    hs, last, _ = ops.lstm(x, w, u, b, h, c)
    inputs = [x, w, u, b, h, c]
    graph = check(ops.add(total(ops.mul(hs, hs)), total(last)), inputs)
    assert [n.op.name for n in graph.nodes].count("scan") == 2
    back = [n for n in graph.nodes if n.op.name == "scan"][1].attr("body")
    assert [n.op.name for n in back.nodes].count("concat") == 1, "gates join without pads"
    assert not [n for n in back.nodes if n.op.name == "pad"]


def test_gru() -> None:
    x, w, u, b, h = val(N, T, F), val(F, 3 * U), val(U, 3 * U), val(2, 3 * U), val(N, U)
    hs, last = ops.gru(x, w, u, b, h, reset_after=True, reverse=True)
    graph = check(ops.add(total(ops.mul(hs, hs)), total(last)), [x, w, u, b, h])
    assert [n.op.name for n in graph.nodes].count("scan") == 2


@pytest.mark.parametrize(
    "change, why",
    [
        ({"carries": 3}, "results"), ({"carries": 0}, "operand"), ({"xs": 2}, "operand"), ({"xs": 9}, "sequences"),
        ({"length": 5}, "operand"),
    ],
)  # fmt: skip
def test_scan_type_errors(change: dict[str, int], why: str) -> None:
    h, x, w = val(U), val(U), val(U)
    body = graph_of("step", [h, x, w], [ops.add(ops.mul(h, w), x), x])
    attrs = {"body": body, "carries": 1, "xs": 1, "length": T} | change
    with pytest.raises(IRError, match=why):
        ops.scan(val(U), val(T, U), val(U), **attrs)

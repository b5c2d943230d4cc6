"""Type rules on named dimensions, gradients on them, and what each rule refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from ir.bind import bind
from ir.dims import Dim, dim
from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.op import IRError
from ir.types import Type
from ir.verify import verify

N, T = dim("N"), dim("T")


def v(*shape: Any, dtype: str = "f64") -> Value:
    return Value(Type(dtype, shape))


def test_convolution_keeps_the_batch_a_name() -> None:
    windows = (("i", "h", "a", 2, 1, 1), ("j", "w", "b", 1, 2, 0))
    y = ops.contract(
        v(N, 9, 8, 3), v(3, 2, 3, 4), spec="nijc,abcf->nhwf", windows=windows, out=(5, 6)
    )
    assert str(y.type) == "f64[N, 5, 6, 4]"


def test_reshape_merges_and_splits_names() -> None:
    x = ops.reshape(v(N, T, 6), shape=(N * T, 6))
    assert str(x.type) == "f64[N*T, 6]"
    assert str(ops.reshape(x, shape=(N, T, 2, 3)).type) == "f64[N, T, 2, 3]"
    with pytest.raises(IRError, match="elements"):
        ops.reshape(x, shape=(N, 6))


def test_extents_are_computed_on_names() -> None:
    assert ops.concat(v(N, 3), v(T, 3), axis=0).shape == (N + T, 3)
    assert ops.slice_(v(N, T), start=(0, 1), stop=(N, T), step=(1, 1)).shape == (N, T - 1)
    assert ops.slice_(v(T), start=(T - 1,), stop=(T,), step=(1,)).shape == (1,)
    assert ops.slice_(v(2 * T), start=(0,), stop=(2 * T,), step=(2,)).shape == (T,)
    assert ops.pad(v(T), low=(2,), high=(1,), interior=(1,)).shape == (2 * T + 2,)
    assert ops.gather(v(10, 4), v(N, T, dtype="i32"), axis=0).shape == (N, T, 4)
    assert ops.size(dim=N * T, dtype="f32").shape == ()


SHAPES: dict[str, Callable[[Value], Any]] = {
    "broadcast": lambda x: ops.broadcast(x, shape=(N, T, 2, 3), axes=(0, 1, 3)),
    "reduce_sum": lambda x: ops.reduce_sum(x, axes=(0, 1)),
    "reduce_mean": lambda x: ops.reduce_mean(x, axes=(0, 1)),
    "reduce_max": lambda x: ops.reduce_max(x, axes=(0,)),
    "reduce_prod": lambda x: ops.reduce_prod(x, axes=(0, 1)),
    "reshape": lambda x: ops.reshape(x, shape=(3 * N * T,)),
    "slice": lambda x: ops.slice_(x, start=(0, 1, 0), stop=(N, T, 3), step=(1, 1, 2)),
    "slice last": lambda x: ops.slice_(x, start=(0, T - 1, 0), stop=(N, T, 3), step=(1, 1, 1)),
    "slice stepped": lambda x: ops.slice_(x, start=(0, 0, 0), stop=(N, T, 3), step=(1, 2, 1)),
    "pad": lambda x: ops.pad(x, low=(0, 2, 0), high=(0, 0, 1), interior=(0, 1, 0)),
    "concat": lambda x: ops.concat(x, x, axis=0),
    "split": lambda x: ops.split(x, axis=1, sizes=(1, T - 1))[1],
    "softmax": lambda x: ops.softmax(x, axis=1),
    "logsumexp": lambda x: ops.logsumexp(x, axes=(1,)),
    "sort": lambda x: ops.sort(x, axis=1),
    "cumsum": lambda x: ops.cumsum(x, axis=1),
    "moments": lambda x: ops.add(*ops.moments(x, axes=(0, 1))),
    "contract": lambda x: ops.contract(x, x, spec="ntf,nsf->nts"),
    "unfold": lambda x: ops.unfold(x, windows=((1, 3, 1, 1, 1, T),)),
    "max_pool": lambda x: ops.max_pool(x, windows=((1, 2, 2, 1, 0, T // 2),)),
    "avg_pool": lambda x: ops.avg_pool(x, windows=((1, 2, 2, 1, 0, T // 2),)),
    "layer_norm": lambda x: ops.layer_norm(x, x3(x), x3(x), axes=(2,), epsilon=1e-3),
    "batch_norm": lambda x: ops.batch_norm_train(x, x3(x), x3(x), axis=2, epsilon=1e-3)[0],
    "lstm": lambda x: ops.lstm(x, full(3, 8), full(2, 8), full(8), full(N, 2), full(N, 2))[0],
    "gru": lambda x: ops.gru(x, full(3, 6), full(2, 6), full(2, 6), full(N, 2))[0],
}


def full(*shape: Any) -> Value:
    return ops.full(value=0.3, shape=shape, dtype="f64")  # type: ignore[no-any-return]


def x3(x: Value) -> Value:
    """One number per channel of x, depending on x."""
    first = ops.slice_(x, start=(0, 0, 0), stop=(1, 1, 3), step=(1, 1, 1))
    return ops.reshape(first, shape=(3,))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_on_names_are_those_on_numbers(name: str, rng: np.random.Generator) -> None:
    x = v(N, T, 3)
    out = SHAPES[name](x)
    (g,) = gradients([out], [x])
    assert g.type is x.type
    graph = graph_of("named", [x], [out, g])
    verify(graph)
    bound = bind(graph, N=2, T=5)
    verify(bound)
    array = rng.normal(size=(2, 5, 3))
    for a, b, o in zip(
        interpret(graph, [array]), interpret(bound, [array]), bound.outputs, strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert a.shape == o.shape and not any(isinstance(d, Dim) for d in o.shape)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "shapes": (lambda: ops.add(v(2), v(3)), "one type"),
    "dtypes": (lambda: ops.mul(v(2), v(2, dtype="f32")), "one type"),
    "exp of ints": (lambda: ops.exp(v(2, dtype="i32")), "floating"),
    "add of bools": (lambda: ops.add(v(2, dtype="bool"), v(2, dtype="bool")), "a number"),
    "predicate": (lambda: ops.select(v(2), v(2), v(2)), "bool"),
    "predicate shape": (lambda: ops.select(v(3, dtype="bool"), v(2), v(2)), "predicate has shape"),
    "negative axis": (lambda: ops.reduce_sum(v(2, 3), axes=(-1,)), "not in 0..1"),
    "axes out of order": (lambda: ops.reduce_sum(v(2, 3), axes=(1, 0)), "increasing"),
    "axis twice": (lambda: ops.reduce_sum(v(2, 3), axes=(1, 1)), "increasing"),
    "max of nothing": (lambda: ops.reduce_max(v(0, 3), axes=(0,)), "no extreme"),
    "broadcast": (lambda: ops.broadcast(v(2), shape=(3,), axes=(0,)), "cannot become 3"),
    "transpose": (lambda: ops.transpose(v(2, 3), perm=(0, 0)), "no permutation"),
    "slice": (lambda: ops.slice_(v(3), start=(1,), stop=(4,), step=(1,)), "not within 0:3"),
    "step": (lambda: ops.slice_(v(3), start=(0,), stop=(3,), step=(0,)), "positive"),
    "pad": (lambda: ops.pad(v(3), low=(-1,), high=(0,), interior=(0,)), "slice instead"),
    "concat": (lambda: ops.concat(v(3, 2), v(3, 3), axis=0), "differ"),
    "gather by floats": (lambda: ops.gather(v(3), v(2), axis=0), "index type"),
    "letters": (lambda: ops.contract(v(2, 3), v(4, 2), spec="mk,kn->mn"), "both 3 and 4"),
    "letter twice": (lambda: ops.contract(v(2, 2), v(2, 2), spec="ii,ij->j"), "occurs twice"),
    "lost letter": (lambda: ops.contract(v(2), v(2), spec="i,i->j"), "in no operand"),
    "window letter": (
        lambda: ops.contract(v(5), v(3), spec="i,t->", windows=(("i", "o", "t", 1, 1, 0),)),
        "must occur once",
    ),
    "no out": (
        lambda: ops.contract(v(5), v(3), spec="i,t->o", windows=(("i", "o", "t", 1, 1, 0),)),
        "`out` must give",
    ),
    "precision": (
        lambda: ops.contract(v(2), v(2), spec="i,i->", precision="fp8"),
        "precision must be one of",
    ),
    "window": (lambda: ops.unfold(v(5), windows=((0, 2, 0, 1, 0, 4),)), "positive"),
    "window twice": (lambda: ops.unfold(v(5), windows=((0, 2, 1, 1, 0, 4),) * 2), "two windows"),
    "labels": (lambda: ops.sparse_cross_entropy(v(3, 4), v(4, dtype="i32")), "labels must have"),
    "gamma": (
        lambda: ops.layer_norm(v(3, 4), v(3), v(4), axes=(1,), epsilon=0.1),
        "gamma and beta",
    ),
    "kernel": (lambda: ops.lstm(v(2, 3, 4), v(4, 8), v(2, 8), v(8), v(2, 3), v(2, 3)), "kernels"),
    "full of ints": (lambda: ops.full(value=0.5, shape=(), dtype="i32"), "not of dtype"),
    "full too great": (lambda: ops.full(value=300, shape=(), dtype="u8"), "does not fit"),
    "operands": (lambda: ops.add(v(2)), "takes 2 operands"),
    "attribute": (lambda: ops.reduce_sum(v(2), axis=0), "no attribute"),
    "names differ": (lambda: ops.add(v(N), v(T)), "one type"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, rule = REFUSED[name]
    with pytest.raises(IRError, match=rule):
        make()


def test_interpret_refuses_arrays_that_do_not_fit() -> None:
    x, y = v(N, 3), v(N)
    graph = graph_of("g", [x, y], [ops.reduce_sum(x, axes=(1,))])
    with pytest.raises(IRError, match="takes 2 arrays"):
        interpret(graph, [np.zeros((2, 3))])
    with pytest.raises(IRError, match="has shape"):
        interpret(graph, [np.zeros((2, 3)), np.zeros(4)])
    with pytest.raises(IRError, match="the array f32"):
        interpret(graph, [np.zeros((2, 3), np.float32), np.zeros(2)])


def test_interpret_rounds_bf16_after_every_op() -> None:
    x = v(3, dtype="f32")
    h = ops.cast(x, dtype="bf16")
    graph = graph_of("g", [x], [ops.add(h, h), ops.softmax(h, axis=0)])
    for out in interpret(graph, [np.array([1.1, 2.2, 3.3], np.float32)]):
        assert not np.any(out.view(np.uint32) & 0xFFFF)


def test_interpret_is_quiet_about_faults() -> None:
    x = v(2)
    graph = graph_of("g", [x], [ops.log(x), ops.div(x, x), ops.exp(ops.exp(ops.exp(ops.exp(x))))])
    logs, ratios, _ = interpret(graph, [np.array([0.0, 9.0])])
    assert logs[0] == -np.inf and np.isnan(ratios[0])


def test_nan_goes_through() -> None:
    x, nan = v(2), np.array([np.nan, 1.0])
    outs = [
        ops.relu(x),
        ops.maximum(x, ops.full_like(x, 0)),
        ops.reduce_max(x, axes=(0,)),
        ops.sign(x),
    ]
    for out in interpret(graph_of("g", [x], outs), [nan]):
        assert np.isnan(out.flat[0])

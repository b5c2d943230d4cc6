"""Loops over time as C: in blocks of rows where rows never meet, as they stand where they do; against the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.pipeline import generate
from codegen.program import Program
from ir.grad import gradients
from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import (
    add,
    broadcast,
    cast,
    contract,
    cumsum,
    flip,
    gather,
    gru,
    lstm,
    mul,
    reduce_sum,
    scan,
    select,
    sub,
    tanh,
    transpose,
)
from ir.pipeline import optimise
from ir.types import NUMPY, Type
from runtime import pool
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_native import run_with_sanitizers

# rows, steps, units: every awkward size once in every place
SHAPES = ((1, 3, 5), (2, 1, 16), (3, 7, 1), (7, 2, 33), (16, 2, 17), (17, 3, 7), (31, 15, 2), (65, 3, 15))  # fmt: skip
CLOSE = {"f32": (3e-5, 3e-5), "f64": (1e-10, 1e-10)}


def program(inputs: list[Value], outputs: list[Value]) -> tuple[Program, Graph]:
    roles = [Role("data", f"x{k}") for k in range(len(inputs))]
    graph = optimise(graph_of("step", inputs, outputs, roles))
    return generate(graph, "native"), graph


def check(made: Program, graph: Graph, data: list[Any]) -> None:
    """Two runs of a program against the interpreter."""
    exe = Executable(made, StateStore())
    expected = interpret(graph, data)
    for _ in range(2):
        for a, b, v in zip(exe.run(*data), expected, graph.outputs, strict=True):
            rtol, atol = CLOSE[v.dtype]
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * scale)


def same_bits(made: Program, data: list[Any]) -> None:
    """One, two and three threads give the same."""
    assert "each(k" in made.source
    exe = Executable(made, StateStore())
    try:
        pool.limit(1)
        first = [np.copy(a) for a in exe.run(*data)]
        for n in (2, 3) * 8:
            pool.limit(n)
            for a, b in zip(exe.run(*data), first, strict=True):
                assert np.array_equal(a, b)
    finally:
        pool.limit(1)


def drawn(values: list[Value], rng: np.random.Generator) -> list[Any]:
    return [
        rng.random(v.shape) < 0.6 if v.dtype == "bool" else rng.normal(size=v.shape).astype(NUMPY[v.dtype]) * 0.7
        for v in values
    ]  # fmt: skip


def blocks(made: Program) -> list[Any]:
    """How many blocks each loop is cut into; None for one that stands as it is."""
    return [k.schedule.get("blocks") for k in made.kernels if k.schedule.get("loop") == "time"]


def value(dtype: str, *shape: int) -> Value:
    return Value(Type(dtype, shape))


def recurrent(kind: str, n: int, t: int, u: int, dtype: str, reverse: bool) -> tuple[list[Value], list[Value]]:  # fmt: skip
    """The operands of a layer, and its results with the gradients of all operands."""
    gates, f = (4, 3) if kind == "lstm" else (3, 2)
    bias = (2, gates * u) if kind == "gru" else (gates * u,)
    given = [value(dtype, n, t, f), value(dtype, f, gates * u), value(dtype, u, gates * u), value(dtype, *bias), value(dtype, n, u)]  # fmt: skip
    if kind == "lstm":
        given.append(value(dtype, n, u))
        outs = list(lstm(*given, reverse=reverse))
    else:
        outs = list(gru(*given, reset_after=kind == "gru", reverse=reverse))
    cts = [value(dtype, *v.shape) for v in outs]
    return [*given, *cts], [*outs, *(g for g in gradients(outs, given, cts) if g is not None)]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before"])
def test_layers_and_their_gradients(kind: str, dtype: str, rng: np.random.Generator) -> None:
    """Every shape in one program: states out, and back through time, forwards and in reverse."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    shapes = SHAPES if dtype == "f32" else SHAPES[3:6]
    for k, (n, t, u) in enumerate(shapes):
        given, made = recurrent(kind, n, t, u, dtype, reverse=k % 2 == 1)
        inputs += given
        outputs += made
    done, graph = program(inputs, outputs)
    assert "np.matmul" not in done.source
    cut = blocks(done)
    assert cut.count(None) == 2 * sum(n == 1 for n, _, _ in shapes)
    assert {-(-n // 8) for n, _, _ in shapes if 1 < n < 64} <= set(cut)
    check(done, graph, drawn(inputs, rng))


def rows_alone(h: Value, x: Value, w: Value, mask: Value) -> Value:
    new = tanh(add(contract(h, w, spec="nu,ug->ng"), x))
    return select(broadcast(mask, shape=h.shape, axes=(0,)), new, h)


def normalised(h: Value, x: Value, w: Value, mask: Value) -> Value:
    mean = broadcast(reduce_sum(h, axes=(1,)), shape=h.shape, axes=(0,))
    return tanh(add(contract(sub(h, mean), w, spec="nu,ug->ng"), x))


def each_row_times_itself(h: Value, x: Value, w: Value, mask: Value) -> Value:
    scores = contract(h, x, spec="nu,nv->nuv")
    return tanh(contract(scores, x, spec="nuv,nv->nu"))


def twice(h: Value, x: Value, w: Value, mask: Value) -> Value:
    first = tanh(contract(mul(h, x), w, spec="nu,ug->ng"))
    return tanh(add(contract(first, w, spec="nu,gu->ng"), x))


def summed_over_rows(h: Value, x: Value, w: Value, mask: Value) -> Value:
    return tanh(add(x, broadcast(reduce_sum(h, axes=(0,)), shape=h.shape, axes=(1,))))


def turned_over(h: Value, x: Value, w: Value, mask: Value) -> Value:
    return tanh(add(flip(h, axes=(0,)), x))


def running_over_rows(h: Value, x: Value, w: Value, mask: Value) -> Value:
    return tanh(add(cumsum(h, axis=0, reverse=False, exclusive=False), x))


def another_row(h: Value, x: Value, w: Value, mask: Value) -> Value:
    picked = gather(h, cast(mask, dtype="i32"), axis=0)
    return tanh(add(picked, x))


def across(h: Value, x: Value, w: Value, mask: Value) -> Value:
    scores = contract(h, x, spec="nu,mu->nm")
    return tanh(contract(scores, x, spec="nm,mu->nu"))


APART = [rows_alone, normalised, each_row_times_itself, twice]
TIED = [summed_over_rows, turned_over, running_over_rows, another_row, across]


@pytest.mark.parametrize("step", [*APART, *TIED])
def test_bodies_of_any_kind(step: Any, rng: np.random.Generator) -> None:
    """A loop is cut where its rows never meet, and right where they do."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    sizes = ((2, 3, 5), (9, 2, 17), (33, 3, 16))
    for n, t, u in sizes:
        h, x, w, mask = value("f32", n, u), value("f32", n, u), value("f32", u, u), value("bool", n)
        new = step(h, x, w, mask)
        body = graph_of("body", [h, x, mask, w], [new, mul(new, h)])
        given = [value("f32", n, u), value("f32", t, n, u), value("bool", t, n), value("f32", u, u)]
        inputs += given
        outputs += scan(*given, body=body, carries=1, xs=2, length=t, reverse=n == 9)
    done, graph = program(inputs, outputs)
    assert blocks(done) == ([-(-n // 8) for n, _, _ in sizes] if step in APART else [None] * 3)
    check(done, graph, drawn(inputs, rng))


def test_carries_that_change_places(rng: np.random.Generator) -> None:
    """A next value that is another carry, an operand, or stacked as well."""
    n, t, u = 11, 5, 6
    a, b, x = value("f32", n, u), value("f32", n, u), value("f32", n, u)
    body = graph_of("body", [a, b, x], [b, add(a, x), a, x, b])
    given = [value("f32", n, u), value("f32", n, u), value("f32", t, n, u)]
    done, graph = program(given, list(scan(*given, body=body, carries=2, xs=1, length=t, reverse=False)))  # fmt: skip
    check(done, graph, drawn(given, rng))


def test_rows_in_the_second_place(rng: np.random.Generator) -> None:
    """Rows are found by what the body does, not by their place: here a state is [2, rows, units]."""
    n, t, u = 19, 3, 8
    h, x, w = value("f32", 2, n, u), value("f32", n, u), value("f32", u, u)
    new = tanh(add(contract(h, w, spec="bnu,ug->bng"), broadcast(x, shape=(2, n, u), axes=(1, 2))))
    body = graph_of("body", [h, x, w], [new, transpose(new, perm=(1, 0, 2))])
    given = [value("f32", 2, n, u), value("f32", t, n, u), value("f32", u, u)]
    done, graph = program(given, list(scan(*given, body=body, carries=1, xs=1, length=t, reverse=False)))  # fmt: skip
    check(done, graph, drawn(given, rng))


def test_threads_change_no_bit(rng: np.random.Generator) -> None:
    given, made = recurrent("lstm", 37, 9, 18, "f32", reverse=True)
    same_bits(program(given, made)[0], drawn(given, rng))


def test_no_byte_outside_is_touched(tmp_path: Path) -> None:
    inputs: list[Value] = []
    outputs: list[Value] = []
    for kind, n, t, u in (("lstm", 9, 3, 17), ("gru", 3, 2, 5), ("gru_before", 17, 1, 16)):
        given, made = recurrent(kind, n, t, u, "f32", reverse=n == 9)
        inputs += given
        outputs += made
    run_with_sanitizers(*program(inputs, outputs), tmp_path)

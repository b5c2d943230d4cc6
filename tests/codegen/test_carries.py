"""What a loop carries is elsewhere in its first pass: every way to read it knows, and every result arrives."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import (
    add,
    broadcast,
    contract,
    cumsum,
    flip,
    full,
    gather,
    pad,
    reduce_sum,
    reshape,
    scan,
    stop_gradient,
    tanh,
    unfold,
)
from ir.types import Type
from runtime.executable import Executable
from runtime.store import StateStore

N = 4


def summed(h, x):
    return contract(h, full(value=2.0, shape=(N, N), dtype="f64"), spec="nu,ug->ng")


def reduced(h, x):
    return broadcast(reduce_sum(h, axes=(0,)), shape=(N, N), axes=(1,))


def turned(h, x):
    return flip(h, axes=(1,))


def padded(h, x):
    return reduce_sum(pad(h, low=(1, 1), high=(0, 1), interior=(1, 0), value=2.0), axes=(0,))


def windows(h, x):
    return unfold(h, windows=((1, 3, 1, 1, 1, N),), fill=1.0)


def running(h, x):
    return cumsum(h, axis=0, reverse=True, exclusive=True)


def rows(h, x):
    return gather(h, full(value=2, shape=(3,), dtype="i32"), axis=0)


def itself(h, x):
    return h


def reshaped(h, x):
    return reshape(h, shape=(N * N,))


def passed_on(h, x):
    return stop_gradient(x)


WAYS = [summed, reduced, turned, padded, windows, running, rows, itself, reshaped, passed_on]


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("build", WAYS)
def test_a_carry_is_read(build, length, rng):
    h, x = Value(Type("f64", (N, N))), Value(Type("f64", (N, N)))
    body = graph_of("body", [h, x], [tanh(add(h, x)), build(h, x)])
    start, xs = Value(Type("f64", (N, N))), Value(Type("f64", (length, N, N)))
    outs = scan(start, xs, body=body, carries=1, xs=1, length=length, reverse=length == 2)
    graph = graph_of("step", [start, xs], list(outs), [Role("data", "h"), Role("data", "xs")])
    data = [rng.normal(size=v.shape) for v in graph.inputs]
    got = Executable(generate(graph), StateStore()).run(*data)
    for a, b in zip(got, interpret(graph, data), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)

"""A state overwritten where it stands: every reader of the old value gets the old value.

Large arrays, which run in blocks of rows, and small ones.
"""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import (
    add,
    broadcast,
    flip,
    full_like,
    mul,
    reduce_max,
    reduce_sum,
    reshape,
    scan,
    slice_,
    sub,
    tanh,
    transpose,
)
from ir.types import Type
from runtime.executable import Executable
from runtime.store import StateStore


def crosswise(w, v, g):
    return [add(w, transpose(w, perm=(1, 0))), v]


def crosswise_with_more(w, v, g):
    return [mul(add(w, transpose(w, perm=(1, 0))), g), v, reduce_sum(g, axes=(0,))]


def upside_down(w, v, g):
    return [tanh(add(mul(w, g), flip(w, axes=(0,)))), v]


def by_its_columns(w, v, g):
    top = reduce_max(mul(w, g), axes=(0,))
    return [sub(w, broadcast(top, shape=w.shape, axes=(1,))), v, reduce_sum(mul(w, w), axes=(0, 1))]


def used_again(w, v, g):
    new = sub(w, mul(g, full_like(g, 0.1)))
    return [new, v, reduce_sum(mul(new, new), axes=(0,)), reduce_sum(mul(w, new), axes=(1,))]


def shown_in_part(w, v, g):
    part = slice_(w, start=(0, 0), stop=(5, w.shape[1]), step=(1, 1))
    return [tanh(mul(w, g)), v, part, reshape(transpose(w, perm=(1, 0)), shape=(w.type.size,))]


def turned_into_each_other(w, v, g):
    return [flip(v, axes=(0,)), flip(w, axes=(1,)), tanh(w)]


def rows_over_time(w, v, g):
    h, x = Value(Type("f32", w.shape[1:])), Value(Type("f32", w.shape[1:]))
    body = graph_of("body", [h, x], [tanh(add(h, x)), add(h, x)])
    start = reshape(slice_(v, start=(0, 0), stop=(1, w.shape[1]), step=(1, 1)), shape=w.shape[1:])
    _, rows = scan(start, w, body=body, carries=1, xs=1, length=w.shape[0], reverse=True)
    return [transpose(rows, perm=(1, 0)), v, rows]


BUILDS = [crosswise, crosswise_with_more, upside_down, by_its_columns, used_again, shown_in_part,
          turned_into_each_other, rows_over_time]  # fmt: skip


@pytest.mark.parametrize("size", [7, 700])
@pytest.mark.parametrize("build", BUILDS)
def test_old_values_stay_old(build, size, rng):
    inputs = [Value(Type("f32", (size, size))) for _ in range(3)]
    roles = [Role("state", "w"), Role("state", "v"), Role("data", "g")]
    graph = graph_of("step", inputs, build(*inputs), roles)
    w, v, g = (rng.normal(size=(size, size)).astype(np.float32) for _ in range(3))
    store = StateStore()
    store.put("w", w.copy())
    store.put("v", v.copy())
    got = Executable(generate(graph, "numpy"), store).run(g)
    want = interpret(graph, [w, v, g])
    for a, b in zip([store["w"], store["v"], *got], want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)

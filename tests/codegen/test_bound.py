"""Calls bound to BLAS: y += a * x in one pass, where nothing else is lost by it; products in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import add, broadcast, contract, full_like, mul, reduce_sum, sub, transpose
from ir.types import NUMPY, Type
from runtime.executable import Executable
from runtime.store import StateStore


def moved(y, x, a):
    return [add(y, mul(x, broadcast(a, shape=x.shape, axes=())))]


def moved_by_a_constant(y, x, a):
    return [add(mul(x, full_like(x, 0.25)), y)]


def product_shown_too(y, x, a):
    t = mul(x, full_like(x, 0.25))
    return [add(y, t), t]


def product_read_again(y, x, a):
    t = mul(x, full_like(x, 0.25))
    return [add(y, t), reduce_sum(mul(t, t), axes=(0, 1))]


def by_itself(y, x, a):
    return [add(y, mul(y, full_like(y, 0.25)))]


def turned(y, x, a):
    return [add(y, mul(transpose(x, perm=(1, 0)), full_like(x, 0.25)))]


def blended(y, x, a):
    return [add(y, mul(sub(x, y), full_like(x, 0.25)))]


def barely_blended(y, x, a):
    return [add(y, mul(sub(x, y), full_like(x, 0.001)))]


ONE_CALL = {moved, moved_by_a_constant, barely_blended}
CASES = (
    blended,
    barely_blended,
    moved,
    moved_by_a_constant,
    product_shown_too,
    product_read_again,
    by_itself,
    turned,
)


@pytest.mark.parametrize("size", [1, 5, 16, 33, 700])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
def test_scaled_sums(case, dtype, size):
    inputs = [Value(Type(dtype, s)) for s in ((size, size), (size, size), ())]
    roles = [Role("state", "y"), Role("data", "x"), Role("data", "a")]
    program = generate(graph := graph_of("case", inputs, case(*inputs), roles), "numpy")
    if size > 1:
        assert ("axpy(" in program.source) == (case in ONE_CALL)
        assert ("axpby(" in program.source) == (case is blended)
    rng = np.random.default_rng(size)
    numbers = [np.asarray(rng.standard_normal(v.shape), NUMPY[dtype]) for v in inputs]
    want = interpret(graph, numbers)
    store = StateStore()
    store.put("y", numbers[0].copy())
    results = Executable(program, store).run(*numbers[1:])
    for got, expected in zip([store["y"], *results], want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("m", "k", "n"), [(40, 300, 128), (129, 80, 100), (31, 700, 65)])
def test_products_of_middle_size(m, k, n):
    x, y = Value(Type("f32", (m, k))), Value(Type("f32", (k, n)))
    roles = [Role("data", "x"), Role("data", "y")]
    program = generate(graph_of("case", [x, y], [contract(x, y, spec="mk,kn->mn")], roles), "numpy")
    assert "()  # matmul(" in program.source
    rng = np.random.default_rng(m)
    numbers = [rng.standard_normal(v.shape).astype(np.float32) for v in (x, y)]
    (got,) = Executable(program, StateStore()).run(*numbers)
    np.testing.assert_allclose(got, numbers[0].astype("f8") @ numbers[1], rtol=1e-4, atol=1e-4)

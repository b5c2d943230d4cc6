"""Two axes of equal size stay two axes, whatever they share; what repeats along a summed axis counts."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import add, broadcast, contract, full, mul, reduce_sum, scatter_add
from ir.types import Type
from runtime.executable import Executable
from runtime.store import StateStore


def shared_constant(x):
    """Means over both axes, with one constant for both (equal shapes make it one)."""
    half = full(value=0.5, shape=(4, 8), dtype="f32")
    return mul(reduce_sum(x, axes=(2,)), half), mul(reduce_sum(x, axes=(1,)), half)


def crossed(x):
    """A row of one axis added to a row of the other, while both live in `x`."""
    return (add(reduce_sum(x, axes=(2,)), reduce_sum(x, axes=(1,))), mul(x, x))


@pytest.mark.parametrize("build", [shared_constant, crossed])
def test_equal_extents(build, rng):
    x = Value(Type("f32", (4, 8, 8)))
    y = mul(x, x)
    graph = graph_of("step", [x], list(build(y)), [Role("data", "x")])
    exe = Executable(generate(graph, "numpy"), StateStore())
    data = rng.normal(size=(4, 8, 8)).astype(np.float32)
    for got, want in zip(exe.run(data), interpret(graph, [data]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def values(shape, *more):
    return [Value(Type("f32", s)) for s in (shape, *more)]


def repeated_for_both_axes():
    """One repeated row is an operand along the summed axis and added along another of its size."""
    x, row = values((9, 9), (2,))
    rows = broadcast(row, shape=(9, 2), axes=(1,))
    return [x, row], add(contract(x, rows, spec="ab,bz->az"), rows)


def repeated_along_the_sum():
    """An axis is summed that only the repetition of an operand has."""
    x, y = values((5, 7), (5, 3))
    wide = broadcast(x, shape=(5, 7, 4), axes=(0, 1))
    return [x, y], contract(wide, y, spec="abd,ae->eba")


def repeated_rows_scattered():
    """What is added at indices is the same all over, or all along a row."""
    x, row = values((3,), (3,))
    idx = full(value=1, shape=(3,), dtype="i32")
    rows = broadcast(row, shape=(4, 5, 3), axes=(2,))
    same = broadcast(full(value=0.5, shape=(3,), dtype="f32"), shape=(4, 5, 3), axes=(2,))
    return [x, row], add(
        scatter_add(idx, rows, axis=2, extent=3), scatter_add(idx, same, axis=2, extent=3)
    )


BUILDS = [repeated_for_both_axes, repeated_along_the_sum, repeated_rows_scattered]


@pytest.mark.parametrize("build", BUILDS)
def test_repeated_operands(build, rng):
    inputs, result = build()
    graph = graph_of("step", inputs, [result], [Role("data", f"x{k}") for k in range(len(inputs))])
    data = [rng.normal(size=v.shape).astype(np.float32) for v in inputs]
    exe = Executable(generate(graph, "numpy"), StateStore())
    (got,), (want,) = exe.run(*data), interpret(graph, data)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

"""States that a step updates where they lie: a kernel may overwrite what it reads only where no program, no thread and no later pass
of a loop still reads it. On a device it would not be right each time, so these are watched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.pipeline import optimise
from ir.types import type_of

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.seat import host
from runtime.triton_program import TritonProgram
from tests.triton.test_kernels import kinds, wide
from tests.triton.watch import watched


def shifted(v: Value, first: Value) -> Value:
    """The rows of v one place up, the first row of another behind them."""
    n, m = v.shape
    rest = ops.slice_(v, start=(1, 0), stop=(n, m), step=(1, 1))
    row = ops.slice_(first, start=(0, 0), stop=(1, m), step=(1, 1))
    out: Value = ops.concat(rest, row, axis=0)
    return out


UPDATES: dict[str, Callable[[Value, Value], Value]] = {
    "add": ops.add,
    "centred columns": lambda s, x: ops.sub(s, wide(ops.reduce_sum(s, axes=(0,)), s, 1)),
    "centred rows": lambda s, x: ops.sub(s, wide(ops.reduce_max(s, axes=(1,)), s, 0)),
    "softmax": lambda s, x: ops.softmax(ops.add(s, x), axis=0),
    "running sums": lambda s, x: ops.cumsum(s, axis=0, reverse=True, exclusive=False),
    "transposed": lambda s, x: ops.add(s, ops.transpose(ops.exp(s), perm=(1, 0))),
    "square": lambda s, x: ops.contract(s, s, spec="mk,kn->mn"),
    "step": lambda s, x: ops.sub(s, ops.contract(x, x, spec="km,kn->mn")),
    "shifted": lambda s, x: shifted(s, x),
    "times what is shifted": lambda s, x: ops.mul(s, shifted(ops.exp(s), x)),
    "first row": lambda s, x: ops.sub(s, wide(ops.reshape(
        ops.slice_(s, start=(0, 0), stop=(1, s.shape[1]), step=(1, 1)), shape=(s.shape[1],)), s, 1)),
}  # fmt: skip


@pytest.mark.parametrize("n", [5, 33])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", UPDATES)
def test_a_state_may_be_what_its_next_value_is_made_of(name: str, beside: bool, n: int) -> None:
    s, x = np.random.default_rng(n).standard_normal((2, n, n)).astype("f4")
    given = [Value(type_of(a), None, 0, k) for a, k in ((s, "s"), (x, "x"))]
    new = UPDATES[name](*given)
    more = [ops.mul(new, given[1]), ops.reduce_sum(given[0], axes=(0,))] if beside else []
    graph = optimise(graph_of("step", given, [new, *more], [Role("state", "s"), Role("data", "x")]))
    with watched():
        made = TritonProgram(generate(graph, "triton"), {"s": s})
        found = [*made.run(x), host(made.states["s"])]
    want = interpret(graph, [s, x])
    for a, b in zip(found, [*want[1:], want[0]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(b).max())))


def test_a_sum_of_few_rows_walks_them_and_leaves_them_in_place_only_behind_its_loop() -> None:
    """A loop stores what it makes of each row in the pass that reads it: there, threads may still read it."""
    s = Value(type_of(np.zeros((5, 7), "f4")), None, 0, "s")
    new = UPDATES["centred columns"](s, s)
    p = generate(optimise(graph_of("step", [s], [new], [Role("state", "s")])), "triton")
    assert kinds(p)[0] == "taps"
    assert len(p.kernels) == 2

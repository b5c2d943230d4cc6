"""Loops over time by kernels of one step: wide recurrent layers, bodies that are not one kernel, and what their carries may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import codegen.triton.writer as writer
import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.passes.precision import precision
from tests.triton.plan import faults
from tests.triton.test_scan import Array, forward, gru, lstm, old_gru, simple, trained

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.device import Interpreted
from runtime.triton_program import TritonProgram
from runtime.tune import tune


def check(graph: Graph, arrays: list[Array], tol: float = 2e-5) -> Program:
    """Compare with the graph's meaning, twice: nothing may be left from the step before."""
    program = generate(graph, "triton")
    assert faults(program) == []
    made = TritonProgram(Program.from_json(program.to_json()), {})
    for data in (arrays, [a if a.dtype == bool else a / 2 for a in arrays]):
        found = made.run(*data)
        for a, b in zip(found, interpret(graph, data), strict=True):
            scale = max(1.0, float(np.abs(b.astype("f8")).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale)
    return program


def loops(p: Program) -> list[int]:
    """The kernels of each loop."""
    numbers = [k.schedule["loop"]["number"] for k in p.kernels if "loop" in k.schedule]
    return [numbers.count(n) for n in dict.fromkeys(numbers)]


@pytest.fixture
def by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "STREAMED", -1)


@pytest.mark.parametrize("cell", [lstm, gru, old_gru, simple])
@pytest.mark.parametrize(("n", "u"), [(1, 3), (2, 5)])
@pytest.mark.usefixtures("by_steps")
def test_cells(cell: Any, n: int, u: int) -> None:
    assert len(loops(check(*trained(cell(n, 3, 2, u))))) == 2


@pytest.mark.usefixtures("by_steps")
def test_one_step_and_none() -> None:
    assert loops(check(*trained(lstm(2, 1, 3, 4))))
    assert loops(check(*forward(*simple(2, 0, 3, 4)))) == []


def test_wide_layers_take_launches_rather_than_read_their_matrices_in_a_kernel() -> None:
    graph, _ = forward(*simple(1, 2, 1, 286))
    assert loops(generate(graph, "triton")) == []
    (loop,) = loops(check(*forward(*simple(2, 2, 1, 287))))
    assert loop == 1  # the product, and what follows it with both places of the new state


def test_many_rows_or_many_products_of_matrix_units_are_launches() -> None:
    rows = (generate(forward(*gru(n, 2, 3, 128))[0], "triton") for n in (48, 49))
    assert [bool(loops(p)) for p in rows] == [False, True]  # each would read the matrix
    for u in (128, 129):
        graph, _ = forward(*gru(2, 2, 3, u))
        assert loops(generate(graph, "triton")) == []
        assert bool(loops(generate(precision(graph, "tf32"), "triton"))) == (u > 128)


def case(
    body: Callable[..., tuple[Value, ...]], carries: int, xs: int, *shapes: tuple[int, ...]
) -> tuple[Graph, list[Array]]:
    """A scan of 4 steps; the results are its own."""

    def build(*given: Value) -> Any:
        own = [
            Value(v.type.with_shape(v.shape[1:]) if carries <= k < carries + xs else v.type)
            for k, v in enumerate(given)
        ]
        step = graph_of("step", own, list(body(*own)))
        return ops.scan(*given, body=step, carries=carries, xs=xs, length=4)

    return forward(build, list(shapes))


def test_what_a_step_only_hands_on_may_have_many_axes() -> None:
    def body(h: Value, x: Value, w: Value) -> tuple[Value, ...]:
        total = ops.reduce_sum(x, axes=(1, 2))
        return ops.add(h, total), x, w

    assert loops(check(*case(body, 1, 1, (3,), (4, 3, 2, 5), (3, 5, 2))))


def test_rows_may_meet() -> None:
    def body(h: Value, z: Value) -> tuple[Value, ...]:
        total = ops.reduce_sum(h, axes=(0,))
        new = ops.tanh(ops.add(z, ops.broadcast(total, shape=(3, 2), axes=(1,))))
        return new, new

    assert loops(check(*case(body, 1, 1, (3, 2), (4, 3, 2))))


@pytest.mark.usefixtures("by_steps")
def test_one_loop_by_launches_inside_another_is_refused() -> None:
    def body(h: Value, z: Value) -> tuple[Value, ...]:
        own = [Value(v.type) for v in (h, z)]
        inner = graph_of("inner", own, [ops.tanh(ops.add(*own))])
        new = ops.scan(h, z, body=inner, carries=1, xs=0, length=2)
        return new, new

    with pytest.raises(ValueError, match="a loop over time of launches inside another"):
        generate(case(body, 1, 1, (3, 2), (4, 3, 2))[0], "triton")


@pytest.mark.usefixtures("by_steps")
def test_carries_may_change_places_and_be_handed_out() -> None:
    def body(a: Value, b: Value, x: Value, w: Value) -> tuple[Value, ...]:
        new = ops.tanh(ops.add(ops.contract(a, w, spec="nk,km->nm"), x))
        return b, new, a, x, new, new, ops.add(new, b)

    assert loops(check(*case(body, 2, 1, (3, 5), (3, 5), (4, 3, 5), (5, 5))))


@pytest.mark.usefixtures("by_steps")
def test_a_carry_may_stay_and_a_stack_may_be_a_constant() -> None:
    def body(a: Value, b: Value, x: Value, w: Value) -> tuple[Value, ...]:
        return a, ops.add(ops.contract(b, w, spec="nk,km->nm"), x), w, ops.mul(a, x)

    assert loops(check(*case(body, 2, 1, (3, 5), (3, 5), (4, 3, 5), (5, 5))))


@pytest.mark.usefixtures("by_steps")
def test_what_lives_through_a_loop_shares_no_memory_with_what_a_step_uses() -> None:
    """Large intermediate values of a step, beside stacks that the first steps have written already."""

    def body(h: Value, x: Value, w: Value, v: Value) -> tuple[Value, ...]:
        wide = ops.contract(ops.add(h, x), w, spec="nk,km->nm")
        row = ops.reduce_sum(ops.exp(wide), axes=(1,))
        new = ops.tanh(ops.contract(wide, v, spec="nm,mk->nk"))
        return new, ops.mul(new, ops.broadcast(row, shape=new.shape, axes=(0,)))

    assert loops(check(*case(body, 1, 1, (3, 5), (4, 3, 5), (5, 33), (33, 5))))


@pytest.mark.usefixtures("by_steps")
def test_tuning_makes_one_step_too() -> None:
    graph, arrays = trained(lstm(2, 3, 3, 5))
    made = TritonProgram(generate(graph, "triton"), {})
    made.fill(arrays)
    times = iter(range(1000, 0, -1))  # whatever is tried last is taken
    after = tune(made, Interpreted(), lambda _: float(next(times)))
    found = [t.numpy().copy() for t in made.results]
    for a, b in zip(found, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    again = TritonProgram(after, {}).run(*arrays)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)

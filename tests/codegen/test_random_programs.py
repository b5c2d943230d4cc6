"""Programs of random graphs against the interpreter, optimised and not, and their memory plans."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings

from codegen.pipeline import generate
from ir.grad import gradients
from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import (
    add,
    broadcast,
    contract,
    full,
    mul,
    reduce_sum,
    relu,
    reshape,
    slice_,
    sub,
    transpose,
)
from ir.pipeline import optimise
from ir.types import Type
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen.test_primitives import check
from tests.ir.graphs import arrays, graphs

FEW = settings(max_examples=80, deadline=None, derandomize=True)


@FEW
@given(graphs())
def test_a_program_means_what_its_graph_means(graph: Graph) -> None:
    check(graph, arrays(graph))


@FEW
@given(graphs(dtype="f64"))
def test_so_does_the_program_of_the_optimised_graph(graph: Graph) -> None:
    check(optimise(graph), arrays(graph))


def f32(*shape: int, name: str = "x") -> Value:
    return Value(Type("f32", shape), name=name)


def run_states(inputs: list[Value], outputs: list[Value], n: int, steps: int = 3) -> None:
    """Step a graph whose first `n` inputs are states, beside the interpreter."""
    roles = [Role("state", f"s{k}") if k < n else Role("data", f"d{k}") for k in range(len(inputs))]
    graph = graph_of("step", inputs, outputs, roles)
    rng = np.random.default_rng(0)
    now = [rng.standard_normal(v.shape).astype("f4") for v in inputs]
    store = StateStore()
    for k in range(n):
        store.put(f"s{k}", now[k].copy())
    program = generate(graph)
    exe = Executable(program, store)
    for _ in range(steps):
        got = exe.run(*now[n:])
        expected = interpret(graph, now)
        for k in range(n):
            np.testing.assert_allclose(
                store[f"s{k}"], expected[k], rtol=1e-4, atol=1e-5, err_msg=program.source
            )
        for a, b in zip(got, expected[n:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=program.source)
        now = [*expected[:n], *now[n:]]


def test_states_that_swap() -> None:
    a, b = f32(4, 3), f32(4, 3)
    run_states([a, b], [b, a], 2)
    a, b = f32(4, 3), f32(4, 3)
    run_states([a, b], [add(a, b), sub(a, b)], 2)


def test_a_state_read_after_its_next_value_is_made() -> None:
    w, x = f32(5, 5), f32(5, 5)
    y = contract(x, w, spec="mk,kn->mn")
    new = sub(w, y)
    run_states([w, x], [new, contract(new, w, spec="mk,kn->mn"), w], 1)


def test_a_state_whose_next_value_reads_it_elsewhere() -> None:
    w = f32(6, 6)
    run_states([w], [add(w, transpose(w, perm=(1, 0)))], 1)
    w = f32(6, 6)
    run_states([w], [contract(w, w, spec="mk,kn->mn")], 1)


def test_a_state_in_large_blocks() -> None:
    w, g = f32(700, 300), f32(700, 300)
    half = mul(g, full(value=0.5, shape=g.shape, dtype="f32"))
    total = reduce_sum(w, axes=(0, 1))
    run_states([w, g], [sub(w, half), total], 1, steps=2)


def test_a_view_of_a_state_as_result_and_state_as_it_is() -> None:
    w, x = f32(4, 6), f32(4, 6)
    run_states([w, x], [add(w, x), reshape(w, shape=(24,)), w, x], 1)
    w, x = f32(4, 6), f32(2, 6)
    part = slice_(w, start=(1, 0), stop=(3, 6), step=(1, 1))
    run_states([w, x], [w, add(part, x)], 1)


def mlp() -> Graph:
    x, w, b, u = f32(32, 64), f32(64, 48), f32(48), f32(48, 8)
    h = relu(add(contract(x, w, spec="mk,kn->mn"), broadcast(b, shape=(32, 48), axes=(1,))))
    y = contract(h, u, spec="mk,kn->mn")
    loss = reduce_sum(mul(y, y), axes=(0, 1))
    grads = gradients([loss], [w, b, u])
    steps = []
    for p, g in zip((w, b, u), grads, strict=True):
        assert g is not None
        steps.append(sub(p, mul(g, full(value=1e-3, shape=p.shape, dtype="f32"))))
    roles = [*(Role("state", k) for k in "wbu"), Role("data", "x")]
    return optimise(graph_of("mlp", [w, b, u, x], [*steps, loss], roles))


def executable(graph: Graph) -> Executable:
    store = StateStore()
    rng = np.random.default_rng(0)
    for v, role in zip(graph.inputs, graph.roles, strict=True):
        if role.kind == "state":
            store.put(role.path, (rng.standard_normal(v.shape) * 0.1).astype("f4"))
    exe = Executable(generate(graph), store)
    for a in exe.data:
        a[...] = rng.standard_normal(a.shape)
    return exe


def test_a_step_allocates_nothing_that_stays_and_little_that_goes() -> None:
    exe = executable(mlp())
    for _ in range(3):
        exe.step()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            exe.step()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4096
    assert peak - before < 64 * 1024


def test_the_step_of_an_mlp_is_a_few_kernels() -> None:
    program = generate(mlp())
    assert len(program.kernels) <= 5, [k.ops for k in program.kernels]
    assert program.flops > 2 * 2 * 32 * 64 * 48


def test_no_two_live_buffers_overlap() -> None:
    """Poison: every temp filled with NaN before a step changes nothing."""
    graph = mlp()
    exe, other = executable(graph), executable(graph)
    for b, a in zip(other.program.buffers, other.buffers, strict=True):
        if b.role in ("temp", "result") and a.dtype.kind == "f":
            a.fill(np.nan)
    exe.step()
    other.step()
    for a, b in zip(exe.states + exe.results, other.states + other.results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(b.offset % 64 == 0 for b in exe.program.buffers if b.role in ("temp", "result"))
    ends = [b.offset + b.nbytes for b in exe.program.buffers if b.offset >= 0]
    assert max(ends) <= exe.program.arena_bytes


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        generate(mlp(), "abacus")

"""The pipeline: its stages, its effect on a training step, and that its time grows with the graph."""

from __future__ import annotations

import gc
import time
from itertools import pairwise

import numpy as np
import pytest

import ir.ops as ops
from ir.bind import bind
from ir.dims import DimLike, dim
from ir.grad import gradients
from ir.graph import Graph, Role, Value, at, graph_of
from ir.interpret import interpret
from ir.key import key
from ir.op import IRError
from ir.passes.cse import cse
from ir.passes.recompute import recompute
from ir.pipeline import PASSES, collector_paused, optimise, stages
from ir.text import dump, parse
from ir.types import NUMPY, Type
from ir.verify import verify


def step(layers: int, n: DimLike, width: int = 4) -> Graph:
    """A training step: dense blocks with layer norm and gelu, cross entropy, an update with two slots."""
    states: list[Value] = []
    x = Value(Type("f32", (n, width)), name="x")
    y = Value(Type("i32", (n,)), name="y")

    def state(shape: tuple[DimLike, ...]) -> Value:
        states.append(Value(Type("f32", shape)))
        return states[-1]

    rate = state(())
    weights: list[Value] = []
    h = x
    for i in range(layers):
        with at(f"block_{i}"):
            w, b, gamma, beta = (
                state((width, width)),
                state((width,)),
                state((width,)),
                state((width,)),
            )
            weights += [w, b, gamma, beta]
            z = ops.contract(h, w, spec="mk,kn->mn")
            z = ops.add(z, ops.broadcast(b, shape=z.shape, axes=(1,)))
            z = ops.layer_norm(z, gamma, beta, axes=(1,), epsilon=1e-3)
            h = ops.add(h, ops.gelu(z))
    with at("loss"):
        loss = ops.reduce_mean(ops.sparse_cross_entropy(h, y), axes=(0,))
    after: dict[Value, Value] = {}
    for w, g in zip(weights, gradients([loss], weights), strict=True):
        assert g is not None
        with at("optimizer"):
            m, v = state(w.shape), state(w.shape)
            m1 = ops.add(m, ops.mul(ops.sub(g, m), ops.full_like(m, 0.1)))
            v1 = ops.add(v, ops.mul(ops.sub(ops.mul(g, g), v), ops.full_like(v, 0.001)))
            scaled = ops.mul(ops.broadcast(rate, shape=w.shape, axes=()), m1)
            after[m], after[v] = m1, v1
            after[w] = ops.sub(w, ops.div(scaled, ops.add(ops.sqrt(v1), ops.full_like(v, 1e-7))))
    return graph_of(
        "train_step", [*states, x, y], [*(after.get(s, s) for s in states), loss],
        [*(Role("state", f"s{i}") for i in range(len(states))), Role("data", "x"), Role("data", "y")],
    )  # fmt: skip


def operands(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for v in graph.inputs:
        a = rng.random(v.shape) if v.type.is_float else rng.integers(0, 4, v.shape)
        found.append(np.asarray(a).astype(NUMPY[v.dtype]))
    return found


def test_stages_are_named_and_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPILE_VERIFY", "1")
    found = list(stages(step(1, dim("N"))))
    assert [name for name, _ in found] == ["traced", *(name for name, _ in PASSES)]
    assert found[-1][1].n_states == found[0][1].n_states


def test_a_broken_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPILE_VERIFY", "1")
    with pytest.raises(IRError, match="after the pass lose"):
        optimise(step(1, 3), (("lose", lambda g: g.replace(nodes=g.nodes[1:])),))


def test_values_and_binding() -> None:
    named = step(2, dim("N"))
    static = step(2, 5)
    first, second = bind(optimise(named), N=5), optimise(bind(named, N=5))
    given = operands(static)
    want = interpret(static, given)
    for graph in (first, second, recompute(second)):
        verify(graph)
        for a, b in zip(want, interpret(graph, given), strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=1e-6)
    assert key(optimise(static)) == key(second)
    assert key(optimise(second)) == key(second)


def test_updates_come_before_the_gradient_ends() -> None:
    graph = optimise(step(6, 3))
    updates = [graph.nodes.index(v.node) for v in graph.outputs[: graph.n_states] if v.node]
    products = [i for i, n in enumerate(graph.nodes) if n.op.name == "contract"]
    assert min(updates) < products[-8], "the last layers are updated while the first wait"


def test_recompute_is_undone_by_cse() -> None:
    graph = optimise(step(2, 3))
    again = recompute(graph)
    assert len(again.nodes) > len(graph.nodes)
    assert len(cse(again).nodes) == len(graph.nodes)
    assert key(recompute(again)) == key(again)


def test_text_of_a_step_reads_back() -> None:
    graph = optimise(step(3, dim("N")))
    assert key(parse(dump(graph))) == key(graph)


def test_time_grows_with_the_graph() -> None:
    times = []
    sizes = []
    for layers in (10, 40, 160):  # 1,300, 5,100 and 20,300 nodes
        with collector_paused():
            graph = step(layers, dim("N"))
            start = time.process_time()
            after = optimise(graph)
            bound = bind(after, N=3)
            key(bound)
            dump(bound)
            times.append(time.process_time() - start)
            sizes.append(len(graph.nodes))
    gc.collect()
    assert 4800 < sizes[1] < 5500
    assert sizes[2] > 20000
    for (n, t), (m, u) in pairwise(zip(sizes, times, strict=True)):
        assert u / t < 2.5 * m / n, (sizes, times)
    assert times[1] < 2.0, times

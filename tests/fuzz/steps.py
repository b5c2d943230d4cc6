"""Random step graphs: states that swap, alias, are read late, or are trained by a gradient.

Draws typed graphs whose values stay tame. Refuses to run anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ir.ops as ops
from ir.grad import gradients
from ir.graph import Graph, Role, Value, graph_of
from ir.types import NUMPY, Type, round_bf16
from tests.fuzz.draw import Choice
from tests.fuzz.graphs import Drawer


def draw(
    c: Choice, dtype: str | None = None, wide: bool = False, drawer: type[Drawer] = Drawer
) -> Graph:
    """A random step graph. wide: of larger values."""
    dtype = dtype or c.pick(("f64", "f64", "f64", "f32", "f16"))
    d = drawer(c, dtype, wide)
    n_states, n_data = c.between(1, 4), c.between(1, 3)
    shapes: list[tuple[int, ...]] = []
    for _ in range(n_states + n_data):
        if shapes and c.chance(3):
            shapes.append(c.pick(shapes))
        else:
            shapes.append(tuple(c.pick(d.extents) for _ in range(c.between(0, 4))))
        if int(np.prod(shapes[-1])) > d.largest:
            shapes[-1] = shapes[-1][:2]
    floats = [Value(Type(dtype, s), name=f"v{i}") for i, s in enumerate(shapes)]
    states, data = floats[:n_states], floats[n_states:]
    noisy = c.chance(3)
    if noisy:
        states += [Value(Type("u32", ()), name="seed"), Value(Type("u32", ()), name="count")]
    d.inputs = [*states, *data]
    d.values = [v for v in d.inputs if v.dtype == dtype]
    d.clean = set(d.values)
    if noisy:
        d.draw_noise()
    for _ in range(c.between(1, 25 if drawer is Drawer else 7)):
        d.step()
    nexts: list[Value] = []
    trained = c.chance(2)
    found: dict[Value, Value] = {}
    if trained:
        found = trained_states(c, d, [s for s in states if s.dtype == dtype])
    for s in states:
        if s.name == "seed":
            nexts.append(s)
        elif s.name == "count":
            nexts.append(ops.add(s, ops.full(value=1, shape=(), dtype="u32")))
        elif s in found:
            nexts.append(found[s])
        else:
            same = [v for v in d.values if v.type is s.type]
            v = c.pick(same)
            nexts.append(v if c.chance(2) else ops.tanh(ops.add(v, s)))
    results = [c.pick(d.values) for _ in range(c.between(0 if nexts else 1, 4))]
    if nexts and c.chance(4):
        results.append(c.pick(nexts))
    if c.chance(4):
        results.append(c.pick(d.inputs))
    roles = [*(Role("state", f"s/{v.name}") for v in states), *(Role("data", v.name) for v in data)]
    return graph_of("step", d.inputs, [*nexts, *results], roles)


def trained_states(c: Choice, d: Drawer, states: list[Value]) -> dict[Value, Value]:
    """Next values by the gradient of a loss: plain, with momentum in another state, or with a global norm."""
    v = d.float_()
    loss = ops.reduce_mean(ops.mul(v, v), axes=tuple(range(len(v.shape))))
    grads = gradients([loss], states)
    have = {s: g for s, g in zip(states, grads, strict=True) if g is not None}
    d.keep(loss)
    scale = d.full((), 0.1)
    if c.chance(3) and have:
        squares = [
            ops.reduce_sum(ops.mul(g, g), axes=tuple(range(len(g.shape)))) for g in have.values()
        ]
        total = squares[0]
        for q in squares[1:]:
            total = ops.add(total, q)
        scale = ops.mul(scale, ops.rsqrt(ops.add(total, d.full((), 1.0))))
        d.keep(total)
    out: dict[Value, Value] = {}
    for s, g in have.items():
        if c.chance(5):
            continue
        rate = ops.broadcast(scale, shape=s.shape, axes=())
        slot = next(
            (
                m
                for m in states
                if m.type is s.type and m is not s and m not in have and m not in out
            ),
            None,
        )
        if slot is not None:
            out[slot] = ops.add(ops.mul(slot, d.full(s.shape, 0.9)), g)
            g = out[slot]
        out[s] = ops.sub(s, ops.mul(rate, g))
        if c.chance(3):
            d.keep(out[s])  # the new value is used again
            for _ in range(c.between(0, 2)):
                d.step()
    return out


def arrays(graph: Graph, seed: int) -> list[np.ndarray[Any, Any]]:
    """Operands for the inputs of a graph: floats between -1 and 1, key and count of random numbers."""
    rng = np.random.default_rng(seed)
    out: list[np.ndarray[Any, Any]] = []
    for v in graph.inputs:
        if v.dtype == "u32":
            out.append(np.array(rng.integers(0, 100), "u4"))
        else:
            a = np.asarray(rng.uniform(-1, 1, v.shape)).astype(NUMPY[v.dtype])
            out.append(round_bf16(a) if v.dtype == "bf16" else a)
    return out

"""Random graphs, drawn by Hypothesis: typed by construction, with values that stay tame."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import ir.ops as ops
from ir.graph import Graph, Role, Value, at, graph_of
from ir.types import NUMPY, Type

UNARY = (
    "neg",
    "tanh",
    "sigmoid",
    "absolute",
    "sin",
    "cos",
    "erf",
    "relu",
    "gelu",
    "silu",
    "softplus",
    "elu",
)
SMOOTH = ("neg", "tanh", "sigmoid", "sin", "cos", "erf", "gelu", "silu", "softplus")
BINARY = ("add", "sub", "mul", "maximum", "minimum")
EXTENTS = (1, 2, 3)


class Drawer:
    """Draws nodes on the values so far. `smooth` keeps to functions with a derivative everywhere."""

    def __init__(self, draw: Any, dtype: str, smooth: bool):
        self.draw, self.dtype, self.smooth = draw, dtype, smooth
        self.values: list[Value] = []

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def like(self, v: Value) -> Value:
        """A value of the type of `v`: one there is, or a constant."""
        same = [u for u in self.values if u.type is v.type]
        if same and self.draw(st.booleans()):
            return self.pick(same)
        c = self.draw(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 0.3]))
        return ops.full(value=c, shape=v.shape, dtype=v.dtype)

    def step(self) -> None:
        v = self.pick(self.values)
        kind = self.pick(
            ("unary", "binary", "binary", "reshape", "transpose", "broadcast", "reduce", "contract",
             "slice", "pad", "concat", "flip", "softmax", "mean", "select", "scan", "power")
        )  # fmt: skip
        with at(self.pick(("", "dense", "head/norm"))):
            out = getattr(self, kind)(v)
        if out is not None and len(out.shape) <= 4 and int(out.type.size) <= 64:
            self.values.append(out)

    def unary(self, v: Value) -> Value:
        name = self.pick(SMOOTH if self.smooth else UNARY)
        return getattr(ops, name)(v)

    def binary(self, v: Value) -> Value:
        names = ("add", "sub", "mul") if self.smooth else BINARY
        pair = [v, self.like(v)]
        if self.draw(st.booleans()):
            pair.reverse()
        return getattr(ops, self.pick(names))(*pair)

    def power(self, v: Value) -> Value:
        c = self.pick((0.0, 1.0, 2.0, 3.0))
        return ops.power(v, ops.full(value=c, shape=v.shape, dtype=v.dtype))

    def reshape(self, v: Value) -> Value:
        n = int(v.type.size)
        shapes = [(n,), (1, n), (n, 1)] + [(n // k, k) for k in (2, 3) if n % k == 0]
        return ops.reshape(v, shape=self.pick(shapes))

    def transpose(self, v: Value) -> Value:
        return ops.transpose(v, perm=tuple(self.draw(st.permutations(range(len(v.shape))))))

    def broadcast(self, v: Value) -> Value | None:
        rank = len(v.shape)
        if rank > 2:
            return None
        k = self.draw(st.integers(0, rank))
        shape = [*v.shape]
        shape.insert(k, self.pick(EXTENTS))
        return ops.broadcast(
            v, shape=tuple(shape), axes=tuple(i for i in range(rank + 1) if i != k)
        )

    def axes(self, v: Value) -> tuple[int, ...]:
        return tuple(i for i in range(len(v.shape)) if self.draw(st.booleans()))

    def reduce(self, v: Value) -> Value:
        name = (
            "reduce_sum" if self.smooth else self.pick(("reduce_sum", "reduce_max", "reduce_min"))
        )
        return getattr(ops, name)(v, axes=self.axes(v))

    def mean(self, v: Value) -> Value:
        return ops.reduce_mean(v, axes=self.axes(v))

    def contract(self, v: Value) -> Value | None:
        if len(v.shape) != 2:
            return None
        others = [u for u in self.values if len(u.shape) == 2 and v.shape[1] in u.shape]
        if not others:
            return None
        u = self.pick(others)
        right = "kn" if u.shape[0] == v.shape[1] else "nk"
        return ops.contract(v, u, spec=f"mk,{right}->{self.pick(('mn', 'nm'))}")

    def slice(self, v: Value) -> Value:
        start = [self.draw(st.integers(0, d - 1)) for d in v.shape]
        stop = [self.draw(st.integers(a + 1, d)) for a, d in zip(start, v.shape, strict=True)]
        step = [self.pick((1, 1, 2)) for _ in v.shape]
        return ops.slice_(v, start=start, stop=stop, step=step)

    def pad(self, v: Value) -> Value:
        few = st.integers(0, 1)
        low, high, interior = ([self.draw(few) for _ in v.shape] for _ in range(3))
        value = self.pick((0.0, 1.0))
        return ops.pad(v, low=low, high=high, interior=interior, value=value)

    def concat(self, v: Value) -> Value | None:
        if not v.shape:
            return None
        axis = self.draw(st.integers(0, len(v.shape) - 1))
        return ops.concat(v, self.like(v), axis=axis)

    def flip(self, v: Value) -> Value:
        return ops.flip(v, axes=self.axes(v))

    def softmax(self, v: Value) -> Value | None:
        if not v.shape:
            return None
        return ops.softmax(v, axis=self.draw(st.integers(0, len(v.shape) - 1)))

    def select(self, v: Value) -> Value | None:
        if self.smooth:
            return None
        return ops.select(ops.gt(v, self.like(v)), v, self.like(v))

    def scan(self, v: Value) -> Value | None:
        if len(v.shape) < 2:
            return None
        length, *rest = v.shape
        h0 = self.like(ops.full(value=0.5, shape=tuple(rest), dtype=v.dtype))
        k0 = self.like(h0)
        h, x, k = (Value(h0.type, name=n) for n in "hxk")
        a = ops.tanh(ops.add(ops.mul(h, k), x))
        b = ops.mul(a, x) if self.draw(st.booleans()) else ops.sin(a)
        body = graph_of("step", [h, x, k], [a, b])
        last, ys = ops.scan(
            h0, v, k0, body=body, carries=1, xs=1, length=length, reverse=self.draw(st.booleans())
        )
        self.values.append(last)
        return ys


@st.composite
def graphs(draw: Any, dtype: str = "f32", smooth: bool = False, steps: int = 12) -> Graph:
    """A graph of one to three inputs, of which one may be a state that comes back."""
    d = Drawer(draw, dtype, smooth)
    extent = st.sampled_from(EXTENTS)
    inputs = [
        Value(Type(dtype, tuple(draw(st.lists(extent, max_size=3)))), name=n)
        for n in "xyz"[: draw(st.integers(1, 3))]
    ]
    d.values += inputs
    for _ in range(draw(st.integers(1, steps))):
        d.step()
    outputs = [draw(st.sampled_from(d.values)) for _ in range(draw(st.integers(1, 3)))]
    roles = None
    if draw(st.booleans()):
        after = draw(st.sampled_from([v for v in d.values if v.type is inputs[0].type]))
        outputs = [after, *outputs]
        roles = [Role("state", "layer/w"), *(Role("data", v.name) for v in inputs[1:])]
    return graph_of("f", inputs, outputs, roles)


def arrays(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Operands for a static graph of floats, between -1 and 1."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, v.shape).astype(NUMPY[v.dtype]) for v in graph.inputs]

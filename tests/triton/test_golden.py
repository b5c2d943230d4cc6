"""The text of a few representative kernels, as files that can be read and run: `pytest tests/triton --regold` writes them.

A change of the printer shows here, line by line; look at the difference before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Graph, Value, graph_of
from ir.pipeline import optimise
from ir.types import Type
from tests.triton.test_attention import built
from tests.triton.test_scan import lstm, trained

GOLDEN = Path(__file__).parent / "golden"


def graph(build: Callable[..., Any], *types: str) -> Graph:
    values = []
    for k, text in enumerate(types):
        dtype, dims = text.rstrip("]").split("[")
        shape = tuple(int(d) for d in dims.split(",") if d)
        values.append(Value(Type(dtype, shape), None, 0, f"x{k}"))
    out = build(*values)
    return optimise(graph_of("case", values, list(out) if isinstance(out, tuple) else [out]))


def dense(x: Value, w: Value, b: Value, seed: Value, step: Value) -> tuple[Value, ...]:
    """A product, bias, relu, dropout, and the sum of its columns."""
    z = ops.contract(x, w, spec="mk,kn->mn")
    z = ops.add(z, ops.broadcast(b, shape=z.shape, axes=(1,)))
    y = ops.maximum(z, ops.full(value=0.0, shape=z.shape, dtype="f32"))
    kept = ops.gt(
        ops.random_uniform(seed, step, stream=1, shape=z.shape),
        ops.full(value=0.2, shape=z.shape, dtype="f32"),
    )
    y = ops.select(kept, y, ops.zeros_like(y))
    return y, ops.reduce_sum(y, axes=(0,))


def convolution(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
    windows = (("i", "h", "a", 2, 1, 1), ("j", "w", "b", 2, 1, 1))
    y = ops.contract(x, w, spec="nijc,abcf->nhwf", windows=windows, out=(5, 5))
    dx = ops.contract(g, w, spec="nhwf,abcf->nijc", windows=windows, out=(9, 9))
    return ops.tanh(y), dx


CASES: dict[str, Callable[[], Graph]] = {
    "softmax": lambda: graph(lambda x: ops.softmax(x, axis=1), "f32[33,100]"),
    "dense": lambda: graph(dense, "f32[32,100]", "f32[100,64]", "f32[64]", "u32[]", "u32[]"),
    "convolution": lambda: graph(convolution, "f32[2,9,9,5]", "f32[3,3,5,16]", "f32[2,5,5,16]"),
    "long_sum": lambda: graph(lambda x: ops.reduce_sum(x, axes=(0,)), "f32[70001]"),
    "lookup_gradient": lambda: graph(
        lambda i, u: ops.scatter_add(i, u, axis=0, extent=50), "i32[40]", "f32[40,16]"
    ),
    "lstm": lambda: trained(lstm(32, 10, 8, 20))[0],
    "attention": lambda: built(2, 2, 40, 40, 16, "cp")[0],
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_of_kernels(name: str, regold: bool) -> None:
    text = generate(CASES[name](), "triton").source
    path = GOLDEN / f"{name}.py"
    if regold:
        path.write_text(text)
    assert text == path.read_text()

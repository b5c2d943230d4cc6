"""What is made of an empty operand and is not empty itself: sums are 0, what is around it stays.

Holds each op that can do so, on every target. Refuses to hold programs of states.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.pipeline import optimise
from ir.types import Type
from tests.fuzz.programs import check_triton, run


def nothing(x: Value) -> Value:
    return ops.slice_(x, start=(0, 4), stop=(3, 4), step=(1, 1))


def windowed(x: Value) -> Value:
    kernel = ops.slice_(x, start=(0, 0), stop=(3, 2), step=(1, 1))
    return ops.contract(nothing(x), kernel, spec="ai,bA->abH", windows=(("i", "H", "A", 1, 2, 1),), out=(2,))  # fmt: skip


CASES: dict[str, Callable[[Value], Value]] = {
    "pad": lambda x: ops.add(
        ops.pad(nothing(x), low=(0, 1), high=(0, 3), interior=(0, 0), value=0.5), x
    ),
    "concat": lambda x: ops.concat(x, nothing(x), x, axis=1),
    "sum": lambda x: ops.reduce_sum(ops.tanh(nothing(x)), axes=(1,)),
    "prod": lambda x: ops.reduce_prod(nothing(x), axes=(1,)),
    "contract": lambda x: ops.contract(nothing(x), nothing(x), spec="ab,cb->ac"),
    "windows": windowed,
    "unfold": lambda x: ops.unfold(nothing(x), windows=((1, 2, 1, 1, 2, 3),), fill=1.0),
    "fold": lambda x: ops.fold(
        ops.reshape(nothing(x), shape=(3, 0, 2)), windows=((1, 2, 1, 1, 0, 3),)
    ),
}


@pytest.mark.parametrize("target", ("numpy", "native", "triton"))
@pytest.mark.parametrize("name", CASES)
def test_nothing_has_a_meaning(name: str, target: str) -> None:
    x = Value(Type("f32", (3, 4)), name="x")
    graph = graph_of("step", [x], [CASES[name](x)], [Role("data", "x")])
    if target == "triton":
        pytest.importorskip("triton")
        check_triton(graph, 0, steps=1)
    else:
        given = [np.random.default_rng(0).uniform(-1, 1, (3, 4)).astype("f4")]
        run(graph, lambda g: generate(optimise(g), target), given, 0, 1, target)

"""Fusion on its own: which nodes end up in one kernel, whatever pays."""

from __future__ import annotations

import pytest

from ir.graph import Node, Role, Value, graph_of
from ir.ops import tanh
from ir.passes.decompose import decompose
from ir.passes.fuse import Group, fuse
from ir.text import parse
from ir.types import Type

SOFTMAX = """
def f(x: f32[3, 200] = data("x")) -> (f32[3, 200],):
    y: f32[3, 200] = softmax(x, axis=1)
    return y,
"""
MOMENTUM = """
def f(m: f32[8, 4] = state("m"), x: f32[8, 5] = data("x"), y: f32[5, 4] = data("y")) -> (f32[8, 4],):
    c: f32[8, 4] = full(value=0.9, shape=(8, 4), dtype=f32)
    kept: f32[8, 4] = mul(m, c)
    g: f32[8, 4] = contract(x, y, spec="mk,kn->mn")
    new: f32[8, 4] = add(kept, g)
    return new,
"""


def kernels(text: str, profit: object = lambda node, group: "") -> list[list[str]]:
    """The ops of each kernel, those that are only views or given numbers left out."""
    fused = fuse(decompose(parse(text)), profit)  # type: ignore[arg-type]
    plain = ("full", "broadcast", "reshape", "stop_gradient", "iota")
    return [[m.op.name for m in n.attrs[0].nodes if m.op.name not in plain] for n in fused.nodes]


def product_first(node: Node, group: Group) -> str:
    return "a product begins a kernel" if node.op.name == "contract" else ""


def test_softmax_of_what_is_given_is_one_kernel() -> None:
    (ops,) = kernels(SOFTMAX)
    assert ops == ["reduce_max", "sub", "exp", "reduce_sum", "div"]


def test_what_only_changes_given_values_waits_for_its_reader() -> None:
    assert kernels(MOMENTUM, product_first) == [["contract", "mul", "add"]]


@pytest.mark.parametrize("length", [20, 3000])
def test_long_chains_are_cut_and_not_walked_again_and_again(length: int) -> None:
    x = Value(Type("f32", (4,)))
    y = x
    for _ in range(length):
        y = tanh(y)
    graph = graph_of("chain", [x], [y], [Role("data", "x")])
    nodes = fuse(graph, lambda node, group: "").nodes
    assert sum(len(n.attrs[0].nodes) for n in nodes) == length

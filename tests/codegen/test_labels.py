"""A program from the cache serves a graph of equal structure whose names are otherwise shared."""

from __future__ import annotations

from codegen.labels import with_names, without_names
from codegen.pipeline import generate
from ir.graph import Role, Value, at, graph_of
from ir.ops import add, tanh
from ir.types import Type


def step(state, layers):
    w, x = Value(Type("f32", (3,))), Value(Type("f32", (3,)))
    with at(layers[0]):
        y = tanh(x)
    with at(layers[1]):
        z = add(w, y)
    return graph_of("step", [w, x], [z], [Role("state", state), Role("data", "x")])


def test_a_state_called_like_a_layer():
    first = step("scale", ["dense", "scale"])
    second = step("offset", ["a", "b"])
    kept = without_names(generate(first), first)
    found = with_names(kept, second)
    assert [b.path for b in found.buffers if b.role == "state"] == ["offset"]
    assert with_names(kept, first) == generate(first)

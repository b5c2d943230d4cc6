"""Structural identity: `key(graph)`, a hash of what a graph computes, and `equal`.

Names, layer paths and state paths are no part of the key; the kinds of inputs (state, data) are.
Refuses to hold any notion of equal value: two graphs that compute the same differently differ.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ir.graph import Graph, Value


def key(graph: Graph) -> str:
    """The sha256, as hex, over structure, types and attributes of `graph`."""
    return _key(graph, {})


def equal(a: Graph, b: Graph) -> bool:
    """Whether two graphs have equal structure and equal roles, state paths included."""
    return a.roles == b.roles and key(a) == key(b)


def attrs_key(attrs: tuple[Any, ...], known: dict[Graph, str] | None = None) -> Any:
    """A hashable key of a node's attributes, bodies by structure. `known` remembers bodies.

    The spelling of normalised attributes tells 1 from 1.0 and True, 0.0 from -0.0, and NaN is NaN.
    """
    for a in attrs:
        if isinstance(a, Graph):
            return tuple([_attr(a, {} if known is None else known) for a in attrs])
    return repr(attrs)


def _key(graph: Graph, known: dict[Graph, str]) -> str:
    if graph in known:
        return known[graph]
    number: dict[Value, int] = {}
    lines: list[str] = []
    for v, role in zip(graph.inputs, graph.roles, strict=True):
        number[v] = len(number)
        lines.append(f"in {role.kind} {v.type!r}")
    for n in graph.nodes:
        reads = [number[v] for v in n.inputs]
        for v in n.outs:
            number[v] = len(number)
        shown = attrs_key(n.attrs, known)
        lines.append(f"{n.op.name} {reads} {shown} {[v.type for v in n.outs]}")
    lines.append(f"out {[number[v] for v in graph.outputs]}")
    known[graph] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return known[graph]


def _attr(a: Any, known: dict[Graph, str]) -> str:
    return "graph " + _key(a, known) if isinstance(a, Graph) else repr(a)

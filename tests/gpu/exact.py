"""A graph in f64 throughout: what a result would be without rounding. Refuses to judge (`judge`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ir.graph import Graph, Node, Value
from ir.interpret import interpret
from ir.op import TABLE
from ir.types import Type

HALF_OR_SINGLE = ("f16", "bf16", "f32")
DRAWN = ("random_uniform", "random_normal")  # f32 by what they are: the same numbers
Array = np.ndarray[Any, Any]


def exactly(graph: Graph, arrays: list[Array]) -> list[Array]:
    """The outputs of a static graph on arrays of its types, in f64; random numbers are those of the graph."""
    given = [a.astype("f8") if a.dtype.kind == "f" else a for a in arrays]
    return interpret(wide(graph), given)


def wide(graph: Graph) -> Graph:
    """The graph with every float an f64."""
    return _graph(graph, {})


def _graph(graph: Graph, known: dict[Value, Value]) -> Graph:
    inputs = [known.setdefault(v, Value(_type(v.type), None, 0, v.name)) for v in graph.inputs]
    nodes: list[Node] = []
    for n in graph.nodes:
        args = tuple(known[v] for v in n.inputs)
        if n.op.name in DRAWN:
            drawn = Node(n.op, args, n.attrs, [v.type for v in n.outs])
            cast = Node(TABLE["cast"], drawn.outs, ("f64",), [_type(v.type) for v in n.outs])
            nodes += [drawn, cast]
        else:
            names = n.op.attr_index
            attrs = tuple(_attr(name, n.attrs[i], known) for name, i in names.items())
            nodes.append(Node(n.op, args, attrs, [_type(v.type) for v in n.outs]))
        known |= zip(n.outs, nodes[-1].outs, strict=True)
    return Graph(graph.name, inputs, nodes, [known[v] for v in graph.outputs], graph.roles)


def _attr(name: str, value: Any, known: dict[Value, Value]) -> Any:
    if isinstance(value, Graph):
        return _graph(value, known)
    if name == "precision":
        return "ieee"
    return "f64" if isinstance(value, str) and value in HALF_OR_SINGLE else value


def _type(t: Type) -> Type:
    return Type("f64", t.shape) if t.dtype in HALF_OR_SINGLE else t

"""Binding: a graph with some of its named dimensions replaced, `bind(graph, N=32)`.

Holds the substitution in types, attributes and bodies. A bound graph equals the graph traced at
those extents. Refuses to hold any simplification, but that `size` of a number becomes that number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ir import dims
from ir.dims import DimLike
from ir.graph import Graph, Node, Value
from ir.op import TABLE, IRError, bind_attr
from ir.types import FLOATS


def dim_names(graph: Graph) -> frozenset[str]:
    """The names in the types of the inputs of `graph`."""
    found: set[str] = set()
    for v in graph.inputs:
        for d in v.type.shape:
            found |= dims.names(d)
    return frozenset(found)


def bind(graph: Graph, **extents: DimLike) -> Graph:
    """`graph` with the named dimensions replaced by `extents`; names not given stay.

    Values shared between bodies stay shared. Raises IRError for a name the inputs do not have, and
    for a negative extent.
    """
    known = dim_names(graph)
    for name, extent in extents.items():
        if name not in known:
            raise IRError(f"bind: {name} is no dimension of {graph.name!r}; it has {sorted(known)}")
        if isinstance(extent, int) and extent < 0:
            raise IRError(f"bind: {name}={extent} is negative")
    return _Bind(extents).graph(graph) if extents else graph


class _Bind:
    """One substitution, remembered over all bodies so that what they share stays shared."""

    def __init__(self, env: Mapping[str, DimLike]):
        self.env = env
        self.values: dict[Value, Value] = {}
        self.nodes: dict[Node, Node] = {}
        self.graphs: dict[Graph, Graph] = {}

    def graph(self, graph: Graph) -> Graph:
        if graph not in self.graphs:
            inputs = [self.value(v) for v in graph.inputs]
            nodes = [self.node(n) for n in graph.nodes]
            outputs = [self.values[v] for v in graph.outputs]
            self.graphs[graph] = Graph(graph.name, inputs, nodes, outputs, graph.roles)
        return self.graphs[graph]

    def value(self, v: Value) -> Value:
        if v not in self.values:
            t = v.type.bind(self.env)
            self.values[v] = v if t is v.type else Value(t, None, 0, v.name)
        return self.values[v]

    def node(self, n: Node) -> Node:
        found = self.nodes.get(n)
        if found is not None:
            return found
        inputs = tuple([self.values[v] for v in n.inputs])
        types = [v.type.bind(self.env) for v in n.outs]
        attrs = n.attrs
        op = n.op
        if attrs:
            attrs = tuple([self.attr(a) for a in attrs])
        if op.name == "size" and isinstance(attrs[0], int):
            op = TABLE["full"]
            value = float(attrs[0]) if types[0].dtype in FLOATS else attrs[0]
            attrs = op.normalise({"value": value, "shape": (), "dtype": types[0].dtype})
        same = (
            op is n.op
            and _identical(inputs, n.inputs)
            and _identical(attrs, n.attrs)
            and _identical(types, [v.type for v in n.outs])
        )
        new = n if same else Node(op, inputs, attrs, types, n.at)
        for old, out in zip(n.outs, new.outs, strict=True):
            self.values[old] = out
            out.name = old.name
        self.nodes[n] = new
        return new

    def attr(self, a: Any) -> Any:
        if isinstance(a, Graph):
            return self.graph(a)
        if isinstance(a, (str, bool, int, float)):
            return a
        bound = bind_attr(a, self.env)
        return a if bound == a else bound


def _identical(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))

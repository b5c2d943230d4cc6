"""merge_scans: scans over equal operands whose carries move alike become one scan.

The gradient of a scan leaves the plain scan and a twin that also keeps residuals; common
subexpressions cannot see that one holds the other. Refuses to merge scans with different operands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ir.graph import Graph, Node, Value
from ir.key import attrs_key
from ir.passes.cse import cse
from ir.rewrite import map_bodies, with_attrs, with_inputs


class _Merged(NamedTuple):
    """The scan that stands for several, and for each of those where its results are."""

    node: Node
    outs: dict[Node, list[int]]


def merge_scans(graph: Graph) -> Graph:
    """`graph` with each family of scans over the same operands made one, at the place of the first."""
    graph = map_bodies(graph, merge_scans)
    while True:
        groups: dict[Any, list[Node]] = {}
        for n in graph.nodes:
            if n.op.name == "scan":
                groups.setdefault((n.inputs, n.attrs[1:]), []).append(n)
        merged = [m for g in groups.values() if len(g) > 1 for m in _merge(g)]
        if not merged:
            return graph
        graph = cse(_substitute(graph, merged))


def _merge(group: list[Node]) -> list[_Merged]:
    """The merged scans of a group with equal operands, one for each way its carries move."""
    found = []
    rest = group
    while rest:
        base = max(rest, key=lambda n: len(n.outs))
        union = _Union(base)
        outs = {n: at for n in rest if (at := union.add(n)) is not None}
        rest = [n for n in rest if n not in outs]
        if len(outs) > 1:
            found.append(_Merged(union.node(), outs))
    return found


class _Union:
    """A scan whose body grows by what other bodies compute beside it."""

    def __init__(self, base: Node):
        self.base = base
        body: Graph = base.attr("body")
        self.body, self.n_carries = body, base.attr("carries")
        self.nodes: list[Node] = []
        self.seen: dict[Any, tuple[Value, ...]] = {}
        self.keys: dict[Graph, str] = {}
        env = self.place(body)
        self.outputs = [env[v] for v in body.outputs]

    def place(self, body: Graph) -> dict[Value, Value]:
        """The values of `body` as values of the union, whose nodes grow by those not there yet."""
        env = dict(zip(body.inputs, self.body.inputs, strict=True))
        for n in body.nodes:
            inputs = tuple(env[v] for v in n.inputs)
            key = (n.op, inputs, attrs_key(n.attrs, self.keys))
            outs = self.seen.get(key)
            if outs is None:
                new = n if inputs == n.inputs else with_inputs(n, inputs)
                self.nodes.append(new)
                outs = self.seen[key] = new.outs
            env.update(zip(n.outs, outs, strict=True))
        return env

    def add(self, scan: Node) -> list[int] | None:
        """Where the results of `scan` are among those of the union; None if its carries differ."""
        before = len(self.nodes)
        body: Graph = scan.attr("body")
        env = self.place(body)
        mine = [env[v] for v in body.outputs]
        if mine[: self.n_carries] != self.outputs[: self.n_carries]:
            gone = {v for n in self.nodes[before:] for v in n.outs}
            self.seen = {k: outs for k, outs in self.seen.items() if outs[0] not in gone}
            del self.nodes[before:]
            return None
        at = list(range(self.n_carries))
        for v in mine[self.n_carries :]:
            if v not in self.outputs[self.n_carries :]:
                self.outputs.append(v)
            at.append(self.outputs.index(v, self.n_carries))
        return at

    def node(self) -> Node:
        body = Graph(self.body.name, self.body.inputs, self.nodes, self.outputs, self.body.roles)
        return with_attrs(self.base, body=body)


def _substitute(graph: Graph, merged: list[_Merged]) -> Graph:
    of = {n: m for m in merged for n in m.outs}
    built: dict[Node, Node] = {}  # by the merged node, that node on its new operands
    env: dict[Value, Value] = {}
    nodes = []
    for n in graph.nodes:
        m = of.get(n)
        new = n if m is None else m.node
        if m is not None and new in built:
            new = built[new]
        else:
            if any(v in env for v in new.inputs):
                new = with_inputs(new, tuple([env.get(v, v) for v in new.inputs]))
            if m is not None:
                built[m.node] = new
            nodes.append(new)
        if new is not n:
            at = range(len(n.outs)) if m is None else m.outs[n]
            env.update({old: new.outs[i] for old, i in zip(n.outs, at, strict=True)})
    return graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in graph.outputs])

"""merge_scans: scans from equal first carries that move alike become one scan.

The gradient of a scan leaves the plain scan and a twin that also keeps residuals; common
subexpressions cannot see that one holds the other. Refuses to merge loops that only run side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ir.graph import Graph, Node, Value
from ir.key import attrs_key
from ir.passes.algebra_scan import one_carry
from ir.passes.cse import cse
from ir.rewrite import map_bodies, rewrite, with_inputs


class _Merged(NamedTuple):
    """The scan that stands for several, and for each of those where its results are."""

    node: Node
    outs: dict[Node, list[int]]


def merge_scans(graph: Graph) -> Graph:
    """`graph` with each family of scans from the same first carries made one, at the first's place."""
    graph = rewrite(map_bodies(graph, merge_scans), one_carry)
    while True:
        groups: dict[Any, list[Node]] = {}
        for n in graph.nodes:
            if n.op.name == "scan":
                carries = n.attr("carries")
                same = (n.inputs[:carries], n.attr("length"), n.attr("reverse"))
                groups.setdefault(same, []).append(n)
        place = {n: i for i, n in enumerate(graph.nodes)}
        merged = [m for g in groups.values() if len(g) > 1 for m in _merge(g, place)]
        if not merged:
            return graph
        graph = cse(_substitute(graph, merged))


def _merge(group: list[Node], place: dict[Node, int]) -> list[_Merged]:
    """The merged scans of a group in graph order, one for each way its carries move."""
    found = []
    rest = group
    while len(rest) > 1:
        start = place[rest[0]]
        ready = [n for n in rest if all(v.node is None or place[v.node] < start for v in n.inputs)]
        union = _Union(max(ready, key=lambda n: len(n.outs)))
        outs = {n: at for n in ready if (at := union.add(n)) is not None}
        if len(outs) > 1:
            found.append(_Merged(union.node(), outs))
        rest = [n for n in rest if n not in outs]
    return found


class _Union:
    """A scan whose body grows by what other bodies compute beside it, from operands of their own."""

    def __init__(self, base: Node):
        self.base = base
        body: Graph = base.attr("body")
        self.body, self.n_carries = body, base.attr("carries")
        self.nodes: list[Node] = []
        self.seen: dict[Any, tuple[Value, ...]] = {}
        self.keys: dict[Graph, str] = {}
        # what an operand is called in the body
        self.xs: dict[Value, Value] = {}
        self.consts: dict[Value, Value] = {}
        env = self.place(base)
        self.outputs = [env[v] for v in body.outputs]

    def place(self, scan: Node) -> dict[Value, Value]:
        """The values of a scan's body as values of the union, which grows by what is not there yet."""
        body: Graph = scan.attr("body")
        n_c, n_x = self.n_carries, scan.attr("xs")
        env = dict(zip(body.inputs[:n_c], self.body.inputs, strict=False))
        pairs = list(zip(body.inputs, scan.inputs, strict=True))
        for inner, operand in pairs[n_c : n_c + n_x]:
            env[inner] = self.inside(self.xs, operand, inner)
        for inner, operand in pairs[n_c + n_x :]:
            env[inner] = self.inside(self.consts, operand, inner)
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

    def inside(self, known: dict[Value, Value], operand: Value, inner: Value) -> Value:
        """What `operand` is called in the body: `inner`, unless that stands for another one."""
        if operand not in known:
            taken = (*self.body.inputs[: self.n_carries], *self.xs.values(), *self.consts.values())
            known[operand] = Value(inner.type, None, 0, inner.name) if inner in taken else inner
        return known[operand]

    def add(self, scan: Node) -> list[int] | None:
        """Where the results of `scan` are among those of the union; None if its carries differ."""
        before = (len(self.nodes), dict(self.xs), dict(self.consts))
        body: Graph = scan.attr("body")
        env = self.place(scan)
        mine = [env[v] for v in body.outputs]
        if mine[: self.n_carries] != self.outputs[: self.n_carries]:
            n, self.xs, self.consts = before
            gone = {v for added in self.nodes[n:] for v in added.outs}
            self.seen = {k: outs for k, outs in self.seen.items() if outs[0] not in gone}
            del self.nodes[n:]
            return None
        at = list(range(self.n_carries))
        for v in mine[self.n_carries :]:
            if v not in self.outputs[self.n_carries :]:
                self.outputs.append(v)
            at.append(self.outputs.index(v, self.n_carries))
        return at

    def node(self) -> Node:
        base, n_c = self.base, self.n_carries
        inputs = (*self.body.inputs[:n_c], *self.xs.values(), *self.consts.values())
        body = Graph(self.body.name, inputs, self.nodes, self.outputs)
        attrs = base.op.normalise(
            {
                "body": body, "carries": n_c, "xs": len(self.xs), "length": base.attr("length"),
                "reverse": base.attr("reverse"),
            }
        )  # fmt: skip
        return base.op.node((*base.inputs[:n_c], *self.xs, *self.consts), attrs, base.at)


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

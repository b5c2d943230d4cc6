"""dce: nodes that no output depends on are dropped; scans lose what nobody reads.

A scan keeps the carries, sequences, constants and stacked results that are needed, decided together
with its body: a carry whose final value is unread and which only feeds itself goes.
"""

from __future__ import annotations

from typing import NamedTuple

from ir.graph import Graph, Node, Role, Value
from ir.rewrite import map_bodies, with_inputs


class _Trimmed(NamedTuple):
    """A scan that lost something, and which results of the old one its results are."""

    node: Node
    outs: tuple[int, ...]


def dce(graph: Graph) -> Graph:
    """`graph` with only the nodes its outputs depend on, in the same order. Inputs stay."""
    graph = map_bodies(graph, dce)
    live = set(graph.outputs)
    kept: list[Node] = []
    trimmed: dict[Node, _Trimmed] = {}
    for node in reversed(graph.nodes):
        for v in node.outs:
            if v in live:
                break
        else:
            continue
        reads = node.inputs
        if node.op.name == "scan":
            found = _trim(node, [i for i, v in enumerate(node.outs) if v in live])
            if found is not None:
                trimmed[node] = found
                reads = found.node.inputs
        live.update(reads)
        kept.append(node)
    if len(kept) != len(graph.nodes):
        graph = graph.replace(nodes=kept[::-1])
    return _substitute(graph, trimmed) if trimmed else graph


def _substitute(graph: Graph, trimmed: dict[Node, _Trimmed]) -> Graph:
    """`graph` with the trimmed scans in their places."""
    env: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        new, outs = trimmed.get(node, (node, tuple(range(len(node.outs)))))
        if any(v in env for v in new.inputs):
            new = with_inputs(new, tuple([env.get(v, v) for v in new.inputs]))
        if new is not node:
            env.update({node.outs[i]: v for i, v in zip(outs, new.outs, strict=True)})
        nodes.append(new)
    return graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in graph.outputs])


def _trim(node: Node, used: list[int]) -> _Trimmed | None:
    """The scan `node` with what its results at `used` need, or None where that is all it has."""
    body: Graph = node.attr("body")
    n_carries, n_xs = node.attr("carries"), node.attr("xs")
    needed = set(used)
    while True:
        live = _cone(body, [v for i, v in enumerate(body.outputs) if i in needed])
        fed = {i for i in range(n_carries) if body.inputs[i] in live}
        if fed <= needed:
            break
        needed |= fed
    inputs = [i for i, v in enumerate(body.inputs) if (i in needed if i < n_carries else v in live)]
    outs = sorted(needed)
    if len(inputs) == len(body.inputs) and len(outs) == len(body.outputs):
        return None
    small = dce(
        Graph(
            body.name, [body.inputs[i] for i in inputs], body.nodes, [body.outputs[i] for i in outs],
            (Role(),) * len(inputs),
        )
    )  # fmt: skip
    attrs = list(node.attrs)
    index = node.op.attr_index
    attrs[index["body"]] = small
    attrs[index["carries"]] = sum(i < n_carries for i in inputs)
    attrs[index["xs"]] = sum(n_carries <= i < n_carries + n_xs for i in inputs)
    types = [node.outs[i].type for i in outs]
    new = Node(node.op, tuple(node.inputs[i] for i in inputs), tuple(attrs), types, node.at)
    for i, v in zip(outs, new.outs, strict=True):
        v.name = node.outs[i].name
    return _Trimmed(new, tuple(outs))


def _cone(body: Graph, outputs: list[Value]) -> set[Value]:
    """The values of `body` that `outputs` depend on."""
    live = set(outputs)
    for n in reversed(body.nodes):
        if any(v in live for v in n.outs):
            live.update(n.inputs)
    return live

"""After fusion: a group that has no schedule as it stands, in groups that have one.

Fusion asks for a group's schedule while it grows, and cannot know yet which of its values something else will read; one that must
be stored may lie along other axes than the rest. Refuses to choose what pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.triton.profit import launched, region_for
from codegen.triton.spelling import Unsupported
from ir.graph import Graph, Node, Value, reachable
from ir.ops.fused import fused
from ir.passes.fuse import CLONED
from ir.spaces import Mismatch


def apart(graph: Graph) -> Graph:
    """`graph` with each kernel that has no schedule cut into the longest that have, without those whose results nobody reads."""
    env: dict[Value, Value] = {}
    nodes: list[Node] = []
    for n in graph.nodes:
        if not n.outs:
            continue
        known = n.outs
        if any(v in env for v in n.inputs):
            copy = Node(n.op, tuple(env.get(v, v) for v in n.inputs), n.attrs, [v.type for v in n.outs], n.at)  # fmt: skip
            for old, new in zip(known, copy.outs, strict=True):
                new.name = old.name
            env.update(zip(known, copy.outs, strict=True))
            n = copy
        if n.op is not fused or type(n.attrs[0]) is not Graph or _fits(n.attrs[0]):
            nodes.append(n)
            continue
        parts, results = _cut(n)
        nodes += parts
        env.update(zip(known, results, strict=True))
    return graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in graph.outputs])


def _fits(body: Graph) -> bool:
    try:
        launched(region_for(body))
    except (Unsupported, Mismatch):
        return False
    return True


def _cut(node: Node) -> tuple[list[Node], list[Value]]:
    """Kernels that do the work of one, and what its results are then; a node that is alone stays, fit or not."""
    body: Graph = node.attrs[0]
    stands = dict(
        zip(body.inputs, node.inputs, strict=True)
    )  # of values inside: what they are outside
    ends = {v.node for v in body.outputs}
    left = [n for n in body.nodes if n.op.name not in CLONED or n in ends]
    made: list[Node] = []
    while left:
        for count in range(len(left), 0, -1):
            part = _part(body, left[:count], left[count:], stands, node)
            if count == 1 or _fits(part[0].attrs[0]):
                break
        own, outs = part
        made.append(own)
        stands.update(zip(outs, own.outs, strict=True))
        left = left[count:]
    return made, [stands[v] for v in body.outputs]


def _part(
    body: Graph, own: list[Node], later: list[Node], stands: dict[Value, Value], node: Node
) -> tuple[Node, list[Value]]:
    """A kernel of some nodes of a body, with the views that they read; and the values inside that are its results."""
    read = _read(later)
    outs = [v for n in own for v in n.outs if v in read or v in body.outputs]
    return kernel(body, outs, stands, node), outs


def kernel(body: Graph, outs: Sequence[Value], stands: Mapping[Value, Value], node: Node) -> Node:
    """A kernel that makes these values of a node's body. stands: of values inside, what they are outside; others it makes."""
    inner = reachable(outs, set(stands))
    inputs = [v for v in dict.fromkeys(x for n in inner for x in n.inputs) if v in stands]
    env = {v: Value(v.type, None, 0, v.name) for v in inputs}
    nodes = []
    for n in inner:
        copy = Node(n.op, tuple(env[v] for v in n.inputs), n.attrs, [v.type for v in n.outs], n.at)
        env.update(zip(n.outs, copy.outs, strict=True))
        nodes.append(copy)
    part = Graph(body.name, [env[v] for v in inputs], nodes, [env[v] for v in outs])
    given = tuple(stands[v] for v in inputs)
    return Node(fused, given, (part, node.attrs[1]), [v.type for v in outs], node.at)


def _read(nodes: list[Node]) -> set[Value]:
    """What some nodes read, and what the views they read are of."""
    found: set[Value] = set()
    todo = [v for n in nodes for v in n.inputs]
    while todo:
        v = todo.pop()
        if v not in found:
            found.add(v)
            if v.node is not None and v.node.op.name in CLONED:
                todo.extend(v.node.inputs)
    return found

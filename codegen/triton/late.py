"""After fusion: what is made of sums over all of a kernel's rows, in a kernel of its own.

A normalisation needs its statistics before its first number: its kernel is a product with partial sums, the sums of those, and what
is made of them (`split`). Apart from it the last can be made where it is read (`prologue`). Refuses to choose where that pays.
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.triton.apart import kernel
from codegen.triton.merge import opened
from codegen.triton.profit import region_for
from codegen.triton.schedule import schedule
from codegen.triton.spelling import Unsupported
from codegen.triton.split import split
from ir.graph import Graph, Node, Value
from ir.passes.fuse import CLONED
from ir.spaces import Mismatch

SUMS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")


def late(graph: Graph) -> Graph:
    """`graph` with each kernel cut behind the sums that it would end at anyway."""
    env: dict[Value, Value] = {}
    nodes: list[Node] = []
    for n in graph.nodes:
        given = tuple(env.get(v, v) for v in n.inputs)
        moved = n if given == n.inputs else Node(n.op, given, n.attrs, [v.type for v in n.outs], n.at)  # fmt: skip
        made, outs = (_cut(moved) if opened(n) else None) or ([moved], moved.outs)
        nodes += made
        for old, new in zip(n.outs, outs, strict=True):
            new.name = old.name
            env[old] = new
    return graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in graph.outputs])


def _cut(node: Node) -> tuple[list[Node], Sequence[Value]] | None:
    """A kernel up to its sums and one behind them, and what the node's results are then; None where there is no such place."""
    body: Graph = node.attrs[0]
    count = _parts(body)
    if count < 2:
        return None
    sums = [n for n in body.nodes if n.op.name in SUMS]
    few = max((int(n.outs[0].type.size) for n in sums), default=0)
    summed: set[Value] = set()  # made of sums
    product: set[Value] = set()  # made of a product, of no sum
    for n in body.nodes:
        if n in sums or summed & set(n.inputs):
            summed.update(n.outs)
        elif n.op.name == "contract" or product & set(n.inputs):
            product.update(n.outs)
    last = [v for v in body.outputs if v in summed and int(v.type.size) > few]
    given: dict[Value, None] = {}
    todo, seen = list(last), set()
    while todo:
        v = todo.pop()
        if v.node is None or v in seen:
            continue
        seen.add(v)
        whole = v in product or (v in summed and int(v.type.size) <= few)
        if whole and v.node.op.name not in CLONED:
            given.setdefault(v)
        else:
            todo.extend(v.node.inputs)
    if not last:
        return None
    stands = dict(zip(body.inputs, node.inputs, strict=True))
    first = [*(v for v in body.outputs if v not in last), *(v for v in given if v not in body.outputs)]  # fmt: skip
    head = kernel(body, first, stands, node)
    stands.update(zip(first, head.outs, strict=True))
    rest = kernel(body, last, stands, node)
    stands.update(zip(last, rest.outs, strict=True))
    if _parts(head.attrs[0]) + _parts(rest.attrs[0]) > count:
        return None
    return [head, rest], [stands[v] for v in body.outputs]


def _parts(body: Graph) -> int:
    """Launches of a kernel; many where it has no schedule."""
    region = region_for(body)
    try:
        return len(split(region, schedule(region)))
    except (Unsupported, Mismatch):
        return len(body.nodes)

"""What pays on a GPU: which nodes share a kernel.

A kernel is a product with what follows it at its own positions, or rows with their reductions, or one flat
space; scalars keep to themselves (`codegen.triton.program` gives them a host). Whether a group has a schedule is asked of the
scheduler itself. Refuses to hold legality (`ir.passes.fuse`).
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.loops import Buf, Region
from codegen.reads import through
from codegen.regions import region_of
from codegen.triton.schedule import MANY, programs, schedule
from codegen.triton.spelling import UNSUPPORTED, Unsupported
from codegen.triton.split import split
from codegen.triton.vectors import plain
from ir.graph import Graph, Node, Value
from ir.passes.fuse import CLONED, Group
from ir.spaces import Mismatch

SMALL = 16384  # elements that one program may take where more programs would be idle otherwise
WORK = 1 << 19  # floating point operations likewise
ENOUGH = MANY - MANY // 32  # programs whose missing neighbours are not worth a kernel


def profit(node: Node, group: Group) -> str:
    """Why `node` should not join `group`; empty where it should."""
    name = node.op.name
    if name in UNSUPPORTED:
        return UNSUPPORTED[name]
    if name == "contract":
        return "a product starts its kernel"
    made = any(
        v in group.env and v.node is not None and v.node.op.name not in CLONED
        for v in through(node)
    )
    real = [n for n in group.nodes if n.op.name not in CLONED]
    alone = all(is_scalar(n) for n in real)
    if is_scalar(node):
        if alone or made:
            return ""
        return "a scalar needs no program of its own"
    if alone:
        return "the group computes scalars"
    if not made:
        if any(n.op.name == "contract" for n in real):
            return "it reads nothing that the product makes"
        if elements(node) != max(elements(n) for n in real):
            return "it is of another size"
    try:
        after = extended(node, group)
    except (Unsupported, Mismatch) as e:
        return str(e)
    if pays([*group.nodes, node], after, 0) or after >= spread(group):
        return ""
    return "fewer programs would share the work"


def pays(nodes: Sequence[Node], after: int, before: int) -> bool:
    """Whether `after` programs are enough for some nodes in one kernel, `before` of which did it apart."""
    if after >= ENOUGH or (before and after >= before):
        return True
    real = [n for n in nodes if n.op.name not in CLONED]
    flops = sum(flops_of(n) for n in real if n.op.name == "contract")
    if flops:
        return flops <= WORK * after
    return max(elements(n) for n in real) <= SMALL * after


def is_scalar(n: Node) -> bool:
    """Whether a node takes and makes single numbers."""
    return all(v.type.size == 1 for v in (*n.inputs, *n.outs))


def elements(n: Node) -> int:
    """The largest value a node touches, in elements."""
    return max(int(v.type.size) for v in (*n.inputs, *n.outs))


def flops_of(n: Node) -> int:
    """Floating point operations of a node."""
    found = n.op.flops(*n.op.args(tuple(v.type for v in n.inputs)), *n.attrs) if n.op.flops else 0
    return int(found)


def region_for(body: Graph) -> Region:
    """The region of a kernel's body, as the target wants it. Raises Mismatch."""
    ins = [Buf("", v.shape, v.dtype) for v in body.inputs]
    outs = [Buf("", v.shape, v.dtype) for v in body.outputs]
    return plain(region_of(body, ins, outs, fold_gradients=False))


def launched(region: Region) -> int:
    """Programs that do the work of a region, a split counted. Raises Unsupported."""
    return programs(split(region, schedule(region))[0][1])


def region_in(nodes: list[Node]) -> Region:
    """The region of some nodes, every result of the last and every one read nowhere stored."""
    inside = {v for n in nodes for v in n.outs}
    inputs = list(dict.fromkeys(v for n in nodes for v in n.inputs if v not in inside))
    read = {v for n in nodes for v in n.inputs}
    outs = [
        v
        for n in nodes
        for v in n.outs
        if n is nodes[-1] or (n.op.name not in CLONED and v not in read)
    ]
    body = Graph("k", inputs, nodes, outs)
    return region_for(body)


def extended(node: Node, group: Group) -> int:
    """Programs of the group with the node in it. Raises Unsupported, Mismatch."""
    env: dict[Value, Value] = dict(group.env)
    given = dict(group.inputs)
    nodes = list(group.nodes)

    def copy(n: Node) -> None:
        for v in n.inputs:
            if v in env or v in given:
                continue
            if v.node is not None and v.node.op.name in CLONED:
                copy(v.node)
            else:
                given[v] = Value(v.type, None, 0, v.name)
        local = tuple(env[v] if v in env else given[v] for v in n.inputs)
        made = Node(n.op, local, n.attrs, [v.type for v in n.outs], n.at)
        env.update(zip(n.outs, made.outs, strict=True))
        nodes.append(made)

    copy(node)
    return launched(region_in(nodes))


def spread(group: Group) -> int:
    """Programs of the group as it is."""
    try:
        return launched(region_in(list(group.nodes)))
    except (Unsupported, Mismatch):
        return 0

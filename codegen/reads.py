"""What the profit of every target asks of a node: what it reads, seen through views, and how many bytes that is.

Refuses to hold what pays (`profit` of each target).
"""

from __future__ import annotations

from ir.graph import Node, Value
from ir.passes.fuse import CLONED


def through(node: Node) -> list[Value]:
    """The operands of a node, and those of the views among them."""
    found: list[Value] = []
    todo = list(node.inputs)
    while todo:
        v = todo.pop()
        found.append(v)
        if v.node is not None and v.node.op.name in CLONED:
            todo.extend(v.node.inputs)
    return found


def nbytes(v: Value) -> int:
    """Bytes of a value; many where an extent is no number."""
    size = v.type.nbytes
    return size if isinstance(size, int) else 1 << 30


def largest(node: Node) -> int:
    """Bytes of the largest value that a node reads or makes."""
    return max(map(nbytes, (*node.inputs, *node.outs)), default=0)

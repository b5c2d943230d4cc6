"""cse: nodes of equal op, operands and attributes are computed once.

Operands of commutative ops count in any order. Random numbers are functions of their operands and
stream, so they merge like anything else. Refuses to see equality beyond structure.
"""

from __future__ import annotations

from typing import Any

from ir.graph import Graph, Node, Value
from ir.key import attrs_key
from ir.rewrite import Replacement, map_bodies, rewrite

COMMUTATIVE = frozenset(
    ("add", "mul", "maximum", "minimum", "eq", "ne", "logical_and", "logical_or", "logical_xor")
)


def cse(graph: Graph) -> Graph:
    """`graph` with one node for each computation, at the place of the first."""
    bodies: dict[Graph, str] = {}
    seen: dict[Any, tuple[Value, ...]] = {}

    def rule(node: Node) -> Replacement:
        inputs: Any = node.inputs
        if node.op.name in COMMUTATIVE and id(inputs[0]) > id(inputs[1]):
            inputs = (inputs[1], inputs[0])
        key = (node.op, inputs, attrs_key(node.attrs, bodies) if node.attrs else ())
        first = seen.setdefault(key, node.outs)
        return None if first is node.outs else first

    return rewrite(map_bodies(graph, cse), rule, again=False)

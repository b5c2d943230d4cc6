"""precision: how contractions of f32 multiply, `ieee` (the default), `tf32` or `bf16`.

Sets the attribute and nothing else: types stay. Refuses to decide; the user asks for it.
"""

from __future__ import annotations

from ir.graph import Graph, Node
from ir.op import IRError
from ir.ops.contract import PRECISIONS
from ir.rewrite import Replacement, map_bodies, rewrite, with_attrs


def precision(graph: Graph, to: str = "ieee") -> Graph:
    """`graph` with every contraction of f32 operands at precision `to`. Raises IRError."""
    if to not in PRECISIONS:
        raise IRError(f"precision must be one of {', '.join(PRECISIONS)}, not {to!r}")

    def rule(node: Node) -> Replacement:
        if node.op.name != "contract" or node.inputs[0].dtype != "f32":
            return None
        if node.attr("precision") == to:
            return None
        return with_attrs(node, precision=to).outs

    return rewrite(map_bodies(graph, lambda body: precision(body, to)), rule)

"""atomic: lookups' gradients whose sums may come in any order, as a GPU's atomic additions give them.

Sets the attribute and nothing else. Refuses to decide; the user asks for it.
"""

from __future__ import annotations

from ir.graph import Graph, Node
from ir.rewrite import Replacement, map_bodies, rewrite, with_attrs


def atomic(graph: Graph) -> Graph:
    """`graph` with every `scatter_add` and `scatter_along` atomic, in bodies too."""
    return rewrite(map_bodies(graph, atomic), _rule)


def _rule(node: Node) -> Replacement:
    if node.op.name not in ("scatter_add", "scatter_along") or node.attr("atomic"):
        return None
    return with_attrs(node, atomic=True).outs

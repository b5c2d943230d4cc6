"""decompose: every composite is replaced by its body of primitives, bodies of scans included.

Refuses to simplify what it opens: a composite and the copy of its body in its gradient become equal
nodes, which cse merges.
"""

from __future__ import annotations

from collections.abc import Collection

from ir.graph import Graph, Node
from ir.rewrite import Replacement, map_bodies, rewrite


def decompose(graph: Graph, keep: Collection[str] = ()) -> Graph:
    """`graph` without composites, but for those whose op is named in `keep`."""

    def rule(node: Node) -> Replacement:
        body = node.op.body
        if body is None or node.op.name in keep:
            return None
        found: Replacement = body(*node.op.args(node.inputs), *node.attrs)
        return found

    # bodies last: a composite may open into a scan whose body has composites
    return map_bodies(rewrite(graph, rule), lambda body: decompose(body, keep))

"""What the Triton target makes of a step graph before its nodes are grouped: attention in nodes of its own.

Refuses to fuse.
"""

from __future__ import annotations

from codegen.triton.attention import attention
from ir.graph import Graph


def prepare(graph: Graph) -> Graph:
    """`graph`, in which what has a kernel of its own is one `fused` node."""
    return attention(graph)

"""`fused`: a group of nodes that run as one kernel, whose meaning is its body's.

Refuses to hold which nodes form a group (`ir.passes.fuse`), and a gradient: fusion comes last.
"""

from __future__ import annotations

from typing import Any

from ir.dims import DimLike
from ir.graph import Graph
from ir.interpret import interpret
from ir.op import Attr, Op, op
from ir.ops.rules import Array, require
from ir.types import Type


def body_flops(body: Graph) -> DimLike:
    """The FLOPs of one run of `body`; composites count nothing."""
    total: DimLike = 0
    for n in body.nodes:
        if n.op.flops is not None:
            total = total + n.op.flops(*n.op.args(tuple(v.type for v in n.inputs)), *n.attrs)
    return total


def _type(types: tuple[Type, ...], body: Graph, why: Any) -> tuple[Type, ...]:
    want = [v.type for v in body.inputs]
    require(want == list(types), f"the body takes {want}")
    return tuple(v.type for v in body.outputs)


def _meaning(arrays: tuple[Array, ...], body: Graph, why: Any) -> tuple[Array, ...]:
    return tuple(interpret(body, arrays))


fused: Op = op(
    "fused",
    "A group of nodes that run as one kernel; `why` says what kept its neighbours out.",
    arity=None,
    attrs=(Attr("body", "graph"), Attr("why", "nested", ())),
    type=_type,
    meaning=_meaning,
    flops=lambda types, body, why: body_flops(body),
)

"""Where a kernel is a plain matrix product, what a library's product would be called with.

Refuses to call it (`runtime.library`) and to judge which is quicker.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from codegen.triton.launch import Launch
from ir.graph import Graph, Value

Operand = tuple[str, tuple[int, ...], tuple[int, ...]]  # buffer, shape and strides in elements


def library(launch: Launch, name_of: Callable[[Value], str]) -> list[Operand] | None:
    """Left, right and result of torch.mm or torch.bmm that do what a kernel does; None where it does more, or other things.

    name_of: the buffer of a value.
    """
    node = launch.node
    if node is None or node.op.name != "fused" or launch.schedule.notes["kind"] != "product":
        return None
    body: Graph = node.attrs[0]
    if [n.op.name for n in body.nodes] != ["contract"] or len(body.outputs) != 1:
        return None
    n = body.nodes[0]
    if n.attr("windows") or n.attr("precision") not in ("ieee", "tf32"):
        return None
    if not n.outs[0].type.is_float or n.outs[0].dtype != n.inputs[0].dtype:
        return None
    (x, y), out = n.attr("spec").split("->")[0].split(","), n.attr("spec").split("->")[1]
    batch = [c for c in out if c in x and c in y]
    rows, columns = (
        [c for c in out if c in x and c not in y],
        [c for c in out if c in y and c not in x],
    )
    depth = [c for c in x if c in y and c not in out]
    if not rows or not columns or not depth or len({*x, *y}) != len(batch + rows + columns + depth):
        return None
    outer = dict(zip(body.inputs, node.inputs, strict=True))
    made = []
    for letters, value, groups in (
        (x, n.inputs[0], (batch, rows, depth)),
        (y, n.inputs[1], (batch, depth, columns)),
        (out, n.outs[0], (batch, rows, columns)),
    ):
        shape = [int(d) for d in value.shape]
        strides = [*itertools.accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1)][::-1]
        found = []
        for group in groups:
            if not group:
                continue
            places = [letters.index(c) for c in group]
            if places != list(range(places[0], places[0] + len(group))):
                return None
            size = 1
            for p in places:
                size *= shape[p]
            found.append((size, strides[places[-1]]))
        name = name_of(outer.get(value, node.outs[0]))
        made.append((name, tuple(s for s, _ in found), tuple(t for _, t in found)))
    return made

"""Rows of a loop's body: one dimension of its values along which no position reads another's.

Where there is one, a stretch of rows can run through all of the loop alone. Found on the graph, for any body: every carry
and every value that is computed has the dimension once, not as the last of several, and nothing sums or walks along it. Refuses to hold what is made of it (`scan`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ir.graph import Graph, Node, Value
from ir.ops.fused import fused
from ir.spaces import Extent, Mismatch, Spaces, free_of_axes, labels


def rows(body: Graph, carries: int) -> dict[Value, int] | None:
    """For each value of a fused body that has rows, which of its dimensions they are; None where there are no rows."""
    spaces = Spaces()
    inner: list[tuple[Node, list[list[Extent]]]] = []
    try:
        _tie(spaces, body.nodes, inner)
        for old, new in zip(body.inputs[:carries], body.outputs, strict=False):
            _unify(spaces, old, new)
    except Mismatch:
        return None
    made = [v for n in body.nodes for v in n.outs]
    must = [*body.inputs[:carries], *made]
    if not must:
        return None
    for extent in spaces.dims(must[0]):
        found = spaces.leaves(extent)
        if len(found) == 1 and not any(_mixed(spaces, n, given, found[0]) for n, given in inner):
            at = {v: _where(spaces, v, found[0]) for v in (*body.inputs, *made)}
            if -2 not in at.values() and all(map(_leads, must, [at[v] for v in must])):
                return {v: k for v, k in at.items() if k >= 0}
    return None


def _unify(spaces: Spaces, a: Value, b: Value) -> None:
    for x, y in zip(spaces.dims(a), spaces.dims(b), strict=True):
        spaces.unify(x, y)


def _tie(
    spaces: Spaces, nodes: Sequence[Node], inner: list[tuple[Node, list[list[Extent]]]]
) -> None:
    for n in nodes:
        if n.op is fused:
            body: Graph = n.attrs[0]
            for inside, v in zip((*body.inputs, *body.outputs), (*n.inputs, *n.outs), strict=True):
                _unify(spaces, inside, v)
            _tie(spaces, body.nodes, inner)
        elif n.op.name == "scan":
            raise Mismatch("a loop in the loop")
        else:
            given = [
                [Extent(d) for d in v.shape] if free_of_axes(v) else spaces.dims(v)
                for v in n.inputs
            ]
            spaces.tie(n, given)
            inner.append((n, given))


def _mixed(spaces: Spaces, n: Node, given: Sequence[Sequence[Extent]], row: Extent) -> bool:
    """Whether a node sums or walks along the rows."""
    if n.op.name == "reshape":
        return False
    ins, outs, solid = labels(n)
    kept = {name for names in outs for name in names}
    dims = [spaces.dims(v) for v in n.outs]
    return any(
        (name in solid or name not in kept) and row in spaces.leaves(e)
        for names, extents in zip([*ins, *outs], [*given, *dims], strict=True)
        for name, e in zip(names, extents, strict=True)
    )


def _leads(v: Value, at: int) -> bool:
    """Whether the rows of a value are there, and whole lanes of numbers behind each."""
    return at >= 0 and (v.type.rank < 2 or at < v.type.rank - 1)


def _where(spaces: Spaces, v: Value, row: Extent) -> int:
    """The dimension of `v` that is the rows; -1 where none is, -2 where it is no dimension, or several."""
    hit = [k for k, e in enumerate(spaces.dims(v)) if row in spaces.leaves(e)]
    if not hit:
        return -1
    return hit[0] if len(hit) == 1 and spaces.leaves(spaces.dims(v)[hit[0]]) == [row] else -2

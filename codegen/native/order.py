"""Which axis of a resolved region goes in vector lanes, and in which order its loops nest.

Refuses to hold the loops (`render`) and what is cut for threads (`stages`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from codegen.loops import Aff, Axis, E, Region
from codegen.native.forms import Quotient, real_axes
from codegen.native.resolve import Unprintable
from codegen.native.values import Span


def forms(e: E) -> list[Aff]:
    """The affine forms of one expression."""
    if e.op == "load":
        return [e.attr[1], *(g.form for g in e.attr[3])]
    if e.op == "inside":
        return [g.form for g in e.attr[0]]
    return [e.attr[0]] if e.op == "iota" else []


def divided(region: Region) -> set[Axis]:
    """The axes that some form divides."""
    return {a for e in region.nodes() for f in forms(e) for q, _ in f.terms if isinstance(q, Quotient)
            for a in real_axes(q.form)}  # fmt: skip


def _accesses(region: Region) -> list[tuple[Aff, int]]:
    found = [
        (e.attr[1], math.prod(a.size for a in e.axes)) for e in region.nodes() if e.op == "load"
    ]
    return found + [
        (s.idx[0], 2 * math.prod(a.size for a in real_axes(s.idx[0]))) for s in region.stores
    ]


def lanes_axis(region: Region, axes: Sequence[Axis], spans: Mapping[Axis, Span]) -> Axis | None:
    """The axis for the lanes: the one along which most of the memory is contiguous."""
    best: tuple[float, Axis] | None = None
    guarded = {a for e in region.nodes() if e.op in ("load", "inside")
               for g in (e.attr[3] if e.op == "load" else e.attr[0]) for a in real_axes(g.form)}  # fmt: skip
    apart = divided(region)
    for a in axes:
        if a.size < 2 or (a in spans and not spans[a].lanes):
            continue
        score = 0.0
        for f, weight in _accesses(region):
            step = abs(dict(f.terms).get(a, 0))
            score += weight if step == 1 else -weight if step else 0
        score *= min(1.0, a.size / 16) if score > 0 else 1.0
        if a in guarded:
            score *= 0.25 if score > 0 else 4
        if a in apart:
            continue
        if best is None or score > best[0]:
            best = (score, a)
    return best[1] if best else None


def nested(
    region: Region, axes: Sequence[Axis], vector: Axis | None, rows: Axis | None
) -> list[Axis]:
    """The axes from outer to inner: results of a sum before what is summed, else as the largest store lies in memory.

    vector: the innermost where that may be; rows: the outermost. Raises Unprintable where sums need one another.
    """
    rank: dict[Axis, int] = {}
    for s in sorted(region.stores, key=lambda s: -math.prod(s.buf.shape)):
        for a, _ in sorted(s.idx[0].terms, key=lambda t: -abs(t[1])):
            rank.setdefault(a, len(rank))
    for e in region.nodes():
        for f in forms(e):
            for a, _ in sorted(f.terms, key=lambda t: -abs(t[1])):
                if not isinstance(a, Quotient):
                    rank.setdefault(a, len(rank))
    for a in axes:
        rank.setdefault(a, len(rank))
    if vector is not None:
        rank[vector] = len(rank) + 1
    if rows is not None:
        rank[rows] = -1
    before: dict[Axis, set[Axis]] = {a: set() for a in axes}
    for e in region.nodes():
        if e.op == "red":
            for a in before.keys() & set(e.attr[1]):
                before[a].update(before.keys() & set(e.axes))
    out: list[Axis] = []
    left = sorted(axes, key=rank.__getitem__)
    while left:
        nxt = next((a for a in left if before[a] <= set(out)), None)
        if nxt is None:
            raise Unprintable("sums along axes that need one another")
        out.append(nxt)
        left.remove(nxt)
    if rows is not None and out[0] is not rows:
        raise Unprintable("a sum over the units")
    return out

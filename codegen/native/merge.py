"""Axes that every form of a region walks as one become one: longer runs for the lanes, fewer loops.

Refuses to hold how a region is opened (`resolve`).
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from codegen.loops import Aff, Axis, E, Region, Store
from codegen.native.forms import Guard, Quotient, real_axes


def merge_axes(region: Region, apart: Container[Axis] = ()) -> Region:
    """The region with axes that every form walks as one made one, but for the axes `apart`."""
    while True:
        nodes = region.nodes()
        axes = list(dict.fromkeys(a for e in nodes for a in e.axes))
        axes += [a for s in region.stores for a in real_axes(s.idx[0]) if a not in axes]
        own = [a for a in axes if a not in apart]
        pair = next(
            ((a, b) for a in own for b in own if a is not b and _together(region, nodes, a, b)),
            None,
        )
        if pair is None:
            return region
        region = _merged(region, *pair)


def _forms(e: E) -> list[Aff]:
    if e.op == "load":
        return [e.attr[1], *(g.form for g in e.attr[3])]
    if e.op == "inside":
        return [g.form for g in e.attr[0]]
    return [e.attr[0]] if e.op == "iota" else []


def _together(region: Region, nodes: Sequence[E], a: Axis, b: Axis) -> bool:
    """Whether a and b are always a * size(b) + b."""
    for e in nodes:
        if (a in e.axes) != (b in e.axes):
            return False
        if e.op == "red" and (a in e.attr[1]) != (b in e.attr[1]):
            return False
        for f in _forms(e):
            if not _in_line(f, a, b):
                return False
    return all(_in_line(s.idx[0], a, b) for s in region.stores)


def _in_line(f: Aff, a: Axis, b: Axis) -> bool:
    ca = cb = 0
    for x, c in f.terms:
        if isinstance(x, Quotient):
            if a in real_axes(x.form) or b in real_axes(x.form):
                return False
        elif x is a:
            ca = c
        elif x is b:
            cb = c
    return ca == cb * b.size


def _merged(region: Region, a: Axis, b: Axis) -> Region:
    m = Axis("m", a.size * b.size)
    memo: dict[E, E] = {}

    def form(f: Aff) -> Aff:
        return Aff([(m if x is b else x, c) for x, c in f.terms if x is not a], f.const)

    def guard(g: Guard) -> Guard:
        return Guard(form(g.form), g.div, g.size)

    for e in region.nodes():
        attr = e.attr
        if e.op == "load":
            buf, flat, fill, guards, clip = attr
            attr = (buf, form(flat), fill, tuple(map(guard, guards)), clip)
        elif e.op == "inside":
            attr = (tuple(map(guard, attr[0])),)
        elif e.op == "iota":
            attr = (form(attr[0]),)
        elif e.op == "red":
            attr = (attr[0], tuple(m if x is b else x for x in attr[1] if x is not a))
        axes = tuple(m if x is b else x for x in e.axes if x is not a)
        memo[e] = E(e.op, tuple(memo[x] for x in e.args), attr, e.dtype, axes)
    return Region([Store(s.buf, (form(s.idx[0]),), memo[s.value]) for s in region.stores])

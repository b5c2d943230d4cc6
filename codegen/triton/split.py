"""Split reductions: a long sum over few rows becomes partial sums by many programs and a kernel over those.

The parts are summed in their order, so the result is the same every time. Refuses to choose where nothing
is gained.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.loops import (
    Aff,
    Axis,
    Buf,
    E,
    Region,
    Schedule,
    Store,
    axis_aff,
    load,
    union_axes,
)
from codegen.triton.schedule import MANY, below, programs, reduced_over, schedule, size
from codegen.triton.vectors import rebuilt


def split(region: Region, made: Schedule) -> list[tuple[Region, Schedule]]:
    """The region and its schedule, or the two that do its work with more programs."""
    found = [k for k, g in enumerate(made.groups) if g.role == "loop"]
    if made.notes["kind"] not in ("loop", "product") or len(found) != 1:
        return [(region, made)]
    (k,) = found
    group = made.groups[k]
    axes, n = set(group.axes), size(group.axes)
    nodes = region.nodes()
    whole = [e for e in nodes if axes & set(reduced_over(e))]
    many = programs(made)
    least = (
        2 if made.notes["kind"] == "loop" else 16
    )  # blocks for a program that are worth a second kernel
    parts = min(max(1, MANY // many), n // (group.tile * least))
    if made.notes["kind"] == "product" and many * 4 > MANY:
        return [(region, made)]
    if parts < 2 or any(not _plain(e, axes) for e in whole):
        return [(region, made)]
    if any(e.op == "fold" for e in nodes if e.args and e.args[0] in whole):
        return [(region, made)]
    if any(axes & {a for i in s.idx for a, _ in i.terms} for s in region.stores):
        return [(region, made)]
    if any(b in whole for e in whole for b in below(e)):
        return [(region, made)]
    stretch = -(-n // (parts * group.tile)) * group.tile
    parts = -(-n // stretch)
    partial: list[Store] = []
    second: dict[E, E] = {}
    for e in whole:
        own = [a for a in e.axes if a.size > 1]
        buf = Buf("partial", (parts, *(a.size for a in own)), e.dtype)
        same = tuple(axis_aff(a) for a in own)
        partial.append(Store(buf, (Aff(), *same), e))
        s = Axis("s", parts)
        read = load(buf, (axis_aff(s), *same))
        fn = e.attr[0] if e.op == "red" else "sum"
        second[e] = E("red", (read,), (fn, (s,)), e.dtype, union_axes((read,), (s,)))
    first = Region(partial, region.order)
    groups = tuple(replace(g, role="split") if g is group else g for g in made.groups)
    rest = rebuilt(region, second)
    notes = {**made.notes, "kind": "split", "parts": parts, "stretch": stretch}
    return [(first, Schedule(groups, notes)), (rest, schedule(rest))]


def _plain(e: E, axes: set[Axis]) -> bool:
    """Whether a sum can be taken in parts along the looped axes alone."""
    return e.op in ("red", "dot") and axes >= {a for a in reduced_over(e) if a.size > 1}

"""Split reductions: a long sum over few rows becomes partial sums by many programs and a kernel over those.

The parts are summed in their order, so the result is the same every time. Refuses to choose where nothing
is gained.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule, Store, axis_aff, load, union_axes
from codegen.triton.schedule import MANY, programs, reduced_over, schedule, size


def split(region: Region, made: Schedule) -> list[tuple[Region, Schedule]]:
    """The region and its schedule, or the two that do its work with more programs."""
    found = [k for k, g in enumerate(made.groups) if g.role == "loop"]
    if made.notes["kind"] != "loop" or len(found) != 1:
        return [(region, made)]
    (k,) = found
    group = made.groups[k]
    axes, n = set(group.axes), size(group.axes)
    nodes = region.nodes()
    whole = [e for e in nodes if axes & set(reduced_over(e))]
    many = programs(made)
    parts = min(max(1, MANY // many), -(-n // (group.tile * 2)))
    if parts < 2 or any(e.op != "red" or not axes >= {a for a in reduced_over(e) if a.size > 1} for e in whole):
        return [(region, made)]
    if any(axes & {a for i in s.idx for a, _ in i.terms} for s in region.stores):
        return [(region, made)]
    if any(b in whole for e in whole for b in _below(e)):
        return [(region, made)]
    stretch = -(-n // (parts * group.tile)) * group.tile
    parts = -(-n // stretch)
    partial, second = [], {}
    for e in whole:
        own = [a for a in e.axes if a.size > 1]
        buf = Buf("partial", (parts, *(a.size for a in own)), e.dtype)
        same = tuple(axis_aff(a) for a in own)
        partial.append(Store(buf, (Aff(), *same), e))
        s = Axis("s", parts)
        read = load(buf, (axis_aff(s), *same))
        second[e] = E("red", (read,), (e.attr[0], (s,)), e.dtype, union_axes((read,), (s,)))
    first = Region(partial, region.order)
    groups = tuple(replace(g, role="split") if g is group else g for g in made.groups)
    known: dict[E, E] = dict(second)

    def again(e: E) -> E:
        if e not in known:
            args = tuple(again(a) for a in e.args)
            known[e] = e if args == e.args else E(e.op, args, e.attr, e.dtype, e.axes)
        return known[e]

    rest = Region([Store(s.buf, s.idx, again(s.value)) for s in region.stores], region.order)
    notes = {**made.notes, "kind": "split", "parts": parts, "stretch": stretch}
    return [(first, Schedule(groups, notes)), (rest, schedule(rest))]


def _below(e: E) -> set[E]:
    seen: set[E] = set()
    todo = list(e.args)
    while todo:
        a = todo.pop()
        if a not in seen:
            seen.add(a)
            todo.extend(a.args)
    return seen

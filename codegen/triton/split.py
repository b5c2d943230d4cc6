"""Sums over what many programs hold: partial sums by each, then a kernel over those.

So are long sums over few rows, and those of a product over its rows (a bias's gradient, BatchNormalization's statistics): each
program of the product sums its tile. What is made of sums along the same rows (a normalisation, its gradient) follows in a kernel of
its own, which reads the few numbers that it needs. A variance needs no second pass: each part has its own mean. The parts are summed
in their order, so the result is the same every time. Refuses to choose where nothing is gained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from codegen.loops import Aff, Axis, Buf, E, Region, Schedule, Store, axis_aff, load, union_axes
from codegen.triton.schedule import MANY, programs, reduced_over, schedule, size
from codegen.triton.unify import same_place
from codegen.triton.vectors import rebuilt

FEW = 4  # blocks that one program walks, from which on a second kernel is worth its launch
LONG = 16  # blocks of a product likewise: its programs wait less

_EXACT = ("f32", "f64")  # types in which a part's own mean is as good as that of all

Parts = list[tuple[Region, Schedule]]


class Cut(NamedTuple):
    """How a sum is taken in parts: how many, of how many positions in all, and of one."""

    parts: int
    n: int
    stretch: int


class Mean(NamedTuple):
    """Of a sum of squares about a mean: the sum of the values, the values, and one by how many there are."""

    total: E
    x: E
    inverse: E


def split(region: Region, made: Schedule) -> Parts:
    """The region and its schedule, or those that do its work with more programs, in order. Raises Unsupported."""
    kind = made.notes["kind"]
    if kind not in ("loop", "product"):
        return [(region, made)]
    nodes = region.nodes()
    sums = _over_programs(nodes, made) if kind == "product" else []
    if sums:
        return _tiles(region, made, sums)
    found = [k for k, g in enumerate(made.groups) if g.role == "loop"]
    if len(found) != 1:
        return [(region, made)]
    group = made.groups[found[0]]
    axes, n = set(group.axes), size(group.axes)
    whole = [e for e in nodes if axes & set(reduced_over(e))]
    if any(not _plain(e, axes) for e in whole) or any(
        e.op == "fold" and e.args[0] in whole for e in nodes
    ):
        return [(region, made)]
    means = _means(whole)
    level = _levels(nodes, whole, means)
    blocks, many = -(-n // group.tile), programs(made)
    if many * 4 > MANY:
        return [(region, made)]
    inside = [s for s in region.stores if axes & _over(s)]
    if max(level.values()) > 1 or any(level[s.value] for s in inside):
        if kind == "product" or blocks < FEW:
            return [(region, made)]
        return _apart(region, axes, [e for e in whole if level[e] == 1])
    if kind == "product" and inside:
        return [(region, made)]
    parts = min(max(1, MANY // many), blocks // (LONG if kind == "product" else 1))
    if parts < 2 or blocks < FEW:
        return [(region, made)]
    stretch = -(-blocks // parts) * group.tile
    parts = -(-n // stretch)
    partial, second = _partial(whole, means, lambda _: Cut(parts, n, stretch))
    groups = tuple(replace(g, role="split") if g is group else g for g in made.groups)
    rest = Region([s for s in region.stores if s not in inside], region.order)
    rest = rebuilt(rest, second)
    notes = {**made.notes, "kind": "split", "parts": parts, "stretch": stretch}
    first = Region([*partial, *inside], region.order)
    return [(first, Schedule(groups, notes)), (rest, schedule(rest))]


# -- sums over the rows of a product ------------------------------------------------------------


def _over_programs(nodes: Sequence[E], made: Schedule) -> list[E]:
    """Sums over rows or columns of a product of which each program has a tile."""
    spread = {a for k in _gridded(made) for a in made.groups[k].axes}
    return [e for e in nodes if e.op == "red" and spread & set(reduced_over(e))]


def _gridded(made: Schedule) -> list[int]:
    """The groups that several programs share."""
    return [k for k, g in enumerate(made.groups) if g.role == "grid" and size(g.axes) > g.tile]


def _tiles(region: Region, made: Schedule, sums: Sequence[E]) -> Parts:
    """The product with the sums of its tiles; then what is made of them."""
    nodes = region.nodes()
    groups, grid = made.groups, _gridded(made)
    shared = {e: [k for k in grid if set(groups[k].axes) & set(reduced_over(e))] for e in sums}
    means = {e: m for e, m in _means(sums).items() if len(shared[e]) == 1}
    level = _levels(nodes, sums, means)
    first = [e for e in sums if level[e] == 1]

    def cut(e: E) -> Cut:
        parts = math.prod(-(-size(groups[k].axes) // groups[k].tile) for k in shared[e])
        row = groups[shared[e][0]]
        return Cut(parts, size(row.axes), row.tile)

    partial, second = _partial(first, means, cut)
    early = [s for s in region.stores if not level[s.value]]
    rest = Region([s for s in region.stores if level[s.value]], region.order)
    rest, kept = _handed(rebuilt(rest, second), second.values(), early)
    notes = {**made.notes, "fixed": sorted({k for e in first for k in shared[e]})}
    head = (Region([*early, *kept, *partial], region.order), replace(made, notes=notes))
    axes = {a for e in first for k in shared[e] for a in groups[k].axes}
    if any(axes & {*e.axes, *reduced_over(e)} for e in rest.nodes()):
        return [head, *_apart(rest, axes, list(second.values()))]
    return [head, (rest, schedule(rest))]


def _handed(
    rest: Region, sums: Collection[E], early: Sequence[Store]
) -> tuple[Region, list[Store]]:
    """What follows the sums of a product, and stores of the product's values that it reads again."""
    of_sums: dict[E, bool] = {}
    of_product: dict[E, bool] = {}
    have = {s.value: s for s in early}
    kept: list[Store] = []
    known: dict[E, E] = {}
    for u in rest.nodes():
        of_sums[u] = u in sums or any(of_sums[a] for a in u.args)
        of_product[u] = u.op == "dot" or any(of_product[a] for a in u.args)
        for e in u.args if of_sums[u] else ():
            if of_product[e] and not of_sums[e] and e not in known:
                s = have.get(e) or _kept(e)
                kept += [] if e in have else [s]
                known[e] = load(s.buf, s.idx)
    return rebuilt(rest, known), kept


# -- what follows ---------------------------------------------------------------------------------


def _apart(region: Region, axes: set[Axis], sums: Collection[E]) -> Parts:
    """These sums with what is made of them alone; then what reads their results along `axes`."""
    of_sums: dict[E, bool] = {}
    along: dict[E, bool] = {}
    known: dict[E, E] = {}
    kept: list[Store] = []
    for u in region.nodes():
        of_sums[u] = u in sums or any(of_sums[a] for a in u.args)
        along[u] = u not in sums and (
            bool(axes & {*u.axes, *reduced_over(u)}) or any(along[a] for a in u.args)
        )
        for e in u.args if of_sums[u] and along[u] else ():
            if of_sums[e] and not along[e] and e not in known:
                kept.append(_kept(e))
                known[e] = load(kept[-1].buf, kept[-1].idx)
    late = [s for s in region.stores if of_sums[s.value] and along[s.value]]
    first = Region([s for s in region.stores if s not in late] + kept, region.order)
    rest = rebuilt(Region(late, region.order), known)
    return [part for r in (first, rest) for part in split(r, schedule(r))]


def _kept(e: E) -> Store:
    """A store of a value in a buffer of its own."""
    own = [a for a in e.axes if a.size > 1]
    return Store(Buf("", tuple(a.size for a in own), e.dtype), tuple(map(axis_aff, own)), e)


# -- parts ----------------------------------------------------------------------------------------


def _means(sums: Sequence[E]) -> dict[E, Mean]:
    """Of some sums, those of squares about the mean of the values: a variance."""
    found = {}
    for e in (e for e in sums if e.op == "red" and e.attr[0] == "sum" and e.dtype in _EXACT):
        square = e.args[0]
        if square.op != "mul" or square.args[0] is not square.args[1] or square.args[0].op != "sub":
            continue
        x, mean = square.args[0].args
        for total in (t for t in sums if t.op == "red" and t.attr == e.attr and t is not e):
            if mean.op != "mul" or mean.args[0] is not total or not _same(total.args[0], x):
                continue
            inverse, n = mean.args[1], size(reduced_over(e))
            if inverse.op == "const" and abs(inverse.attr[0] * n - 1) < 1e-6:
                found[e] = Mean(total, x, inverse)
    return found


def _same(x: E, y: E) -> bool:
    """Whether two expressions are written alike: a value that is read twice is two loads."""
    if x is y:
        return True
    if x.op != y.op or x.dtype != y.dtype or len(x.args) != len(y.args):
        return False
    alike = x.attr == y.attr
    if x.op == "load":
        alike = not x.args and x.attr[0] is y.attr[0] and same_place(x.attr[1], y.attr[1])
    return alike and all(_same(a, b) for a, b in zip(x.args, y.args, strict=True))


def _partial(
    sums: Sequence[E], means: Mapping[E, Mean], cut: Callable[[E], Cut]
) -> tuple[list[Store], dict[E, E]]:
    """Stores of the parts of some sums, and the sums of those."""
    partial: list[Store] = []
    second: dict[E, E] = {}
    parts_of: dict[E, Buf] = {}
    axis: dict[int, Axis] = {}
    for e in sums:
        own = [a for a in e.axes if a.size > 1]
        buf = parts_of[e] = Buf("partial", (cut(e).parts, *(a.size for a in own)), e.dtype)
        same = tuple(axis_aff(a) for a in own)
        s = axis.setdefault(cut(e).parts, Axis("s", cut(e).parts))
        at = (axis_aff(s), *same)
        mine, read = e, load(buf, at)
        if e in means:
            m = means[e]
            mine = _about_own(e, m)
            mean = _two("mul", second[m.total], m.inverse)
            read = _about_all(read, load(parts_of[m.total], at), mean, s, cut(e))
        partial.append(Store(buf, (Aff(), *same), mine))
        fn = e.attr[0] if e.op == "red" else "sum"
        second[e] = E("red", (read,), (fn, (s,)), e.dtype, union_axes((read,), (s,)))
    return partial, second


def _about_own(e: E, m: Mean) -> E:
    """The sum of squares of a part about its own mean."""
    over = tuple(a for a in reduced_over(e) if a.size > 1)
    count = E("red", (_number(1.0, e.dtype),), ("sum", over), e.dtype, ())
    away = _two("sub", m.x, _two("div", m.total, count))
    return E("red", (_two("mul", away, away),), e.attr, e.dtype, e.axes)


def _about_all(part: E, total: E, mean: E, s: Axis, cut: Cut) -> E:
    """The sum of squares of part `s` about the mean of all, from that about its own and the sum of its values."""
    left = E("iota", (), (Aff(((s, -cut.stretch),), cut.n),), "i32", (s,))
    count = _two("minimum", left, _number(cut.stretch, "i32"))
    count = E("cast", (count,), (part.dtype,), part.dtype, (s,))
    away = _two("sub", _two("div", total, count), mean)
    return _two("add", part, _two("mul", count, _two("mul", away, away)))


def _number(value: float, dtype: str) -> E:
    return E("const", (), (value,), dtype, ())


def _two(op: str, x: E, y: E) -> E:
    return E(op, (x, y), (), x.dtype, union_axes((x, y)))


def _levels(nodes: Sequence[E], sums: Collection[E], means: Mapping[E, Mean]) -> dict[E, int]:
    """How many of these sums an expression needs one after another; a variance comes with its mean."""
    level: dict[E, int] = {}
    sums = set(sums)
    for e in nodes:
        below = max((level[a] for a in e.args), default=0)
        level[e] = level[means[e].x] + 1 if e in means else below + (e in sums)
    return level


def _over(s: Store) -> set[Axis]:
    return {a for i in s.idx for a, _ in i.terms}


def _plain(e: E, axes: set[Axis]) -> bool:
    """Whether a sum can be taken in parts along the looped axes alone."""
    return e.op in ("red", "dot") and axes >= {a for a in reduced_over(e) if a.size > 1}

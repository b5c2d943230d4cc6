"""A resolved region as kernels whose units do not depend on each other: blocks of positions along one axis.

Every value that a store needs must have that axis, or be a sum over it: sums become one partial sum a block, in scratch, and what
needs them whole is a region of its own that runs afterwards, cut in the same way. Blocks are fixed by the region, never by the
number of threads. Refuses to hold loops (`render`) and how a region is opened (`resolve`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from codegen.loops import Aff, Axis, Buf, E, Region, Store
from codegen.native.forms import real_axes
from codegen.native.merge import merge_axes
from codegen.native.order import divided
from codegen.native.render import Block, Kernel, drawn, words
from codegen.native.resolve import Resolver
from codegen.native.table import SLOW
from codegen.native.threads import SMALL

Places: TypeAlias = Callable[[Buf], Any]
Scratch: TypeAlias = Callable[..., Buf]
UNIT = 4000.0  # nanoseconds of work of a unit: a block then stays in the cache near its core
LEAST = 4  # units worth cutting
LINE = 256  # of the positions next to each other a unit has a multiple
BYTES = 15.0  # of memory read or written a nanosecond, by one core
SHORT = 512  # positions of an axis below which sums along another axis are rather taken in parts


def kernels(region: Region, places: Places, scratch: Scratch) -> list[Kernel]:
    """The functions of a region, to be called in order. `scratch(n, dtype)`: a new buffer.

    places: equal for buffers in the same memory. Raises Unprintable, or Aliased.
    """
    resolver = Resolver(scratch)
    region = resolver.run(region)
    out = [words(stream, places) for stream in resolver.streams]
    while True:
        price = cost(region)
        found = _cut(region, places, price) if price > 2 * SMALL else None
        if found is None:
            return [*out, replace(drawn(region, places), cost=price)]
        block, first, rest = _parted(region, found, scratch)
        out.append(replace(drawn(first, places, block), cost=cost(first)))
        if rest is None:
            return out
        region = rest


def cost(region: Region) -> float:
    """About how many nanoseconds one core takes."""
    work = moved = 0.0
    seen = set()
    for e in region.nodes():
        n = math.prod(a.size for a in e.axes)
        if e.op == "red":
            n = math.prod(a.size for a in e.args[0].axes)
        work += n * SLOW.get(e.op, 1 if e.axes else 0) * _width(e.dtype) / 64
        if e.op == "load" and (key := (e.attr[0], e.attr[1].const)) not in seen:
            seen.add(key)
            moved += min(n, math.prod(e.attr[0].shape)) * _width(e.dtype)
    for s in region.stores:
        moved += math.prod(a.size for a in real_axes(s.idx[0])) * _width(s.buf.dtype)
    return max(work, moved / BYTES)


def _width(dtype: str) -> int:
    return {"bool": 1, "bf16": 4}.get(dtype) or int(dtype[1:]) // 8


def _cut(region: Region, places: Places, price: float) -> tuple[Axis, int] | None:
    """The axis to cut and how many of its positions are a block; None where none serves."""
    nodes = region.nodes()
    apart = divided(region)
    axes = dict.fromkeys(a for s in region.stores for a in real_axes(s.idx[0]))
    axes.update(dict.fromkeys(a for e in nodes for a in e.axes))
    best: tuple[float, Axis, int] | None = None
    for a in axes:
        if a.size < LEAST or a in apart:
            continue
        first, rest, partial = _sides(region, nodes, a)
        if not first and not partial:
            continue
        if not _apart(first, rest, places):
            continue
        mine = cost(Region([*first, *(Store(_ANY, (Aff(),), e) for e in partial)]))
        rows = max(1, min(a.size // LEAST, round(a.size * UNIT / max(mine, 1.0))))
        step = [abs(c) for f in _all_forms(region) for b, c in f.terms if b is a]
        if 1 in step:
            rows = -(-rows // LINE) * LINE
        rows = max(rows, 8) if partial else rows
        if rows * LEAST > a.size or mine < price / 4:
            continue
        score = mine - (0.5 * price if partial and _long(partial, a) else 0.0)
        score *= 1 + 0.01 * math.log2(1 + max(step, default=0))
        if best is None or score > best[0]:
            best = (score, a, rows)
    return None if best is None else best[1:]


_ANY = Buf("", (), "f32")


def _long(partial: Sequence[E], a: Axis) -> bool:
    """Whether sums have so many positions that those had better be cut."""
    return max(math.prod(b.size for b in e.axes) for e in partial) >= max(SHORT, a.size)


def _all_forms(region: Region) -> list[Aff]:
    return [e.attr[1] for e in region.nodes() if e.op == "load"] + [s.idx[0] for s in region.stores]


def _sides(region: Region, nodes: Sequence[E], a: Axis) -> tuple[list[Store], list[Store], list[E]]:
    """Stores for the blocks, stores for afterwards, and the sums that those need."""
    late: set[E] = set()  # values that need a sum over the axis
    for e in nodes:
        if (e.op == "red" and a in e.attr[1]) or any(x in late for x in e.args):
            late.add(e)
    first = [s for s in region.stores if s.value not in late and a in real_axes(s.idx[0])]
    rest = [s for s in region.stores if s not in first]
    partial = [
        e
        for e in Region(rest).nodes()
        if e.op == "red" and a in e.attr[1] and e.args[0] not in late
    ]
    return first, rest, partial


def _apart(
    first: Sequence[Store], rest: Sequence[Store], places: Places
) -> bool:  # fmt: skip
    """Whether what the blocks write is not read afterwards."""
    written = {places(s.buf) for s in first}
    read = {places(e.attr[0]) for e in Region(rest).nodes() if e.op == "load"}
    bufs = {s.buf for s in first}
    others = {places(s.buf) for s in rest if s.buf not in bufs}
    return not written & (read | others)


def _parted(
    region: Region, found: tuple[Axis, int], scratch: Scratch
) -> tuple[Block, Region, Region | None]:
    a, rows = found
    first, rest, partial = _sides(region, region.nodes(), a)
    blocks = -(-a.size // rows)
    count = Axis("u", blocks)
    again: dict[E, E] = {}
    for e in partial:
        kept = [b for b in e.axes if b.size > 1]
        size = math.prod(b.size for b in kept)
        buf = scratch(blocks * size, e.dtype)
        form, step = Aff(), 1
        for b in reversed(kept):
            form, step = form + Aff(((b, step),)), step * b.size
        first.append(Store(buf, (form + Aff(((count, size),)),), e))
        c = Axis("c", blocks)
        flat = form + Aff(((c, size),))
        part = E("load", (), (buf, flat, None, (), None), e.dtype, (c, *kept))
        again[e] = E("red", (part,), (e.attr[0], (c,)), e.dtype, tuple(kept))
    block = Block(a, rows, count)
    if not rest:
        return block, Region(first), None

    for e in Region(rest).nodes():
        if e not in again:
            args = tuple(again[x] for x in e.args)
            again[e] = e if args == e.args else E(e.op, args, e.attr, e.dtype, e.axes)
    later = [Store(s.buf, s.idx, again[s.value]) for s in rest]
    return block, Region(first), merge_axes(Region(later))

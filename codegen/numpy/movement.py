"""Loads with fill, windows, padding, joining, folding, gathering and adding at indices, in NumPy.

A position outside a buffer is handled by a padded copy whose border is filled; a fold adds tap by tap at
clipped slices. Refuses to hold arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, axis_aff
from codegen.numpy.emit import Emitter
from codegen.numpy.indexing import gathered
from codegen.numpy.views import Const, Tile, View, exact


def load(em: Emitter, e: E, args: Sequence[Tile], axes: Sequence[Axis]) -> View:
    """A load as a view; one that reads outside goes through a padded copy."""
    buf, idx, fill = e.attr
    if args:
        return gathered(em, e, args, axes)
    outside = [k for k, (i, n) in enumerate(zip(idx, buf.shape, strict=True)) if not i.inside(n)]
    if not outside:
        return em.view(buf, idx)
    # one fresh axis per dimension of the buffer; loops go into the offset
    base = _dims_view(em, buf, idx)
    return padded(em, base, idx, outside, fill)


def _dims_view(em: Emitter, buf: Buf, idx: Sequence[Aff]) -> tuple[View, list[Axis], list[int]]:
    place = em.standing(buf)
    axes, strides, low = [], {}, []
    loops, offset = dict(place.loops), place.offset
    for k, (form, n, step) in enumerate(zip(idx, buf.shape, buf.strides, strict=True)):
        blocked = [(a, c) for a, c in form.terms if a in em.blocks]
        if blocked:  # a plain dimension, a block of it at a time
            assert form.inside(n), (
                f"a loop over an axis that is padded: {form} in {n}, {em.blocks}, {idx} of {buf}"
            )
            a, c = blocked[0]
            loop, extent, start = em.blocks[a]
            offset += start * c * step
            if loop is not None:
                loops[loop] = loops.get(loop, 0) + c * step * extent
            n = min(n, extent * c if len(form.terms) == 1 else n)
        d = Axis(f"d{k}", n)
        axes.append(d)
        strides[d] = step
        low.append(0)
    return View(place.slot, offset, strides, loops, place.alternate), axes, low


def padded(
    em: Emitter,
    base: tuple[View, list[Axis], list[int]],
    idx: Sequence[Aff],
    outside: Sequence[int],
    fill: Any,
) -> View:
    """A copy of the dimensions with room for every position read, seen through the index."""
    src, dims, _ = base
    wide, shift, copied = [], [], dict(src.strides)
    for k, (form, d) in enumerate(zip(idx, dims, strict=True)):
        if k in outside:
            low, high = form.interval()
            low, high = min(low, 0), max(high, d.size - 1)
            wide.append(Axis(d.name, high - low + 1))
            shift.append(-low)
        else:
            wide.append(d)
            shift.append(0)
    t = em.scratch(wide, src.slot.dtype)
    for a in wide:
        t.strides.setdefault(a, 0)
    value = Const(exact(fill, src.slot.dtype), src.slot.dtype)
    for k in outside:  # the border, a strip on either side of each padded dimension
        size, n = wide[k].size, dims[k].size
        for start, count in ((0, shift[k]), (shift[k] + n, size - shift[k] - n)):
            if count > 0:
                strip = Axis("s", count)
                strides = {(strip if j == k else a): t.strides[a] for j, a in enumerate(wide)}
                order = [strip if j == k else a for j, a in enumerate(wide)]
                em.map(
                    "{0}.fill({1})",
                    View(t.slot, start * t.strides[wide[k]], strides),
                    [value],
                    order,
                )
    inner = sum(s * t.strides[a] for s, a in zip(shift, wide, strict=True))
    copied = {d: t.strides[a] for d, a in zip(dims, wide, strict=True)}
    em.copy(View(t.slot, inner, copied), src, dims)
    seen: dict[Axis, int] = {}
    offset = inner
    for form, a in zip(idx, wide, strict=True):
        step = t.strides[a]
        offset += form.const * step
        for x, c in form.terms:
            if em.extent(x) > 1:
                seen[x] = seen.get(x, 0) + c * step
    return View(t.slot, offset, seen)


def at(em: Emitter, e: E, x: Tile, axes: Sequence[Axis]) -> Tile:
    """A value at affine positions of some of its axes."""
    if isinstance(x, Const) and e.attr[1] is None:
        return x
    env, fill = dict(e.attr[0]), e.attr[1]
    if isinstance(x, View):
        x = em.settled(x, list(x.strides))
    if isinstance(x, Const):
        own = list(env)
        t = em.scratch(own, x.dtype)
        em.copy(t, x, own)
        x = t
    dims = [*x.strides, *(a for a in env if a not in x.strides)]
    idx = [env.get(a, axis_aff(a)) for a in dims]
    outside = [
        k
        for k, (a, i) in enumerate(zip(dims, idx, strict=True))
        if a in env and not i.inside(a.size)
    ]
    if outside:
        grown = [Axis(a.name, em.extent(a)) for a in dims]
        src = View(x.slot, x.offset, {g: x.strides.get(a, 0) for g, a in zip(grown, dims, strict=True)}, x.loops,
                   x.alternate)  # fmt: skip
        local = [_local(em, i) if a not in env else i for a, i in zip(dims, idx, strict=True)]
        return padded(em, (src, grown, []), local, outside, fill if fill is not None else 0)
    strides: dict[Axis, int] = {}
    offset = x.offset
    for a, form in zip(dims, idx, strict=True):
        step = x.strides.get(a, 0)
        offset += form.const * step
        for b, c in form.terms:
            if em.extent(b) > 1:
                strides[b] = strides.get(b, 0) + c * step
    return View(x.slot, offset, strides, x.loops, x.alternate)


def _local(em: Emitter, form: Aff) -> Aff:
    """A plain axis within its block."""
    return form


def spread(em: Emitter, e: E, out: View, x: Tile, axes: Sequence[Axis]) -> None:
    """pad: the value at a strided place of a filled result."""
    cut, fill = e.attr
    em.map("{0}.fill({1})", out, [Const(exact(fill, out.slot.dtype), out.slot.dtype)], axes)
    strides, offset, order = dict(out.strides), out.offset, list(axes)
    for new, old, low, step in cut:
        s = strides.pop(new, 0)
        offset += low * s
        if new in order:
            order[order.index(new)] = old
        strides[old] = s * step
    if all(em.extent(a) > 0 for a in order):
        em.copy(View(out.slot, offset, strides, out.loops, out.alternate), x, order)


def concat(em: Emitter, e: E, out: View, parts: Sequence[Tile], axes: Sequence[Axis]) -> None:
    """The parts side by side along an axis."""
    new, places = e.attr
    for (old, start), x in zip(places, parts, strict=True):
        em.copy(part_of(out, new, old, start), x, [old if a is new else a for a in axes])


def part_of(out: View, new: Axis, old: Axis, start: int) -> View:
    """The place of one part in a joined value."""
    strides = {(old if a is new else a): s for a, s in out.strides.items()}
    return View(
        out.slot, out.offset + start * out.strides.get(new, 0), strides, out.loops, out.alternate
    )


def fold(em: Emitter, e: E, out: View, x: View, axes: Sequence[Axis]) -> None:
    """Adds each tap where it was read from: one clipped strided slice per tap."""
    wins = e.attr
    covered = all(
        w[3] == w[2].size and w[4] == 1 and w[5] == 0 and w[1].size * w[3] == w[0].size
        for w in wins
    )
    disjoint = all(w[3] >= (w[2].size - 1) * w[4] + 1 for w in wins)
    if not covered:
        em.map("{0}.fill({1})", out, [Const(exact(0, out.slot.dtype), out.slot.dtype)], axes)
    for taps in itertools.product(*(range(w[2].size) for w in wins)):
        src, dst = dict(x.strides), dict(out.strides)
        at_src, at_dst, order = x.offset, out.offset, list(axes)
        empty = False
        for (i, o, t, stride, dilation, low), tap in zip(wins, taps, strict=True):
            offset = dilation * tap - low
            first = max(0, -(offset // stride))
            stop = max(first, min(o.size, (i.size - 1 - offset) // stride + 1))
            empty = empty or stop == first
            n = Axis(i.name, stop - first)
            at_src += src.pop(t, 0) * tap + src.get(o, 0) * first
            src[n] = src.pop(o, 0)
            step = dst.pop(i, 0)
            at_dst += step * (stride * first + offset)
            dst[n] = step * stride
            order = [n if a is i else a for a in order]  # an extent of 1 is in no order
        if empty:
            continue
        here = View(out.slot, at_dst, dst, out.loops, out.alternate)
        there = View(x.slot, at_src, src, x.loops, x.alternate)
        if disjoint:
            em.copy(here, there, order)
        else:
            em.map("add({0}, {1}, {0})", here, [there], order)

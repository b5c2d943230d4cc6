"""Loads with fill, windows, padding, joining, folding, gathering and adding at indices, in NumPy.

A position outside a buffer is handled by a padded copy whose border is filled; a fold adds tap by tap at
clipped slices. Refuses to hold arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, axis_aff
from codegen.numpy.contract import sum_over
from codegen.numpy.emit import Emitter
from codegen.numpy.views import Const, Extra, Shaped, Slot, Tile, View, aligned, contiguous, merged

NUMPY_NAMES = {
    "bool": "bool_", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
    "u32": "uint32", "u64": "uint64", "f16": "float16", "bf16": "float32", "f32": "float32", "f64": "float64",
}  # fmt: skip


def load(em: Emitter, e: E, args: Sequence[Tile], axes: Sequence[Axis]) -> View:
    """A load as a view; one that reads outside goes through a padded copy."""
    buf, idx, fill = e.attr
    if args:
        return _gathered(em, e, args, axes)
    outside = [k for k, (i, n) in enumerate(zip(idx, buf.shape, strict=True)) if not i.inside(n)]
    if not outside:
        return em.view(buf, idx)
    # one fresh axis per dimension of the buffer; loops go into the offset
    base = _dims_view(em, buf, idx)
    return padded(em, base, idx, outside, fill)


def _dims_view(em: Emitter, buf: Buf, idx: Sequence[Aff]) -> tuple[View, list[Axis], list[int]]:
    place = em.places[buf]
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


def exact(fill: Any, dtype: str) -> Any:
    if dtype == "bool":
        return bool(fill)
    return float(fill) if dtype.startswith(("f", "b")) else int(fill)


def at(em: Emitter, e: E, x: Tile, axes: Sequence[Axis]) -> Tile:
    """A value at affine positions of some of its axes."""
    if isinstance(x, Const) and e.attr[1] is None:
        return x
    env, fill = dict(e.attr[0]), e.attr[1]
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
            order[order.index(i)] = n
        if empty:
            continue
        here = View(out.slot, at_dst, dst, out.loops, out.alternate)
        there = View(x.slot, at_src, src, x.loops, x.alternate)
        if disjoint:
            em.copy(here, there, order)
        else:
            em.map("add({0}, {1}, {0})", here, [there], order)


def _index(em: Emitter, idx: Tile, order: Sequence[Axis]) -> Shaped:
    """Indices as one flat line of i64 (what `take` wants)."""
    own = [a for a in order if isinstance(idx, View) and a in idx.strides]
    t = em.scratch(own, "i64")
    em.copy(t, idx, own)
    flat = merged(t, [own], em.extent)
    assert flat is not None
    return flat


def _gathered(em: Emitter, e: E, args: Sequence[Tile], axes: Sequence[Axis]) -> View:
    """A load with one computed index, into scratch."""
    buf, idx, _ = e.attr
    where = next(k for k, i in enumerate(idx) if not isinstance(i, Aff))
    plain = [(k, i) for k, i in enumerate(idx) if isinstance(i, Aff)]
    own = list(args[0].strides) if isinstance(args[0], View) else []
    shared = [a for _, i in plain for a, _ in i.terms if a in own]
    table = em.places[buf]
    if not shared and all(a not in em.blocks for _, i in plain for a, _ in i.terms):
        before = [a for k, i in plain if k < where for a in _ordered(i)]
        after = [a for k, i in plain if k > where for a in _ordered(i)]
        own = [a for a in axes if a in own]
        out = em.scratch([*before, *own, *after], buf.dtype)
        rows = buf.shape[where]
        lead, width = math.prod(buf.shape[:where]), math.prod(buf.shape[where + 1 :])
        flat = _index(em, args[0], own)
        n = math.prod(em.extent(a) for a in own)
        src = Shaped(table.slot, table.offset, (lead, rows, width), (rows * width, width, 1),
                     tuple(table.loops.items()), "", table.alternate)  # fmt: skip
        dst = Shaped(out.slot, out.offset, (lead, n, width), (n * width, width, 1))
        if lead == 1:
            src, dst = src.reshaped((rows, width), (width, 1)), dst.reshaped((n, width), (width, 1))
        if n == 1:
            flat = flat.reshaped((1,), (1,))
        em.call(f'{{1}}.take({{2}}, {1 if lead > 1 else 0}, {{0}}, "clip")', [dst, src, flat], [0])
        return out
    # one index per element: flat positions in the buffer
    out = em.scratch(axes, buf.dtype)
    order = [a for a in axes if em.extent(a) > 1]
    pos = em.scratch(order, "i64")
    em.copy(pos, args[0], order)
    line = aligned([pos], order, em.extent)
    em.call(f"{{0}}.clip(0, {buf.shape[where] - 1}, {{0}})", line, [0])
    step = buf.strides[where]
    if step != 1:
        em.map("multiply({0}, {1}, {0})", pos, [Const(step, "i64")], order)
    for k, i in plain:
        for a, c in i.terms:
            # the whole axis, or this block of it
            ramp = ramp_of(em, a, c * buf.strides[k])
            em.map("add({0}, {1}, {0})", pos, [ramp], order)
    total = math.prod(buf.shape)
    src = Shaped(
        table.slot, table.offset, (total,), (1,), tuple(table.loops.items()), "", table.alternate
    )
    flat_pos, flat_out = merged(pos, [order], em.extent), merged(out, [order], em.extent)
    assert flat_pos is not None and flat_out is not None
    if not order:
        flat_pos, flat_out = flat_pos.reshaped((1,), (1,)), flat_out.reshaped((1,), (1,))
    em.call('{1}.take({2}, 0, {0}, "clip")', [flat_out, src, flat_pos], [0])
    return out


def _ordered(form: Aff) -> list[Axis]:
    return [a for a, _ in sorted(form.terms, key=lambda t: -abs(t[1]))]


def ramp_of(em: Emitter, a: Axis, step: int, dtype: str = "i64") -> View:
    """The positions along an axis times a step, as memory (filled anew: scratch is shared)."""
    t = em.scratch([a], dtype)
    (dst,) = aligned([t], [a], em.extent)
    loop, extent, start = em.blocks.get(a, (None, a.size, 0))
    assert loop is None or extent == a.size, "positions along a loop"
    values = Extra(
        f"arange({start * step}, {(start + extent) * step}, {step}).astype({NUMPY_NAMES[dtype]})"
    )
    if extent == 1:
        values = Extra(f"array({start * step}, {NUMPY_NAMES[dtype]})")
    em.call("copyto({0}, {1})", [dst, values], [0])
    return t


def iota(em: Emitter, e: E, axes: Sequence[Axis]) -> View:
    """The value of an affine form, as memory."""
    form = e.attr[0]
    out = em.scratch(axes, e.dtype)
    steps = [(a, c) for a, c in form.terms]
    if not steps:
        em.copy(out, Const(exact(form.const, e.dtype), e.dtype), axes)
        return out
    if len(steps) == 1 and form.const == 0:
        a, c = steps[0]
        return ramp_of(em, a, c, e.dtype)
    em.copy(out, Const(exact(form.const, e.dtype), e.dtype), axes)
    for a, c in steps:
        em.map("add({0}, {1}, {0})", out, [ramp_of(em, a, c, e.dtype)], axes)
    return out


def scatter(em: Emitter, e: E, out: View, idx: Tile, x: Tile, axes: Sequence[Axis]) -> None:
    """Adds rows (or elements) at indices into zeros."""
    new, over = e.attr
    own = list(idx.strides) if isinstance(idx, View) else []
    assert isinstance(x, View)
    kept = [a for a in axes if a is not new]
    per_row = not any(a in own for a in kept)
    rows = new.size
    order = [a for a in over if em.extent(a) > 1]
    if per_row:
        t = em.scratch([*order, *kept], out.slot.dtype)
        flat = merged(x, [order, kept], em.extent)
        if (
            flat is None
            or flat.strides[0] not in (0, flat.shape[1])
            or flat.strides[1] not in (0, 1)
            or x.loops
        ):
            em.copy(t, x, [*order, *kept])
            flat = merged(t, [order, kept], em.extent)
        assert flat is not None
        width = flat.shape[1]
        full_idx = em.scratch(order, "i64")
        em.copy(full_idx, idx, order)
        line = merged(full_idx, [order], em.extent)
        assert line is not None
        flat = flat.reshaped(flat.shape, (width, 1))
        direct = merged(out, [[new], kept], em.extent)
        good = (
            direct is not None
            and (direct.strides[0] == width or rows == 1)
            and (width == 1 or direct.strides[1] == 1)
        )
        if good and direct is not None:
            target = direct.reshaped((rows, width), (width, 1))
        else:
            r = em.scratch([new, *kept], out.slot.dtype)
            target = Shaped(r.slot, 0, (rows, width), (width, 1))
        em.call(
            "tools.scatter({1}, {2}, {0})",
            [target, line.reshaped((line.shape[0],), (1,)), flat],
            [0],
        )
        if not good:
            em.copy(out, r, axes)
        return
    # an index per element: a flat position in the result
    every = [a for a in dict.fromkeys([*kept, *order]) if em.extent(a) > 1]
    r = em.scratch([*[a for a in kept if em.extent(a) > 1], new], out.slot.dtype)
    pos, val = em.scratch(every, "i64"), em.scratch(every, out.slot.dtype)
    em.copy(pos, idx, every)
    em.call(f"{{0}}.clip(0, {rows - 1}, {{0}})", aligned([pos], every, em.extent), [0])
    steps, step = {}, rows
    for a in reversed(kept):
        steps[a] = step
        step *= em.extent(a)
    for a in kept:
        if em.extent(a) > 1:
            em.map("add({0}, {1}, {0})", pos, [ramp_of(em, a, steps[a])], every)
    em.copy(val, x, every)
    n = math.prod(em.extent(a) for a in every)
    line, values = Shaped(pos.slot, 0, (n,), (1,)), Shaped(val.slot, 0, (n, 1), (1, 1))
    em.call(
        "tools.scatter({1}, {2}, {0})",
        [Shaped(r.slot, 0, (r.slot.size, 1), (1, 1)), line, values],
        [0],
    )
    em.copy(out, r, axes)


__all__ = [
    "Slot",
    "contiguous",
    "sum_over",
    "load",
    "at",
    "spread",
    "concat",
    "fold",
    "scatter",
    "iota",
    "ramp_of",
]

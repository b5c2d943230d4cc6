"""Gathering, adding at indices, and positions along axes, in NumPy: what has an index that is a value.

Refuses to hold loads at affine positions (`movement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codegen.loops import Aff, Axis, E
from codegen.numpy.emit import Emitter
from codegen.numpy.views import (
    NUMPY_NAMES,
    Const,
    Extra,
    Shaped,
    Tile,
    View,
    aligned,
    exact,
    merged,
)


def _index(em: Emitter, idx: Tile, order: Sequence[Axis]) -> Shaped:
    """Indices as one flat line of i64 (what `take` wants)."""
    own = [a for a in order if isinstance(idx, View) and a in idx.strides]
    t = em.scratch(own, "i64")
    em.copy(t, idx, own)
    flat = merged(t, [own], em.extent)
    assert flat is not None
    return flat


def gathered(em: Emitter, e: E, args: Sequence[Tile], axes: Sequence[Axis]) -> View:
    """A load with one computed index, into scratch."""
    buf, idx, _ = e.attr
    where = next(k for k, i in enumerate(idx) if not isinstance(i, Aff))
    plain = [(k, i) for k, i in enumerate(idx) if isinstance(i, Aff)]
    own = list(args[0].strides) if isinstance(args[0], View) else []
    shared = [a for _, i in plain for a, _ in i.terms if a in own]
    table = em.standing(buf)
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
    new, over, _ = e.attr
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
            or (flat.shape[0] > 1 and flat.strides[0] != flat.shape[1])
            or (flat.shape[1] > 1 and flat.strides[1] != 1)
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

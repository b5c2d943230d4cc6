"""Rows of the ops that make, move and rearrange elements.

Refuses to hold arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.onnx.builder import INT64_MAX, INT64_MIN, Builder, Dims, Ref, where
from codegen.onnx.elementwise import Row, aligned
from ir.graph import Node
from ir.types import NUMPY


def _full(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return b.const(n.attr("value"), n.attr("dtype"))


def _size(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return b.cast(b.reshape(b.extent(n.attr("dim")), ()), n.attr("dtype"))


def _iota(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    shape, axis, dtype = n.attrs
    extent = shape[axis]
    tail = (1,) * (len(shape) - axis - 1)
    if isinstance(extent, int):
        line = np.arange(extent).astype(NUMPY[dtype]).reshape(extent, *tail)
        return b.const(line, dtype)
    stop = b.reshape(b.extent(extent), ())
    ramp = b.node("Range", [b.const(0), stop, b.const(1)], "i64", (extent,))
    return b.cast(b.reshape(ramp, (extent, *tail)), dtype)


def _broadcast(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    """Only the new axes of extent 1 between old ones are written; ONNX repeats on its own."""
    shape, axes = n.attrs
    x = refs[0]
    rank = n.inputs[0].type.rank
    x = b.plain(x, rank)
    lead = rank - len(x.shape)
    spread: dict[int, Any] = {axes[lead + k]: d for k, d in enumerate(x.shape)}
    first = min((a for a, d in spread.items() if d != 1), default=len(shape))
    return b.reshape(x, tuple(spread.get(a, 1) for a in range(first, len(shape))))


def _reshape(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    old, new = n.inputs[0].shape, n.attr("shape")
    x = refs[0]
    if x.value is not None and x.value.size == 1 and not x.label:
        return b.reshape(x, ())
    return b.reshape(b.full(x, old), new)


def _transpose(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    perm = n.attr("perm")
    x = refs[0]
    if not x.shape or all(d == 1 for d in x.shape):
        return Ref(x.name, x.dtype, (), None, None if x.value is None else x.value.reshape(()), x.label) \
            if x.value is not None or not x.shape else b.reshape(x, ())  # fmt: skip
    x = b.ranked(x, len(perm)) if x.perm is None else x
    # nothing moves: only what the axes are called changes
    now = x.perm or tuple(range(len(perm)))
    meaning = tuple(perm.index(a) for a in now)
    identity = meaning == tuple(range(len(perm)))
    return Ref(x.name, x.dtype, x.shape, None if identity else meaning, x.value, x.label)


def _flip(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    v = n.inputs[0]
    x = b.full(refs[0], v.shape)
    axes = list(n.attr("axes"))
    k = len(axes)
    operands = [b.const([-1] * k), b.const([INT64_MIN] * k), b.const(axes), b.const([-1] * k)]
    return b.node("Slice", [x, *operands], x.dtype, v.shape)


def _slice(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    v, out = n.inputs[0], n.outs[0]
    rank = v.type.rank
    x = refs[0] if refs[0].perm is not None else b.ranked(refs[0], rank)
    start, stop, step = n.attrs
    axes = [a for a in range(rank) if (start[a], stop[a], step[a]) != (0, v.shape[a], 1)]
    shape = list(x.shape)
    cut = []
    for a in axes:
        k = where(x, a, rank)
        if x.shape[k] != v.shape[a]:  # repeated along this axis: any part is like the whole
            continue
        shape[k] = out.shape[a]
        cut.append((a, k))
    if not cut:
        return x
    ends = tuple(INT64_MAX if stop[a] == v.shape[a] else stop[a] for a, _ in cut)
    operands = [
        b.extents(tuple(start[a] for a, _ in cut)),
        b.extents(ends),
        b.const([k for _, k in cut]),
    ]
    if any(step[a] != 1 for a, _ in cut):
        operands.append(b.const([step[a] for a, _ in cut]))
    made = b.node("Slice", [x, *operands], x.dtype, tuple(shape))
    return Ref(made.name, made.dtype, made.shape, x.perm)


def _pad(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    v, out = n.inputs[0], n.outs[0]
    low, high, interior, value = n.attrs
    if (
        not any(interior)
        and refs[0].perm is not None
        and refs[0].shape == tuple(v.shape[a] for a in refs[0].perm)
    ):
        x, order = refs[0], refs[0].perm
    else:
        x, order = b.full(refs[0], v.shape), tuple(range(v.type.rank))
    for a, gap in enumerate(interior):
        if gap:
            x = _spread(b, x, a, gap, value)
    pads = b.extents(tuple(low[a] for a in order) + tuple(high[a] for a in order))
    shape = tuple(out.shape[a] for a in order)
    made = b.node("Pad", [x, pads, b.const(value, x.dtype)], x.dtype, shape, mode="constant")
    return Ref(made.name, made.dtype, shape, x.perm)


def _spread(b: Builder, x: Ref, axis: int, gap: int, value: Any) -> Ref:
    """`gap` elements of `value` after each but the last along `axis`."""
    shape = x.shape
    extent = shape[axis]
    apart = b.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    rank = len(apart.shape)
    wide: Dims = (*shape[: axis + 1], gap + 1, *shape[axis + 1 :])
    pads = [0] * (2 * rank)
    pads[rank + axis + 1] = gap
    apart = b.node(
        "Pad", [apart, b.const(pads), b.const(value, x.dtype)], x.dtype, wide, mode="constant"
    )
    joined = b.reshape(apart, (*shape[:axis], extent * (gap + 1), *shape[axis + 1 :]))
    stop = extent * (gap + 1) - gap
    return b.node(
        "Slice", [joined, b.const([0]), b.const([-gap]), b.const([axis])], x.dtype,
        (*shape[:axis], stop, *shape[axis + 1 :]),
    )  # fmt: skip


def _concat(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    out = n.outs[0]
    rank = out.type.rank
    refs, perm = aligned(b, refs, rank)
    order = perm or tuple(range(rank))
    parts = [
        b.expanded(r, tuple(v.shape[a] for a in order)) for r, v in zip(refs, n.inputs, strict=True)
    ]
    made = b.node(
        "Concat",
        parts,
        out.dtype,
        tuple(out.shape[a] for a in order),
        axis=order.index(n.attr("axis")),
    )
    return Ref(made.name, made.dtype, made.shape, perm)


def _split(b: Builder, n: Node, refs: list[Ref]) -> list[Ref]:
    v = n.inputs[0]
    axis, sizes = n.attrs
    x = refs[0]
    if x.perm is not None:
        x = b.expanded(x, tuple(v.shape[a] for a in x.perm))
    else:
        x = b.full(x, v.shape)
    k = where(x, axis, v.type.rank)
    types = [(x.dtype, (*x.shape[:k], size, *x.shape[k + 1 :])) for size in sizes]
    made = b.nodes("Split", [x, b.extents(tuple(sizes))], types, axis=k)
    return [Ref(r.name, r.dtype, r.shape, x.perm) for r in made]


ROWS: dict[str, Row] = {
    "full": _full, "size": _size, "iota": _iota, "broadcast": _broadcast, "reshape": _reshape,
    "transpose": _transpose, "flip": _flip, "slice": _slice, "pad": _pad, "concat": _concat, "split": _split,
}  # fmt: skip

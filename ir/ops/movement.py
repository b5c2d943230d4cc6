"""Linear ops that move or repeat elements, each beside its transpose: `broadcast` and `reduce_sum`,
`slice` and `pad`, `reshape`, `transpose`, `concat` and `split`, `flip`, and `cumsum`.

Refuses to hold indices that are values (`ir.ops.gather`) and windows (`ir.ops.window`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ir.dims import DimLike
from ir.graph import Value
from ir.op import Attr, IRError, Op, op
from ir.ops.create import zeros_like
from ir.ops.rules import Array, accumulator, number, require, valid_axes, valid_axis, without
from ir.types import Type

Dims = tuple[DimLike, ...]
Ints = tuple[int, ...]

# -- broadcast and reduce_sum ---------------------------------------------------------------------


def _broadcast_type(x: Type, shape: Dims, axes: Ints) -> Type:
    out = x.with_shape(shape)
    require(
        len(axes) == x.rank,
        f"axes must name a result axis for each of the {x.rank} axes, not {axes}",
    )
    valid_axes(out, axes)
    for a, d in zip(axes, x.shape, strict=True):
        require(
            out.shape[a] == d,
            f"extent {d} cannot become {out.shape[a]} (axis {a}); equal extents only",
        )
    return out


def _broadcast_meaning(x: Array, shape: Ints, axes: Ints) -> Array:
    view = x.reshape([x.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))])
    return np.array(np.broadcast_to(view, shape))


def _broadcast_vjp(ct: Value, out: Value, x: Value, shape: Dims, axes: Ints) -> tuple[Value]:
    return (reduce_sum(ct, axes=tuple(i for i in range(len(shape)) if i not in axes)),)


broadcast: Op = op(
    "broadcast", "x repeated along new axes; its axis i becomes axis `axes[i]` of `shape`.",
    arity=1, attrs=(Attr("shape", "dims"), Attr("axes", "ints")),
    type=_broadcast_type, meaning=_broadcast_meaning, vjp=_broadcast_vjp, flops=lambda x, shape, axes: 0,
)  # fmt: skip


def expand(x: Value, shape: Sequence[DimLike], axes: Sequence[int]) -> Value:
    """Undo a reduction: `x`, whose `axes` were dropped from `shape`, repeated along them."""
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    out: Value = broadcast(x, shape=tuple(shape), axes=kept)
    return out


def _reduce_sum_type(x: Type, axes: Ints) -> Type:
    number(x)
    valid_axes(x, axes)
    return x.with_shape(without(x.shape, axes))


def _reduce_sum_meaning(x: Array, axes: Ints) -> Array:
    return np.asarray(np.sum(x, axis=axes, dtype=accumulator(x))).astype(x.dtype)


reduce_sum: Op = op(
    "reduce_sum", "The sum over `axes`, which are dropped.",
    arity=1, attrs=(Attr("axes", "ints"),), type=_reduce_sum_type, meaning=_reduce_sum_meaning,
    vjp=lambda ct, out, x, axes: (expand(ct, x.shape, axes),), flops=lambda x, axes: x.size,
)  # fmt: skip

# -- reshape, transpose, flip ---------------------------------------------------------------------


def _reshape_type(x: Type, shape: Dims) -> Type:
    out = x.with_shape(shape)
    require(out.size == x.size, f"{x.shape} has {x.size} elements, {out.shape} has {out.size}")
    return out


reshape: Op = op(
    "reshape", "The same elements in row-major order under another shape.",
    arity=1, attrs=(Attr("shape", "dims"),), type=_reshape_type, meaning=np.reshape,
    vjp=lambda ct, out, x, shape: (reshape(ct, shape=x.shape),), flops=lambda x, shape: 0,
)  # fmt: skip


def _transpose_type(x: Type, perm: Ints) -> Type:
    require(sorted(perm) == list(range(x.rank)), f"perm {perm} is no permutation of {x.rank} axes")
    return x.with_shape(tuple(x.shape[p] for p in perm))


def inverse(perm: Sequence[int]) -> Ints:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


transpose: Op = op(
    "transpose", "Axis i of the result is axis `perm[i]` of x.",
    arity=1, attrs=(Attr("perm", "ints"),), type=_transpose_type, meaning=np.transpose,
    vjp=lambda ct, out, x, perm: (transpose(ct, perm=inverse(perm)),), flops=lambda x, perm: 0,
)  # fmt: skip


def _flip_type(x: Type, axes: Ints) -> Type:
    valid_axes(x, axes)
    return x


flip: Op = op(
    "flip", "x in reverse order along `axes`.",
    arity=1, attrs=(Attr("axes", "ints"),), type=_flip_type, meaning=np.flip,
    vjp=lambda ct, out, x, axes: (flip(ct, axes=axes),), flops=lambda x, axes: 0,
)  # fmt: skip

# -- slice and pad --------------------------------------------------------------------------------


def _slice_type(x: Type, start: Dims, stop: Dims, step: Ints) -> Type:
    require(
        len(start) == len(stop) == len(step) == x.rank,
        f"start, stop and step need {x.rank} entries each",
    )
    shape: list[DimLike] = []
    for d, a, b, s in zip(x.shape, start, stop, step, strict=True):
        require(s > 0, f"step {s} must be positive; flip for the other direction")
        if isinstance(a, int) and isinstance(b, int):
            inside = 0 <= a <= b and (not isinstance(d, int) or b <= d)
            require(inside, f"{a}:{b} is not within 0:{d}")
        shape.append((b - a + (s - 1)) // s)
    return x.with_shape(tuple(shape))


def _slice_meaning(x: Array, start: Ints, stop: Ints, step: Ints) -> Array:
    return x[tuple(map(slice, start, stop, step))]


def _slice_vjp(
    ct: Value, out: Value, x: Value, start: Dims, stop: Dims, step: Ints
) -> tuple[Value]:
    spans = [_span(n, s - 1) for n, s in zip(out.shape, step, strict=True)]
    high = tuple(d - a - n for d, a, n in zip(x.shape, start, spans, strict=True))
    return (pad(ct, low=start, high=high, interior=tuple(s - 1 for s in step), value=0.0),)


slice_: Op = op(
    "slice", "x[start:stop:step] on every axis.",
    arity=1, attrs=(Attr("start", "dims"), Attr("stop", "dims"), Attr("step", "ints")),
    type=_slice_type, meaning=_slice_meaning, vjp=_slice_vjp, flops=lambda x, start, stop, step: 0,
)  # fmt: skip


def _span(n: DimLike, interior: int) -> DimLike:
    """The extent of `n` elements with `interior` gaps between them; a named `n` is at least 1."""
    return n if isinstance(n, int) and n == 0 else n + (n - 1) * interior


def _pad_type(x: Type, low: Dims, high: Dims, interior: Ints, value: object) -> Type:
    require(
        len(low) == len(high) == len(interior) == x.rank,
        f"low, high and interior need {x.rank} entries each",
    )
    if any(isinstance(v, int) and v < 0 for v in (*low, *high, *interior)):
        raise IRError("padding must not be negative; slice instead")
    spans = (_span(n, i) for n, i in zip(x.shape, interior, strict=True))
    return x.with_shape(tuple(a + n + b for a, n, b in zip(low, spans, high, strict=True)))


def _pad_meaning(x: Array, low: Ints, high: Ints, interior: Ints, value: float) -> Array:
    spans = [n + max(n - 1, 0) * i for n, i in zip(x.shape, interior, strict=True)]
    out = np.full([a + n + b for a, n, b in zip(low, spans, high, strict=True)], value, x.dtype)
    out[tuple(slice(a, a + n, i + 1) for a, n, i in zip(low, spans, interior, strict=True))] = x
    return out


def _pad_vjp(
    ct: Value, out: Value, x: Value, low: Dims, high: Dims, interior: Ints, value: float
) -> tuple[Value]:
    if any(isinstance(n, int) and n == 0 for n in x.shape):
        return (zeros_like(x),)
    stop = tuple(a + _span(n, i) for a, n, i in zip(low, x.shape, interior, strict=True))
    return (slice_(ct, start=low, stop=stop, step=tuple(i + 1 for i in interior)),)


pad: Op = op(
    "pad", "x between `low` and `high` elements of `value`, with `interior` of them in each gap.",
    arity=1,
    attrs=(Attr("low", "dims"), Attr("high", "dims"), Attr("interior", "ints"), Attr("value", "scalar", 0.0)),
    type=_pad_type, meaning=_pad_meaning, vjp=_pad_vjp, flops=lambda x, low, high, interior, value: 0,
)  # fmt: skip

# -- concat and split, cumsum -------------------------------------------------------------------------------


def _concat_type(xs: tuple[Type, ...], axis: int) -> Type:
    require(len(xs) > 0, "at least one operand")
    first = xs[0]
    valid_axis(first, axis)
    total: DimLike = 0
    for t in xs:
        fits = t.dtype == first.dtype and without(t.shape, (axis,)) == without(first.shape, (axis,))
        require(fits and t.rank == first.rank, f"{t} and {first} differ in more than axis {axis}")
        total = total + t.shape[axis]
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _concat_vjp(ct: Value, out: Value, xs: tuple[Value, ...], axis: int) -> tuple[Value, ...]:
    return _split_body(ct, axis, tuple(x.shape[axis] for x in xs))


concat: Op = op(
    "concat", "The operands one after the other along `axis`.",
    arity=None, attrs=(Attr("axis", "int"),), type=_concat_type,
    meaning=lambda xs, axis: np.concatenate(xs, axis), vjp=_concat_vjp, flops=lambda xs, axis: 0,
)  # fmt: skip


def _split_type(x: Type, axis: int, sizes: Dims) -> tuple[Type, ...]:
    valid_axis(x, axis)
    total: DimLike = 0
    for d in sizes:
        total = total + d
    require(
        len(sizes) > 0 and total == x.shape[axis], f"sizes {sizes} must add up to {x.shape[axis]}"
    )
    return tuple(x.with_shape((*x.shape[:axis], d, *x.shape[axis + 1 :])) for d in sizes)


def _split_body(x: Value, axis: int, sizes: Dims) -> tuple[Value, ...]:
    parts, ones = [], (1,) * x.type.rank
    offset: DimLike = 0
    for t in _split_type(x.type, axis, sizes):
        start = tuple(offset if i == axis else 0 for i in range(t.rank))
        stop = tuple(a + d for a, d in zip(start, t.shape, strict=True))
        parts.append(slice_(x, start=start, stop=stop, step=ones))
        offset = stop[axis]
    return tuple(parts)


def _split_vjp(ct: Any, out: Any, x: Value, axis: int, sizes: Dims) -> tuple[Value]:
    if len(sizes) == 1:
        return (ct,)
    parts = [zeros_like(o) if c is None else c for c, o in zip(ct, out, strict=True)]
    return (concat(*parts, axis=axis),)


split: Op = op(
    "split", "x cut along `axis` into parts of `sizes`, the reverse of concat.",
    arity=1, attrs=(Attr("axis", "int"), Attr("sizes", "dims")),
    type=_split_type, body=_split_body, vjp=_split_vjp,
)  # fmt: skip


def cumulative_type(x: Type, axis: int, reverse: bool, exclusive: bool) -> Type:
    """The type rule of a running reduction: that of x."""
    valid_axis(x, axis)
    return number(x)


def cumulative(ufunc: np.ufunc, x: Array, axis: int, reverse: bool, exclusive: bool) -> Array:
    """The running reduction of `ufunc` along `axis`; exclusive leaves out the element itself."""
    y = np.flip(x, axis) if reverse else x
    out = ufunc.accumulate(y, axis=axis, dtype=accumulator(x)).astype(x.dtype)
    if exclusive:
        one = [1 if i == axis else d for i, d in enumerate(x.shape)]
        shifted = np.concatenate([np.full(one, ufunc.identity, x.dtype), out], axis)
        out = shifted.take(np.arange(x.shape[axis]), axis)
    return np.flip(out, axis) if reverse else out


cumsum: Op = op(
    "cumsum", "The running sum along `axis`, from the end if `reverse`, without the element itself if `exclusive`.",
    arity=1, attrs=(Attr("axis", "int"), Attr("reverse", "bool", False), Attr("exclusive", "bool", False)),
    type=cumulative_type,
    meaning=lambda x, axis, reverse, exclusive: cumulative(np.add, x, axis, reverse, exclusive),
    vjp=lambda ct, out, x, axis, reverse, exclusive: (
        cumsum(ct, axis=axis, reverse=not reverse, exclusive=exclusive),
    ),
    flops=lambda x, axis, reverse, exclusive: x.size,
)  # fmt: skip

"""Reductions that are not linear, their positions, running products, and sorting.

Refuses to hold `reduce_sum` and `cumsum`, which are linear (`ir.ops.movement`), and means and
moments, which are composites (`ir.ops.normalise`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ir import dims
from ir.graph import Value, graph_of
from ir.op import Attr, Op, op
from ir.ops.compare import eq, select
from ir.ops.create import full, iota, zeros_like
from ir.ops.elementwise import add, cast, div, mul
from ir.ops.gather import scatter_along
from ir.ops.movement import (
    cumulative,
    cumulative_type,
    expand,
    inverse,
    reduce_sum,
    reshape,
    transpose,
)
from ir.ops.rules import Array, accumulator, number, require, valid_axes, valid_axis, without
from ir.ops.scan import scan
from ir.types import Type

Ints = tuple[int, ...]


def _extreme_type(x: Type, axes: Ints) -> Type:
    valid_axes(x, axes)
    empty = any(isinstance(x.shape[a], int) and x.shape[a] == 0 for a in axes)
    require(not empty, f"nothing has no extreme: {x} over axes {axes}")
    return x.with_shape(without(x.shape, axes))


def _extreme_vjp(ct: Value, out: Value, x: Value, axes: Ints) -> tuple[Value | None]:
    hit = eq(x, expand(out, x.shape, axes))
    ties = reduce_sum(cast(hit, dtype=x.dtype), axes=axes)  # equal elements share the gradient
    share = expand(div(ct, ties), x.shape, axes)
    return (select(hit, share, zeros_like(share)),)


def _extreme(name: str, doc: str, ufunc: np.ufunc) -> Op:
    return op(
        name, doc, arity=1, attrs=(Attr("axes", "ints"),), type=_extreme_type,
        meaning=lambda x, axes: ufunc.reduce(x, axis=axes), vjp=_extreme_vjp, flops=lambda x, axes: x.size,
    )  # fmt: skip


reduce_max = _extreme("reduce_max", "The greatest over `axes`; of bools, whether any.", np.maximum)
reduce_min = _extreme("reduce_min", "The least over `axes`; of bools, whether all.", np.minimum)


def _reduce_prod_type(x: Type, axes: Ints) -> Type:
    valid_axes(number(x), axes)
    return x.with_shape(without(x.shape, axes))


def _reduce_prod_vjp(ct: Value, out: Value, x: Value, axes: Ints) -> tuple[Value]:
    # the product of all others, right also where some are zero: those before times those after
    kept = tuple(i for i in range(x.type.rank) if i not in axes)
    perm = (*kept, *axes)
    moved = transpose(x, perm=perm)
    line = reshape(moved, shape=(*out.shape, dims.product(x.shape[a] for a in axes)))
    last = len(kept)
    before = cumprod(line, axis=last, exclusive=True)
    after = cumprod(line, axis=last, exclusive=True, reverse=True)
    others = transpose(reshape(mul(before, after), shape=moved.shape), perm=inverse(perm))
    return (mul(expand(ct, x.shape, axes), others),)


def _reduce_prod_meaning(x: Array, axes: Ints) -> Array:
    return np.asarray(np.prod(x, axis=axes, dtype=accumulator(x))).astype(x.dtype)


reduce_prod: Op = op(
    "reduce_prod", "The product over `axes`.",
    arity=1, attrs=(Attr("axes", "ints"),), type=_reduce_prod_type, meaning=_reduce_prod_meaning,
    vjp=_reduce_prod_vjp, flops=lambda x, axes: x.size,
)  # fmt: skip


def _cumprod_vjp(
    ct: Value, out: Value, x: Value, axis: int, reverse: bool, exclusive: bool
) -> tuple[Value]:
    # the product before each factor, times what comes after it: the sum over later results j of
    # ct[j] and the factors between; a recurrence, so that zeros are no exception
    before = cumprod(x, axis=axis, reverse=reverse, exclusive=True)
    perm = (axis, *(i for i in range(x.type.rank) if i != axis))
    line = x.type.with_shape(tuple(x.shape[p] for p in perm[1:]))
    later, c, factor = (Value(line, name=n) for n in ("later", "ct", "x"))
    here = later if exclusive else add(c, later)
    onward = add(c, mul(factor, later)) if exclusive else mul(factor, here)
    step = graph_of("cumprod_grad", [later, c, factor], [onward, here])
    zero = full(value=0.0, shape=line.shape, dtype=x.dtype)
    lines = [transpose(v, perm=perm) for v in (ct, x)]
    _, after = scan(
        zero, *lines, body=step, carries=1, xs=2, length=x.shape[axis], reverse=not reverse
    )
    return (mul(before, transpose(after, perm=inverse(perm))),)


cumprod: Op = op(
    "cumprod", "The running product along `axis`; `reverse` and `exclusive` as in cumsum.",
    arity=1, attrs=(Attr("axis", "int"), Attr("reverse", "bool", False), Attr("exclusive", "bool", False)),
    type=cumulative_type,
    meaning=lambda x, axis, reverse, exclusive: cumulative(np.multiply, x, axis, reverse, exclusive),
    vjp=_cumprod_vjp, flops=lambda x, axis, reverse, exclusive: x.size,
)  # fmt: skip


def _position_type(x: Type, axis: int) -> Type:
    valid_axis(number(x), axis)
    require(x.shape[axis] != 0, f"nothing has no extreme: {x} along axis {axis}")
    return x.with_dtype("i32").with_shape(without(x.shape, (axis,)))


def _position(name: str, doc: str, find: Any) -> Op:
    return op(
        name, doc, arity=1, attrs=(Attr("axis", "int"),), type=_position_type,
        meaning=lambda x, axis: np.asarray(find(x, axis)).astype(np.int32), flops=lambda x, axis: x.size,
    )  # fmt: skip


argmax = _position(
    "argmax", "The position of the greatest along `axis`, the first of equals.", np.argmax
)
argmin = _position(
    "argmin", "The position of the least along `axis`, the first of equals.", np.argmin
)


def _sort_type(x: Type, axis: int) -> Type:
    valid_axis(number(x), axis)
    return x


argsort: Op = op(
    "argsort", "The positions that sort x along `axis`, ascending and stable.",
    arity=1, attrs=(Attr("axis", "int"),), type=lambda x, axis: _sort_type(x, axis).with_dtype("i32"),
    meaning=lambda x, axis: np.argsort(x, axis, kind="stable").astype(np.int32),
    flops=lambda x, axis: x.size * 10,
)  # fmt: skip

sort: Op = op(
    "sort", "x ascending along `axis`.",
    arity=1, attrs=(Attr("axis", "int"),), type=_sort_type,
    meaning=lambda x, axis: np.sort(x, axis, kind="stable"),
    vjp=lambda ct, out, x, axis: (
        scatter_along(argsort(x, axis=axis), ct, axis=axis, extent=x.shape[axis]),
    ),
    flops=lambda x, axis: x.size * 10,
)  # fmt: skip


def one_hot(idx: Value, like: Value, axis: int) -> Value:
    """bool, of the shape of `like`: whether the index along `axis` is that in `idx` (without the axis)."""
    from_zero = iota(shape=like.shape, axis=axis, dtype=idx.dtype)
    out: Value = eq(from_zero, expand(idx, like.shape, (axis,)))
    return out

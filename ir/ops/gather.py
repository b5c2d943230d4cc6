"""Reading and adding at indices that are values: `gather` and its transpose `scatter_add`, one index
per slice; `take_along` and its transpose `scatter_along`, one index per element.

Indices out of range are clipped (the front door refuses them where it can see them). Refuses to hold
indices known while compiling (`ir.ops.movement`).
"""

from __future__ import annotations

import numpy as np

from ir.dims import DimLike
from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.rules import Array, index, number, require, valid_axis, without
from ir.types import Type

Grads = tuple[Value | None, ...]


def _clip(idx: Array, extent: int) -> Array:
    return np.clip(idx, 0, max(extent - 1, 0))


def _gather_type(x: Type, idx: Type, axis: int) -> Type:
    index(idx)
    valid_axis(x, axis)
    return x.with_shape((*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :]))


gather: Op = op(
    "gather", "x[..., idx, ...] along `axis`; the axes of idx stand where `axis` stood.",
    arity=2, attrs=(Attr("axis", "int"),), type=_gather_type,
    meaning=lambda x, idx, axis: np.take(x, _clip(idx, x.shape[axis]), axis),
    vjp=lambda ct, out, x, idx, axis: (scatter_add(idx, ct, axis=axis, extent=x.shape[axis]), None),
    flops=lambda x, idx, axis: 0,
)  # fmt: skip


def _scatter_add_type(idx: Type, updates: Type, axis: int, extent: DimLike, atomic: bool) -> Type:
    index(idx)
    number(updates)
    end = axis + idx.rank
    require(
        axis >= 0 and updates.shape[axis:end] == idx.shape,
        f"updates {updates} must have the index shape {idx.shape} at axis {axis}",
    )
    return updates.with_shape((*updates.shape[:axis], extent, *updates.shape[end:]))


def _scatter_add_meaning(idx: Array, updates: Array, axis: int, extent: int, atomic: bool) -> Array:
    flat = _clip(idx, extent).reshape(-1)
    before, after = updates.shape[:axis], updates.shape[axis + idx.ndim :]
    lines = np.moveaxis(updates.reshape((*before, flat.size, *after)), axis, 0)
    out = np.zeros((extent, *before, *after), updates.dtype)
    if flat.size:  # equal indices side by side, then one sum for each run
        order = np.argsort(flat, kind="stable")
        runs = np.flatnonzero(np.diff(flat[order], prepend=-1))
        out[flat[order][runs]] = np.add.reduceat(lines[order], runs, axis=0)
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


scatter_add: Op = op(
    "scatter_add",
    "Zeros of extent `extent` along `axis`, plus the updates at idx; duplicates add, if `atomic` in any order.",
    arity=2, attrs=(Attr("axis", "int"), Attr("extent", "dim"), Attr("atomic", "bool", False)),
    type=_scatter_add_type, meaning=_scatter_add_meaning,
    vjp=lambda ct, out, idx, updates, axis, extent, atomic: (None, gather(ct, idx, axis=axis)),
    flops=lambda idx, updates, axis, extent, atomic: updates.size,
)  # fmt: skip


def _take_along_type(x: Type, idx: Type, axis: int) -> Type:
    index(idx)
    valid_axis(x, axis)
    same = x.rank == idx.rank and without(x.shape, (axis,)) == without(idx.shape, (axis,))
    require(same, f"{x} and {idx} must agree but for axis {axis}")
    return x.with_shape(idx.shape)


take_along: Op = op(
    "take_along", "out[i, j, ...] = x[i, idx[i, j, ...], ...], the index standing at `axis`.",
    arity=2, attrs=(Attr("axis", "int"),), type=_take_along_type,
    meaning=lambda x, idx, axis: np.take_along_axis(x, _clip(idx, x.shape[axis]), axis),
    vjp=lambda ct, out, x, idx, axis: (scatter_along(idx, ct, axis=axis, extent=x.shape[axis]), None),
    flops=lambda x, idx, axis: 0,
)  # fmt: skip


def _scatter_along_type(idx: Type, updates: Type, axis: int, extent: DimLike, atomic: bool) -> Type:
    index(idx)
    number(updates)
    valid_axis(updates, axis)
    require(idx.shape == updates.shape, f"idx {idx} and updates {updates} must have one shape")
    return updates.with_shape((*updates.shape[:axis], extent, *updates.shape[axis + 1 :]))


def _scatter_along_meaning(
    idx: Array, updates: Array, axis: int, extent: int, atomic: bool
) -> Array:
    out = np.zeros((*updates.shape[:axis], extent, *updates.shape[axis + 1 :]), updates.dtype)
    where: list[Array] = list(np.indices(idx.shape, sparse=True))
    where[axis] = _clip(idx, extent)
    np.add.at(out, tuple(where), updates)
    return out


scatter_along: Op = op(
    "scatter_along", "The transpose of take_along: each update is added at its own index along `axis`, if `atomic` in any order.",
    arity=2, attrs=(Attr("axis", "int"), Attr("extent", "dim"), Attr("atomic", "bool", False)),
    type=_scatter_along_type, meaning=_scatter_along_meaning,
    vjp=lambda ct, out, idx, updates, axis, extent, atomic: (None, take_along(ct, idx, axis=axis)),
    flops=lambda idx, updates, axis, extent, atomic: updates.size,
)  # fmt: skip

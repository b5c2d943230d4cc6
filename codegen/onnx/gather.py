"""Rows of reading and adding at indices that are values.

Refuses to hold slices (`codegen.onnx.movement`).
"""

from __future__ import annotations

from codegen.onnx.builder import Builder, Dims, Ref
from codegen.onnx.elementwise import Row
from ir.dims import DimLike
from ir.graph import Node, Value


def _index(b: Builder, v: Value, ref: Ref, extent: DimLike) -> Ref:
    """An index as int32 or int64, clipped unless it is the user's own input or a constant.

    ONNX Runtime refuses a user's index out of range, which says more than a clipped one.
    """
    ref = b.full(ref, v.shape)
    given = ref.is_input or ref.value is not None
    if ref.dtype not in ("i32", "i64"):
        ref = b.cast(ref, "i32")
    if given:
        return ref
    top = b.cast(b.reshape(b.extent(extent - 1), ()), ref.dtype)
    low = b.node("Max", [ref, b.const(0, ref.dtype)], ref.dtype, ref.shape)
    return b.node("Min", [low, top], ref.dtype, ref.shape)


def _gather(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    x, idx = n.inputs
    axis = n.attr("axis")
    table = b.full(refs[0], x.shape)
    return b.node(
        "Gather",
        [table, _index(b, idx, refs[1], x.shape[axis])],
        table.dtype,
        n.outs[0].shape,
        axis=axis,
    )


def _take_along(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    x, idx = n.inputs
    axis = n.attr("axis")
    index = _index(b, idx, refs[1], x.shape[axis])
    # GatherElements wants no other axis longer than the index: true, they are equal
    return b.node(
        "GatherElements", [b.full(refs[0], x.shape), index], x.dtype, n.outs[0].shape, axis=axis
    )


def _scatter_add(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    idx, updates = n.inputs
    axis, extent, _ = n.attrs
    out = n.outs[0]
    index = b.cast(_index(b, idx, refs[0], extent), "i64")
    values = b.full(refs[1], updates.shape)
    rank = updates.type.rank
    inner = list(range(axis, axis + idx.type.rank))
    rest = [a for a in range(rank) if a not in inner]
    values = b.transpose(values, inner + rest)
    zeros: Dims = (extent, *(updates.shape[a] for a in rest))
    empty = b.expanded(b.const(0, out.dtype), zeros)
    made = b.node(
        "ScatterND",
        [empty, b.reshape(index, (*idx.shape, 1)), values],
        out.dtype,
        zeros,
        reduction="add",
    )
    back = [*range(1, axis + 1), 0, *range(axis + 1, out.type.rank)]
    return b.transpose(made, back)


def _scatter_along(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    idx, updates = n.inputs
    axis, extent, _ = n.attrs
    out = n.outs[0]
    empty = b.expanded(b.const(0, out.dtype), out.shape)
    operands = [empty, _index(b, idx, refs[0], extent), b.full(refs[1], updates.shape)]
    return b.node("ScatterElements", operands, out.dtype, out.shape, axis=axis, reduction="add")


ROWS: dict[str, Row] = {
    "gather": _gather, "take_along": _take_along, "scatter_add": _scatter_add,
    "scatter_along": _scatter_along,
}  # fmt: skip

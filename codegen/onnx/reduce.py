"""Rows of reductions, positions, running sums, sorting, and what works along an axis (softmax).

Refuses to hold normalisations with weights (`codegen.onnx.layers`).
"""

from __future__ import annotations

from codegen.onnx.builder import Builder, Ref, where
from codegen.onnx.elementwise import Row
from ir.graph import Node


def _operand(b: Builder, n: Node, ref: Ref) -> Ref:
    """The operand with every extent, in whatever order its axes lie."""
    v = n.inputs[0]
    if ref.perm is not None:
        return b.expanded(ref, tuple(v.shape[a] for a in ref.perm))
    return b.full(ref, v.shape)


def _without(ref: Ref, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of the axes left when `axes` are dropped."""
    if ref.perm is None:
        return None
    left = [a for a in ref.perm if a not in axes]
    rank = sorted(left)
    perm = tuple(rank.index(a) for a in left)
    return None if perm == tuple(range(len(perm))) else perm


def reduce(op: str) -> Row:
    """The row of a reduction over `axes`."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        axes, out = n.attr("axes"), n.outs[0]
        x = _operand(b, n, refs[0])
        if not axes:
            return x
        if x.dtype == "bool":
            x = b.cast(x, "i32")
        rank = n.inputs[0].type.rank
        at = sorted(where(x, a, rank) for a in axes)
        shape = tuple(d for k, d in enumerate(x.shape) if k not in at)
        made = b.node(op, [x, b.const(at)], x.dtype, shape, keepdims=0)
        made = Ref(made.name, made.dtype, shape, _without(x, axes))
        return b.cast(made, out.dtype)

    return row


def position(op: str) -> Row:
    """The row of argmax and argmin."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        axis, out = n.attr("axis"), n.outs[0]
        x = b.full(refs[0], n.inputs[0].shape)
        made = b.node(op, [x], "i64", out.shape, axis=axis, keepdims=0)
        return b.cast(made, out.dtype)

    return row


def along(op: str) -> Row:
    """The row of an op along one axis that keeps the shape (softmax, log_softmax)."""

    def row(b: Builder, n: Node, refs: list[Ref]) -> Ref:
        x = _operand(b, n, refs[0])
        axis = where(x, n.attr("axis"), n.inputs[0].type.rank)
        out = b.node(op, [x], x.dtype, x.shape, axis=axis)
        return Ref(out.name, out.dtype, out.shape, x.perm)

    return row


def _cumsum(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    axis, reverse, exclusive = n.attrs
    x = b.full(refs[0], n.inputs[0].shape)
    return b.node(
        "CumSum",
        [x, b.const(axis)],
        x.dtype,
        x.shape,
        exclusive=int(exclusive),
        reverse=int(reverse),
    )


def _sorted(b: Builder, n: Node, refs: list[Ref]) -> list[Ref]:
    v, axis = n.inputs[0], n.attr("axis")
    x = b.full(refs[0], v.shape)
    # of equal values ONNX takes the lower position first: the sort is stable
    return b.nodes(
        "TopK", [x, b.extent(v.shape[axis])], [(x.dtype, v.shape), ("i64", v.shape)],
        axis=axis, largest=0, sorted=1,
    )  # fmt: skip


def _sort(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return _sorted(b, n, refs)[0]


def _argsort(b: Builder, n: Node, refs: list[Ref]) -> Ref:
    return b.cast(_sorted(b, n, refs)[1], n.outs[0].dtype)


ROWS: dict[str, Row] = {
    "reduce_sum": reduce("ReduceSum"), "reduce_max": reduce("ReduceMax"), "reduce_min": reduce("ReduceMin"),
    "reduce_prod": reduce("ReduceProd"), "reduce_mean": reduce("ReduceMean"), "logsumexp": reduce("ReduceLogSumExp"),
    "argmax": position("ArgMax"), "argmin": position("ArgMin"), "cumsum": _cumsum, "sort": _sort,
    "argsort": _argsort, "softmax": along("Softmax"), "log_softmax": along("LogSoftmax"),
}  # fmt: skip

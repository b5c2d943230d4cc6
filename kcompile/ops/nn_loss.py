"""Crossentropies of `keras.ops.nn`, from logits and from probabilities.

Probabilities are clipped to [1e-7, 1 - 1e-7], categorical ones after dividing by their sum, as in
Keras. Where they come straight from a softmax or sigmoid of the same trace, the loss is computed from
its logits instead, as Keras on TensorFlow does: one stable operation, equal but for rounding as long
as the probability is above the clip; beyond it the loss and its gradient stay exact where Keras's
gradient is zero. Refuses to hold reductions and weights (`kcompile.losses`).
"""

from __future__ import annotations

from typing import Any

import ir.ops as ir
from ir.graph import Value
from kcompile.errors import KCValueError
from kcompile.operation import defines
from kcompile.ops.movement import permuted, reshaped, to_int
from kcompile.ops.operand import (
    FLOATS,
    as_dtype,
    axis_of,
    broadcast_to,
    inexact,
    scalar_like,
    together,
    value_of,
)
from kcompile.tensor import Tensor

op = defines("keras.src.ops.nn")
_CLIP = 1e-7


def logits_of(p: Value, activation: str, axis: int = -1) -> Value | None:
    """The logits whose softmax (along `axis`) or sigmoid `p` is, seen through casts between floats."""
    v, dtype = p, p.type.dtype
    while v.node is not None and v.node.op.name == "cast" and v.node.inputs[0].type.dtype in FLOATS:
        v = v.node.inputs[0]
    node = v.node
    if node is None or node.op.name != activation:
        return None
    if activation == "softmax" and node.attr("axis") != axis_of(axis, len(v.type.shape)):
        return None
    return as_dtype(node.inputs[0], dtype)


def _clipped(p: Value) -> Value:
    low = _CLIP if p.type.dtype != "f16" else 1e-4
    return ir.minimum(ir.maximum(p, scalar_like(p, low)), scalar_like(p, 1.0 - low))  # type: ignore[no-any-return]


def _last(v: Value, axis: int) -> Value:
    """The class axis moved to the end."""
    rank = len(v.type.shape)
    at = axis_of(axis, rank)
    return permuted(v, [*(i for i in range(rank) if i != at), at])


@op("target", "output")
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(t log p + (1 - t) log(1 - p)) for each element. Raises KCValueError KC304 for other shapes."""
    out = inexact(output)
    t = as_dtype(value_of(target, out.type.dtype), out.type.dtype)
    _same_shape("binary_crossentropy", t, out)
    logits = out if from_logits else logits_of(out, "sigmoid")
    if logits is not None:
        return Tensor(ir.binary_cross_entropy(logits, t))
    p, one = _clipped(out), scalar_like(out, 1.0)
    return Tensor(
        ir.neg(ir.add(ir.mul(t, ir.log(p)), ir.mul(ir.sub(one, t), ir.log(ir.sub(one, p)))))
    )


@op("target", "output")
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum(t log p) along `axis`. Raises KCValueError KC304 for other shapes."""
    out = inexact(output)
    t = as_dtype(value_of(target, out.type.dtype), out.type.dtype)
    _same_shape("categorical_crossentropy", t, out)
    if not out.type.shape:
        raise KCValueError(
            "KC304",
            "categorical_crossentropy of a scalar",
            "there is an axis of classes",
            "pass [..., classes]",
        )
    logits = out if from_logits else logits_of(out, "softmax", axis)
    if logits is not None:
        return Tensor(ir.cross_entropy(_last(logits, axis), _last(t, axis)))
    at = axis_of(axis, len(out.type.shape))
    p = _clipped(_over_sum(out, at))
    return Tensor(ir.neg(ir.reduce_sum(ir.mul(t, ir.log(p)), axes=(at,))))


@op("target", "output")
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log p[target] along `axis`, for integer targets. Raises KCValueError KC304 for other shapes."""
    out = inexact(output)
    t = to_int(value_of(target))
    rows = len(out.type.shape) - 1
    if len(t.type.shape) == rows + 1 and t.type.shape[-1] == 1:
        t = reshaped(t, t.type.shape[:-1])
    at = axis_of(axis, rows + 1)
    want = out.type.shape[:at] + out.type.shape[at + 1 :]
    if t.type.shape != want:
        raise KCValueError(
            "KC304", f"targets of shape {t.type.shape} for outputs of shape {out.type.shape}",
            f"there is one class number per row: shape {want}", "pass integer labels; one-hot ones go with categorical_crossentropy",
        )  # fmt: skip
    logits = out if from_logits else logits_of(out, "softmax", axis)
    if logits is not None:
        return Tensor(ir.sparse_cross_entropy(_last(logits, axis), t))
    p = _last(_clipped(_over_sum(out, at)), axis)
    shape = p.type.shape
    hit = ir.eq(
        ir.broadcast(t, shape=shape, axes=tuple(range(rows))),
        ir.iota(shape=shape, axis=rows, dtype=t.type.dtype),
    )
    return Tensor(
        ir.neg(ir.reduce_sum(ir.select(hit, ir.log(p), scalar_like(p, 0.0)), axes=(rows,)))
    )


def _over_sum(p: Value, axis: int) -> Value:
    shape = tuple(1 if i == axis else d for i, d in enumerate(p.type.shape))
    total = reshaped(ir.reduce_sum(p, axes=(axis,)), shape)
    return ir.div(*together((p, broadcast_to(total, p.type.shape))))  # type: ignore[no-any-return]


def _same_shape(what: str, t: Value, out: Value) -> None:
    if t.type.shape != out.type.shape:
        raise KCValueError(
            "KC304", f"{what}: targets of shape {t.type.shape} for outputs of shape {out.type.shape}", "they have one shape",
            "reshape the targets; integer labels go with sparse_categorical_crossentropy",
        )  # fmt: skip

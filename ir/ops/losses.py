"""Losses whose stability needs logarithm and probability in one op: the cross entropies, from logits.

Each gives one loss per row (or per element); weighting and averaging are the front door's. Refuses to
hold losses that are plain arithmetic.
"""

from __future__ import annotations

from ir.graph import Value
from ir.op import Op, op
from ir.ops.activations import log_softmax, shifted, softmax
from ir.ops.compare import select
from ir.ops.create import full_like, zeros_like
from ir.ops.elementwise import absolute, add, exp, log, log1p, maximum, mul, neg, sigmoid, sub
from ir.ops.movement import expand, reduce_sum
from ir.ops.reduce import one_hot
from ir.ops.rules import equal, floating, index, require
from ir.types import Type

Grads = tuple[Value | None, ...]


def _last(x: Value) -> tuple[int]:
    return (x.type.rank - 1,)


def _sparse_type(logits: Type, labels: Type) -> Type:
    index(labels)
    require(floating(logits).rank > 0, "logits need a last axis of classes")
    rows = logits.shape[:-1]
    require(labels.shape == rows, f"labels must have shape {rows}, not {labels.shape}")
    return logits.with_shape(rows)


def _sparse_body(logits: Value, labels: Value) -> Value:
    axes = _last(logits)
    d = shifted(logits, *axes)  # as in softmax: value and gradient share it and its exponentials
    hit = one_hot(labels, logits, *axes)
    chosen = reduce_sum(select(hit, d, zeros_like(d)), axes=axes)
    out: Value = sub(log(reduce_sum(exp(d), axes=axes)), chosen)
    return out


def _sparse_vjp(ct: Value, out: Value, logits: Value, labels: Value) -> Grads:
    axes = _last(logits)
    p = softmax(logits, axis=axes[0])
    hit = one_hot(labels, logits, *axes)
    target = select(hit, full_like(p, 1.0), zeros_like(p))
    return mul(sub(p, target), expand(ct, logits.shape, axes)), None


sparse_cross_entropy: Op = op(
    "sparse_cross_entropy",
    "-log softmax(logits)[label], one per row; a label out of range chooses no class.",
    arity=2,
    type=_sparse_type,
    body=_sparse_body,
    vjp=_sparse_vjp,
)


def _dense_type(logits: Type, target: Type) -> Type:
    t = floating(equal(logits, target))
    require(t.rank > 0, "logits need a last axis of classes")
    return t.with_shape(t.shape[:-1])


def _dense_body(logits: Value, target: Value) -> Value:
    axes = _last(logits)
    out: Value = neg(reduce_sum(mul(target, log_softmax(logits, axis=axes[0])), axes=axes))
    return out


def _dense_vjp(ct: Value, out: Value, logits: Value, target: Value) -> Grads:
    axes = _last(logits)
    rows = expand(ct, logits.shape, axes)
    mass = expand(reduce_sum(target, axes=axes), logits.shape, axes)
    p = softmax(logits, axis=axes[0])
    d_target = neg(mul(rows, log_softmax(logits, axis=axes[0])))
    return mul(rows, sub(mul(p, mass), target)), d_target


cross_entropy: Op = op(
    "cross_entropy",
    "-sum(target * log softmax(logits)) over the last axis.",
    arity=2,
    type=_dense_type,
    body=_dense_body,
    vjp=_dense_vjp,
)


def _binary_body(logits: Value, target: Value) -> Value:
    linear = sub(maximum(logits, zeros_like(logits)), mul(logits, target))
    out: Value = add(linear, log1p(exp(neg(absolute(logits)))))
    return out


def _binary_vjp(ct: Value, out: Value, logits: Value, target: Value) -> Grads:
    return mul(ct, sub(sigmoid(logits), target)), neg(mul(ct, logits))


binary_cross_entropy: Op = op(
    "binary_cross_entropy",
    "-(target * log p + (1 - target) * log(1 - p)) with p = sigmoid(logits), of each element.",
    arity=2,
    type=lambda logits, target: floating(equal(logits, target)),
    body=_binary_body,
    vjp=_binary_vjp,
)

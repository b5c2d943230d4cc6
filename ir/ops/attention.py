"""Scaled dot-product attention, with and without a mask.

Refuses to hold projections, heads and dropout: layers put those around it. Its gradient is that of
its body, where softmax brings its own.
"""

from __future__ import annotations

from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.activations import softmax
from ir.ops.compare import select
from ir.ops.contract import contract
from ir.ops.create import full_like
from ir.ops.elementwise import scale as times
from ir.ops.rules import boolean, floating, require
from ir.types import Type

# What a masked score becomes: finite, so that a row without any allowed position stays a number.
MASKED = {"f16": -3e4}
MASKED_ELSE = -1e9


def _type(q: Type, k: Type, v: Type, scale: float) -> Type:
    require(floating(q).rank == k.rank == v.rank == 4, "q, k and v are [N, H, T, D]")
    require(q.dtype == k.dtype == v.dtype, f"one dtype, not {q.dtype}, {k.dtype}, {v.dtype}")
    fits = q.shape[:2] == k.shape[:2] == v.shape[:2]
    fits = fits and q.shape[3] == k.shape[3] and k.shape[2] == v.shape[2]
    require(fits, f"q {q}, k {k} and v {v} must agree in N and H, q and k in D, k and v in T")
    return q.with_shape((*q.shape[:3], v.shape[3]))


def _masked_type(q: Type, k: Type, v: Type, mask: Type, scale: float) -> Type:
    out = _type(q, k, v, scale)
    want = (*q.shape[:3], k.shape[2])
    require(boolean(mask).shape == want, f"the mask must have shape {want}, not {mask.shape}")
    return out


def _scores(q: Value, k: Value, scale: float) -> Value:
    out: Value = contract(times(q, scale), k, spec="nhtd,nhsd->nhts")
    return out


def _weighted(scores: Value, v: Value) -> Value:
    out: Value = contract(softmax(scores, axis=3), v, spec="nhts,nhsd->nhtd")
    return out


def _masked_body(q: Value, k: Value, v: Value, mask: Value, scale: float) -> Value:
    s = _scores(q, k, scale)
    return _weighted(select(mask, s, full_like(s, MASKED.get(s.dtype, MASKED_ELSE))), v)


attention: Op = op(
    "attention",
    "softmax(scale * q k^T, where mask allows) v; q, k, v are [N, H, T, D], mask is bool[N, H, T, S].",
    arity=4,
    attrs=(Attr("scale", "float"),),
    type=_masked_type,
    body=_masked_body,
)

attention_nomask: Op = op(
    "attention_nomask",
    "softmax(scale * q k^T) v; q, k, v are [N, H, T, D].",
    arity=3,
    attrs=(Attr("scale", "float"),),
    type=_type,
    body=lambda q, k, v, scale: _weighted(_scores(q, k, scale), v),
)

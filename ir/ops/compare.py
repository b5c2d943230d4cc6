"""Comparisons, logic on bools, and `select`. Elementwise, on operands of one type.

Refuses to hold arithmetic (`ir.ops.elementwise`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ir.graph import Value
from ir.op import Op, op
from ir.ops.create import zeros_like
from ir.ops.rules import boolean, equal, floating, number, require
from ir.types import Type


def _compare(name: str, doc: str, meaning: Callable[..., Any], ordered: bool = True) -> Op:
    def rule(x: Type, y: Type) -> Type:
        t = equal(x, y)
        return (number(t) if ordered else t).with_dtype("bool")

    return op(name, doc, arity=2, type=rule, meaning=meaning, flops=lambda x, y: x.size)


eq = _compare("eq", "x == y; NaN equals nothing.", np.equal, ordered=False)
ne = _compare("ne", "x != y; NaN differs from everything.", np.not_equal, ordered=False)
lt = _compare("lt", "x < y.", np.less)
le = _compare("le", "x <= y.", np.less_equal)
gt = _compare("gt", "x > y.", np.greater)
ge = _compare("ge", "x >= y.", np.greater_equal)


def _logic(name: str, doc: str, meaning: Callable[..., Any]) -> Op:
    return op(
        name,
        doc,
        arity=2,
        type=lambda x, y: boolean(equal(x, y)),
        meaning=meaning,
        flops=lambda x, y: x.size,
    )


logical_and = _logic("logical_and", "Both.", np.logical_and)
logical_or = _logic("logical_or", "At least one.", np.logical_or)
logical_xor = _logic("logical_xor", "Exactly one.", np.logical_xor)
logical_not: Op = op(
    "logical_not", "Not x.", arity=1, type=boolean, meaning=np.logical_not, flops=lambda x: x.size
)


def _test(name: str, doc: str, meaning: Callable[..., Any]) -> Op:
    return op(
        name,
        doc,
        arity=1,
        type=lambda x: floating(x).with_dtype("bool"),
        meaning=meaning,
        flops=lambda x: x.size,
    )


is_finite = _test("is_finite", "Neither infinite nor NaN.", np.isfinite)
is_nan = _test("is_nan", "Not a number.", np.isnan)


def _select_type(pred: Type, x: Type, y: Type) -> Type:
    boolean(pred)
    t = equal(x, y)
    require(pred.shape == t.shape, f"the predicate has shape {pred.shape}, the branches {t.shape}")
    return t


def _select_vjp(ct: Value, out: Value, pred: Value, x: Value, y: Value) -> tuple[Value | None, ...]:
    zero = zeros_like(ct)
    return None, select(pred, ct, zero), select(pred, zero, ct)


select: Op = op(
    "select", "x where pred, else y.",
    arity=3, type=_select_type, meaning=np.where, vjp=_select_vjp, flops=lambda p, x, y: x.size,
)  # fmt: skip

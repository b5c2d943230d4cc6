"""Comparison, logic and tests of floats of `keras.ops`: what gives bools, and `nan_to_num`.

Refuses to hold reductions of bools (`numpy_reduce`).
"""

from __future__ import annotations

import math
from typing import Any

import ir.ops as ir
from ir.graph import Value
from kcompile.operation import defines
from kcompile.ops.operand import (
    FLOATS,
    as_dtype,
    inexact,
    promoted,
    scalar_like,
    together,
    value_of,
)
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")


def _compare(compare: Any, x1: Any, x2: Any) -> Tensor:
    a, b = promoted((x1, x2))
    if a.type.dtype == "bool" and compare.name not in ("eq", "ne"):
        a, b = as_dtype(a, "i32"), as_dtype(b, "i32")
    return Tensor(compare(*together((a, b), compare.name)))


@op("x1", "x2")
def equal(x1: Any, x2: Any) -> Any:
    """x1 == x2."""
    return _compare(ir.eq, x1, x2)


@op("x1", "x2")
def not_equal(x1: Any, x2: Any) -> Any:
    """x1 != x2."""
    return _compare(ir.ne, x1, x2)


@op("x1", "x2")
def less(x1: Any, x2: Any) -> Any:
    """x1 < x2."""
    return _compare(ir.lt, x1, x2)


@op("x1", "x2")
def less_equal(x1: Any, x2: Any) -> Any:
    """x1 <= x2."""
    return _compare(ir.le, x1, x2)


@op("x1", "x2")
def greater(x1: Any, x2: Any) -> Any:
    """x1 > x2."""
    return _compare(ir.gt, x1, x2)


@op("x1", "x2")
def greater_equal(x1: Any, x2: Any) -> Any:
    """x1 >= x2."""
    return _compare(ir.ge, x1, x2)


def truth(x: Any) -> Value:
    """`x` as bools: whether it differs from 0."""
    v = value_of(x)
    return v if v.type.dtype == "bool" else ir.ne(v, scalar_like(v, 0))  # type: ignore[no-any-return]


@op("x1", "x2")
def logical_and(x1: Any, x2: Any) -> Any:
    """Whether both differ from 0."""
    return Tensor(ir.logical_and(*together((truth(x1), truth(x2)))))


@op("x1", "x2")
def logical_or(x1: Any, x2: Any) -> Any:
    """Whether one differs from 0."""
    return Tensor(ir.logical_or(*together((truth(x1), truth(x2)))))


@op("x1", "x2")
def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one differs from 0."""
    return Tensor(ir.logical_xor(*together((truth(x1), truth(x2)))))


@op("x")
def logical_not(x: Any) -> Any:
    """Whether `x` is 0."""
    return Tensor(ir.logical_not(truth(x)))


@op("x")
def isnan(x: Any) -> Any:
    """Whether it is not a number."""
    return Tensor(ir.is_nan(inexact(x)))


@op("x")
def isfinite(x: Any) -> Any:
    """Whether it is neither infinite nor NaN."""
    return Tensor(ir.is_finite(inexact(x)))


@op("x")
def isinf(x: Any) -> Any:
    """Whether it is infinite."""
    v = inexact(x)
    return Tensor(ir.eq(ir.absolute(v), scalar_like(v, math.inf)))


@op("x")
def isposinf(x: Any) -> Any:
    """Whether it is plus infinity."""
    v = inexact(x)
    return Tensor(ir.eq(v, scalar_like(v, math.inf)))


@op("x")
def isneginf(x: Any) -> Any:
    """Whether it is minus infinity."""
    v = inexact(x)
    return Tensor(ir.eq(v, scalar_like(v, -math.inf)))


_LARGEST = {
    "f16": 65504.0,
    "bf16": 3.3895313892515355e38,
    "f32": 3.4028234663852886e38,
    "f64": 1.7976931348623157e308,
}


@op("x")
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (the largest floats by default)."""
    v = value_of(x)
    if v.type.dtype not in FLOATS:
        return Tensor(v)
    top = _LARGEST[v.type.dtype]
    for test, number in (
        (ir.is_nan(v), nan),
        (ir.eq(v, scalar_like(v, math.inf)), top if posinf is None else posinf),
        (ir.eq(v, scalar_like(v, -math.inf)), -top if neginf is None else neginf),
    ):
        v = ir.select(test, scalar_like(v, number), v)
    return Tensor(v)


@op("x1", "x2", "rtol", "atol")
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """|x1 - x2| <= atol + rtol * |x2|, elementwise; equal infinities are close."""
    a, b = together(promoted((x1, x2), float))
    bound = ir.add(scalar_like(b, atol), ir.mul(scalar_like(b, rtol), ir.absolute(b)))
    finite = ir.logical_and(ir.is_finite(a), ir.is_finite(b))
    out = ir.logical_or(
        ir.logical_and(finite, ir.le(ir.absolute(ir.sub(a, b)), bound)), ir.eq(a, b)
    )
    if equal_nan:
        out = ir.logical_or(out, ir.logical_and(ir.is_nan(a), ir.is_nan(b)))
    return Tensor(out)

"""Rules of `simplify` for pointwise ops: neutral elements, signs, powers, casts, logic.

Refuses to reassociate floating point sums and products, and to assume that a number is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ir.graph import Node, Value
from ir.ops.compare import eq, ge, lt, ne, select
from ir.ops.elementwise import absolute, add, cast, div, mul, neg, rsqrt, sqrt, sub
from ir.ops.random import random_bits, uniform_of_bits
from ir.passes.fold import constant, filled
from ir.rewrite import Replacement
from ir.types import FLOATS, INTS


def _is(v: Value, name: str) -> bool:
    return v.node is not None and v.node.op.name == name


def _arg(v: Value, i: int = 0) -> Value:
    assert v.node is not None
    return v.node.inputs[i]


def _number(v: Value) -> Any:
    """The constant of `v` as a number, or None; a bool is none."""
    c = constant(v)
    return None if isinstance(c, bool) else c


def _exact_inverse(c: float, dtype: str) -> bool:
    """Whether 1 / c is exact: c is a power of two with room for its inverse."""
    if not math.isfinite(c) or c == 0.0:
        return False
    mantissa, exponent = math.frexp(abs(c))
    return mantissa == 0.5 and abs(exponent) <= (12 if dtype == "f16" else 120)


def _add(n: Node) -> Replacement:
    x, y = n.inputs
    if _number(y) == 0:
        return x
    if _number(x) == 0:
        return y
    if _is(y, "neg"):
        return sub(x, _arg(y))  # type: ignore[no-any-return]
    if _is(x, "neg"):
        return sub(y, _arg(x))  # type: ignore[no-any-return]
    return None


def _sub(n: Node) -> Replacement:
    x, y = n.inputs
    if _number(y) == 0:
        return x
    if _number(x) == 0:
        return neg(y)  # type: ignore[no-any-return]
    if _is(y, "neg"):
        return add(x, _arg(y))  # type: ignore[no-any-return]
    if x is y and x.dtype in INTS:
        return filled(0, x.type)
    return None


def _mul(n: Node) -> Replacement:
    x, y = n.inputs
    for a, b in ((x, y), (y, x)):
        c = _number(b)
        if c is None:
            continue
        if c == 1:
            return a
        if c == -1:
            return neg(a)  # type: ignore[no-any-return]
        if c == 0 and a.dtype in INTS:
            return filled(0, a.type)
        if _is(a, "neg") and a.dtype in FLOATS:
            return mul(_arg(a), filled(-c, b.type))  # type: ignore[no-any-return]
        if _is(a, "mul") and a.dtype in FLOATS:
            return _scaled_twice(a, c, b)
    if _is(x, "neg") and _is(y, "neg"):
        return mul(_arg(x), _arg(y))  # type: ignore[no-any-return]
    return None


def _scaled_twice(a: Value, c: float, b: Value) -> Replacement:
    """(x * c1) * c2 -> x * (c1 * c2), where one of them only moves the exponent, and not by much."""
    for i in (0, 1):
        c1 = _number(_arg(a, i))
        if c1 is None:
            continue
        for shift, other in ((c, c1), (c1, c)):
            if math.frexp(abs(shift))[0] == 0.5 and 2**-10 <= abs(shift) <= 2**10:
                if 2**-10 <= abs(other) <= 2**10:
                    return mul(_arg(a, 1 - i), filled(c * c1, b.type))  # type: ignore[no-any-return]
    return None


def _div(n: Node) -> Replacement:
    x, y = n.inputs
    c = _number(y)
    if c is not None:
        if c == 1:
            return x
        if _exact_inverse(c, x.dtype):
            return mul(x, filled(1.0 / c, y.type))  # type: ignore[no-any-return]
    if _number(x) == 1 and _is(y, "sqrt"):
        return rsqrt(_arg(y))  # type: ignore[no-any-return]
    return None


def _power(n: Node) -> Replacement:
    x, y = n.inputs
    c = _number(y)
    if c == 0:
        return filled(1, x.type)
    if c == 1:
        return x
    if c == 2:
        return mul(x, x)  # type: ignore[no-any-return]
    if x.dtype in FLOATS:
        if c == 0.5:
            return sqrt(x)  # type: ignore[no-any-return]
        if c == -1:
            return div(filled(1, x.type), x)  # type: ignore[no-any-return]
        if c == -0.5:
            return rsqrt(x)  # type: ignore[no-any-return]
    return None


def _neg(n: Node) -> Replacement:
    (x,) = n.inputs
    if _is(x, "neg"):
        return _arg(x)
    if _is(x, "sub"):
        return sub(_arg(x, 1), _arg(x, 0))  # type: ignore[no-any-return]
    if _is(x, "mul") and x.dtype in FLOATS:
        for i in (0, 1):
            c = _number(_arg(x, i))
            if c is not None:
                return mul(_arg(x, 1 - i), filled(-c, x.type))  # type: ignore[no-any-return]
    return None


def _absolute(n: Node) -> Replacement:
    (x,) = n.inputs
    if _is(x, "absolute"):
        return x
    return absolute(_arg(x)) if _is(x, "neg") else None


def _extreme(n: Node) -> Replacement:
    """maximum(x, x); maximum(maximum(x, c), c); and the bound that bounds nothing."""
    x, y = n.inputs
    if x is y:
        return x
    nothing = -math.inf if n.op.name == "maximum" else math.inf
    for a, b in ((x, y), (y, x)):
        c = _number(b)
        if c is not None and c == nothing:
            return a
        if _is(a, n.op.name) and (b is _arg(a, 0) or b is _arg(a, 1)):
            return a
        if c is not None and _is(a, n.op.name):
            if any(_number(v) == c for v in (_arg(a, 0), _arg(a, 1)) if _number(v) is not None):
                return a
    return None


def _select(n: Node) -> Replacement:
    p, x, y = n.inputs
    c = constant(p)
    if c is not None:
        return x if c else y
    if x is y:
        return x
    if _is(p, "logical_not"):
        return select(_arg(p), y, x)  # type: ignore[no-any-return]
    if x.dtype == "bool" and constant(x) is True and constant(y) is False:
        return p
    if _is(x, "select") and _arg(x, 0) is p:
        return select(p, _arg(x, 1), y)  # type: ignore[no-any-return]
    if _is(y, "select") and _arg(y, 0) is p:
        return select(p, x, _arg(y, 2))  # type: ignore[no-any-return]
    return None


def _chance(n: Node) -> Replacement:
    """u >= c, u < c for uniform u and a constant, on the random words: exact, and without their conversion.

    u grows with the word w where w < 2**31, and u(w) = u(2**32 - 1 - w): u >= c for an interval of words.
    """
    u, y = n.inputs
    c = _number(y)
    if not _is(u, "random_uniform") or c is None or not 0 < c <= uniform_of_bits(_word(2**31 - 1)):
        return None
    low, high = 0, 2**31 - 1  # the first word with u >= c lies after low, up to high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if uniform_of_bits(_word(middle)) >= np.float32(c) else (middle, high)
        )
    assert u.node is not None
    bits = random_bits(*u.node.inputs, stream=u.node.attr("stream"), shape=u.shape)
    apart = sub(bits, filled(high, bits.type))
    return (lt if n.op is ge else ge)(apart, filled(2**32 - 2 * high, bits.type))  # type: ignore[no-any-return]


def _word(w: int) -> np.ndarray[Any, Any]:
    return np.array([w], np.uint32)


# dtypes that hold every value of the first
_WITHIN: dict[str, tuple[str, ...]] = {
    "bool": (*INTS, *FLOATS),
    "i8": ("i16", "i32", "i64", *FLOATS),
    "u8": ("i16", "i32", "i64", "u16", "u32", "u64", *FLOATS),
    "i16": ("i32", "i64", "f32", "f64"),
    "u16": ("i32", "i64", "u32", "u64", "f32", "f64"),
    "i32": ("i64", "f64"),
    "u32": ("i64", "u64", "f64"),
    "f16": ("f32", "f64"),
    "bf16": ("f32", "f64"),
    "f32": ("f64",),
}


def _cast(n: Node) -> Replacement:
    (x,) = n.inputs
    to = n.attrs[0]
    if to == x.dtype:
        return x
    if _is(x, "cast"):
        inner = _arg(x)
        held = inner.dtype not in ("i8", "u8") or x.dtype != "bf16"
        if held and x.dtype in _WITHIN.get(inner.dtype, ()):
            return inner if to == inner.dtype else cast(inner, dtype=to)
    return None


def _logic(neutral: bool) -> Callable[[Node], Replacement]:
    """Rules of `and` (neutral True) and `or` (neutral False)."""

    def rule(n: Node) -> Replacement:
        x, y = n.inputs
        if x is y:
            return x
        for a, b in ((x, y), (y, x)):
            c = constant(b)
            if c is not None:
                return a if c is neutral else b
        return None

    return rule


def _not(n: Node) -> Replacement:
    (x,) = n.inputs
    if _is(x, "logical_not"):
        return _arg(x)
    if _is(x, "eq"):
        return ne(_arg(x, 0), _arg(x, 1))  # type: ignore[no-any-return]
    if _is(x, "ne"):
        return eq(_arg(x, 0), _arg(x, 1))  # type: ignore[no-any-return]
    return None


ARITHMETIC: dict[str, Callable[[Node], Replacement]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "power": _power, "neg": _neg,
    "absolute": _absolute, "maximum": _extreme, "minimum": _extreme, "select": _select, "cast": _cast,
    "ge": _chance, "lt": _chance, "logical_and": _logic(True), "logical_or": _logic(False), "logical_not": _not,
    "stop_gradient": lambda n: n.inputs[0],
}  # fmt: skip

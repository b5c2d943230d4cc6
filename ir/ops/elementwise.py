"""Arithmetic and mathematical functions of one element at a time, `cast` and `stop_gradient`.

Refuses to hold comparisons (`ir.ops.compare`) and anything that mixes elements. FLOPs are counted as
1 for arithmetic, 4 for division and roots, 10 for transcendental functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.compare import eq, ge, gt, select
from ir.ops.create import full, full_like, zeros_like
from ir.ops.rules import Array, equal, floating, number
from ir.types import NUMPY, Type, round_bf16

Grads = tuple[Value | None, ...]


def _unary(
    name: str,
    doc: str,
    meaning: Callable[..., Any],
    vjp: Callable[..., Any],
    cost: int = 10,
    kind: Any = floating,
) -> Op:
    return op(
        name, doc, arity=1, type=kind, meaning=meaning, vjp=vjp, flops=lambda x: x.size * cost
    )


def _binary(
    name: str,
    doc: str,
    meaning: Callable[..., Any],
    vjp: Callable[..., Any],
    cost: int = 1,
    kind: Any = number,
) -> Op:
    return op(
        name, doc, arity=2, type=lambda x, y: kind(equal(x, y)), meaning=meaning, vjp=vjp,
        flops=lambda x, y: x.size * cost,
    )  # fmt: skip


def scale(x: Value, factor: float) -> Value:
    """x * factor."""
    out: Value = mul(x, full_like(x, factor))
    return out


def shift(x: Value, term: float) -> Value:
    """x + term."""
    out: Value = add(x, full_like(x, term))
    return out


def square(x: Value) -> Value:
    """x * x."""
    out: Value = mul(x, x)
    return out


def _one_minus_square(x: Value) -> Value:
    out: Value = sub(full_like(x, 1), mul(x, x))
    return out


# -- binary ---------------------------------------------------------------------------------------

add: Op = _binary("add", "x + y.", np.add, lambda ct, out, x, y: (ct, ct))
sub: Op = _binary("sub", "x - y.", np.subtract, lambda ct, out, x, y: (ct, neg(ct)))
mul: Op = _binary("mul", "x * y.", np.multiply, lambda ct, out, x, y: (mul(ct, y), mul(ct, x)))


def _div_vjp(ct: Value, out: Value, x: Value, y: Value) -> Grads:
    d = div(ct, y)
    return d, neg(mul(d, out))


div: Op = _binary("div", "x / y, of floats.", np.divide, _div_vjp, 4, floating)


def _power_meaning(x: Array, y: Array) -> Any:
    if x.dtype.kind == "i":
        # NumPy refuses negative exponents: 1/x**n rounds to 0, but for x = 1 and -1
        ones = np.where(y % 2 == 0, 1, x).astype(x.dtype)
        return np.where(
            y < 0, np.where(abs(x) == 1, ones, 0).astype(x.dtype), np.power(x, np.maximum(y, 0))
        )
    return np.power(x, y)


def _power_vjp(ct: Value, out: Value, x: Value, y: Value) -> Grads:
    if y.node is not None and y.node.op is full:
        c = float(y.node.attr("value"))
        if c == 0.0:
            return zeros_like(x), None
        return mul(ct, scale(power(x, full_like(x, c - 1.0)), c)), None
    zero = zeros_like(x)
    dx = select(eq(y, zero), zero, mul(y, power(x, shift(y, -1.0))))
    log_x = log(select(gt(x, zero), x, full_like(x, 1.0)))  # a power of x <= 0 has no slope in y
    return mul(ct, dx), mul(ct, mul(out, log_x))


power: Op = _binary("power", "x ** y.", _power_meaning, _power_vjp, 10)


def _extreme_vjp(
    ct: Value, first: Value, x: Value, y: Value, x_wins: Value, y_wins: Value
) -> Grads:
    g = select(eq(x, y), scale(ct, 0.5), ct)  # a tie gives half to each
    zero = zeros_like(ct)
    return select(x_wins, g, zero), select(y_wins, g, zero)


maximum: Op = _binary(
    "maximum", "The greater; NaN if either is.", np.maximum,
    lambda ct, out, x, y: _extreme_vjp(ct, out, x, y, ge(x, y), ge(y, x)),
)  # fmt: skip
minimum: Op = _binary(
    "minimum", "The lesser; NaN if either is.", np.minimum,
    lambda ct, out, x, y: _extreme_vjp(ct, out, x, y, ge(y, x), ge(x, y)),
)  # fmt: skip
floordiv: Op = _binary(
    "floordiv", "floor(x / y).", np.floor_divide, lambda ct, out, x, y: (None, None), 4
)
mod: Op = _binary(
    "mod", "x - floor(x / y) * y, with the sign of y.", np.mod,
    lambda ct, out, x, y: (ct, neg(mul(ct, floordiv(x, y)))), 4,
)  # fmt: skip


def _atan2_vjp(ct: Value, out: Value, y: Value, x: Value) -> Grads:
    d = div(ct, add(mul(x, x), mul(y, y)))
    return mul(d, x), neg(mul(d, y))


atan2: Op = _binary("atan2", "The angle of the point (y, x).", np.arctan2, _atan2_vjp, 10, floating)

# -- unary ----------------------------------------------------------------------------------------


def _no_slope(ct: Value, out: Value, x: Value) -> Grads:
    return (None,)


neg: Op = _unary("neg", "-x.", np.negative, lambda ct, out, x: (neg(ct),), 1, number)
absolute: Op = _unary(
    "absolute", "|x|.", np.absolute, lambda ct, out, x: (mul(ct, sign(x)),), 1, number
)
sign: Op = _unary("sign", "-1, 0 or 1; NaN of NaN.", np.sign, _no_slope, 1, number)
floor: Op = _unary("floor", "The integer at or below.", np.floor, _no_slope, 1)
ceil: Op = _unary("ceil", "The integer at or above.", np.ceil, _no_slope, 1)
round_even: Op = _unary("round_even", "The nearest integer, halves to even.", np.rint, _no_slope, 1)
exp: Op = _unary("exp", "e ** x.", np.exp, lambda ct, out, x: (mul(ct, out),))
expm1: Op = _unary("expm1", "e ** x - 1.", np.expm1, lambda ct, out, x: (mul(ct, shift(out, 1.0)),))
log: Op = _unary("log", "The natural logarithm.", np.log, lambda ct, out, x: (div(ct, x),))
log1p: Op = _unary("log1p", "log(1 + x).", np.log1p, lambda ct, out, x: (div(ct, shift(x, 1.0)),))
sqrt: Op = _unary(
    "sqrt", "The square root.", np.sqrt, lambda ct, out, x: (div(scale(ct, 0.5), out),), 4
)
rsqrt: Op = _unary(
    "rsqrt", "1 / sqrt(x).", lambda x: np.reciprocal(np.sqrt(x)),
    lambda ct, out, x: (mul(scale(ct, -0.5), mul(out, mul(out, out))),), 4,
)  # fmt: skip
sin: Op = _unary("sin", "Sine.", np.sin, lambda ct, out, x: (mul(ct, cos(x)),))
cos: Op = _unary("cos", "Cosine.", np.cos, lambda ct, out, x: (neg(mul(ct, sin(x))),))
tan: Op = _unary(
    "tan", "Tangent.", np.tan, lambda ct, out, x: (mul(ct, shift(mul(out, out), 1.0)),)
)
asin: Op = _unary(
    "asin", "Arc sine.", np.arcsin, lambda ct, out, x: (mul(ct, rsqrt(_one_minus_square(x))),)
)
acos: Op = _unary(
    "acos",
    "Arc cosine.",
    np.arccos,
    lambda ct, out, x: (neg(mul(ct, rsqrt(_one_minus_square(x)))),),
)
atan: Op = _unary(
    "atan", "Arc tangent.", np.arctan, lambda ct, out, x: (div(ct, shift(mul(x, x), 1.0)),)
)
sinh: Op = _unary("sinh", "Hyperbolic sine.", np.sinh, lambda ct, out, x: (mul(ct, cosh(x)),))
cosh: Op = _unary("cosh", "Hyperbolic cosine.", np.cosh, lambda ct, out, x: (mul(ct, sinh(x)),))
tanh: Op = _unary(
    "tanh", "Hyperbolic tangent.", np.tanh, lambda ct, out, x: (mul(ct, _one_minus_square(out)),)
)
asinh: Op = _unary(
    "asinh", "Inverse hyperbolic sine.", np.arcsinh,
    lambda ct, out, x: (mul(ct, rsqrt(shift(mul(x, x), 1.0))),),
)  # fmt: skip
acosh: Op = _unary(
    "acosh", "Inverse hyperbolic cosine.", np.arccosh,
    lambda ct, out, x: (mul(ct, rsqrt(shift(mul(x, x), -1.0))),),
)  # fmt: skip
atanh: Op = _unary(
    "atanh", "Inverse hyperbolic tangent.", np.arctanh,
    lambda ct, out, x: (div(ct, _one_minus_square(x)),),
)  # fmt: skip

_each_erf = np.frompyfunc(math.erf, 1, 1)


def _erf_meaning(x: Array) -> Array:
    return np.asarray(_each_erf(x)).astype(x.dtype)


def _erf_vjp(ct: Value, out: Value, x: Value) -> Grads:
    return (mul(scale(ct, 2.0 / math.sqrt(math.pi)), exp(neg(mul(x, x)))),)


erf: Op = _unary("erf", "The error function.", _erf_meaning, _erf_vjp)


def _sigmoid_meaning(x: Array) -> Any:
    e = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, e) / (1 + e)


sigmoid: Op = _unary(
    "sigmoid", "1 / (1 + exp(-x)).", _sigmoid_meaning,
    lambda ct, out, x: (mul(ct, mul(out, sub(full_like(out, 1.0), out))),),
)  # fmt: skip

# -- dtype and gradient ---------------------------------------------------------------------------


def _cast_meaning(x: Array, dtype: str) -> Array:
    y = x.astype(NUMPY[dtype])
    return round_bf16(y) if dtype == "bf16" else y


def _cast_vjp(ct: Value, out: Value, x: Value, dtype: str) -> Grads:
    return (cast(ct, dtype=x.dtype) if x.type.is_float and out.type.is_float else None,)


def _cast_type(x: Type, dtype: str) -> Type:
    return x.with_dtype(dtype)


cast: Op = op(
    "cast", "x in another dtype; floats become ints by truncation, numbers bools by x != 0.",
    arity=1, attrs=(Attr("dtype", "dtype"),), type=_cast_type, meaning=_cast_meaning, vjp=_cast_vjp,
    flops=lambda x, dtype: 0,
)  # fmt: skip

stop_gradient: Op = op(
    "stop_gradient", "x; no gradient flows through.",
    arity=1, type=lambda x: x, meaning=lambda x: x, vjp=lambda ct, out, x: (None,), flops=lambda x: 0,
)  # fmt: skip

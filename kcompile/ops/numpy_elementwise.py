"""Elementwise operations of `keras.ops`: arithmetic, comparison, logic, rounding, exponentials.

Refuses to hold anything that changes a shape or reduces.
"""

from __future__ import annotations

import math
from typing import Any

import ir.ops as ir
from ir.graph import Value
from kcompile.dtypes import TO_IR, result_type
from kcompile.errors import KCTypeError
from kcompile.operation import defines
from kcompile.ops.numpy_compare import equal, less
from kcompile.ops.operand import (
    FLOATS,
    as_dtype,
    binary,
    dtype_of,
    inexact,
    keras_dtype,
    promoted,
    scalar_like,
    tensor,
    together,
    unary,
    value_of,
)  # fmt: skip
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")
math_op = defines("keras.src.ops.math")


def _arithmetic(on_numbers: Any, on_bools: Any, x1: Any, x2: Any) -> Tensor:
    a, b = promoted((x1, x2))
    return Tensor(
        (on_bools if a.type.dtype == "bool" else on_numbers)(*together((a, b), on_numbers.name))
    )


@op("x1", "x2")
def add(x1: Any, x2: Any) -> Any:
    """x1 + x2; of bools, either."""
    return _arithmetic(ir.add, ir.logical_or, x1, x2)


@op("x1", "x2")
def subtract(x1: Any, x2: Any) -> Any:
    """x1 - x2."""
    return binary(ir.sub, x1, x2)


@op("x1", "x2")
def multiply(x1: Any, x2: Any) -> Any:
    """x1 * x2; of bools, both."""
    return _arithmetic(ir.mul, ir.logical_and, x1, x2)


@op("x1", "x2")
def divide(x1: Any, x2: Any) -> Any:
    """x1 / x2, a float."""
    return binary(ir.div, x1, x2, float)


@op("x1", "x2")
def true_divide(x1: Any, x2: Any) -> Any:
    """x1 / x2, a float."""
    return binary(ir.div, x1, x2, float)


@op("x1", "x2")
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 where x2 is 0."""
    a, b = together(promoted((x1, x2), float))
    zero = ir.eq(b, scalar_like(b, 0.0))
    return Tensor(
        ir.select(zero, scalar_like(a, 0.0), ir.div(a, ir.select(zero, scalar_like(b, 1.0), b)))
    )


@op("x1", "x2")
def floor_divide(x1: Any, x2: Any) -> Any:
    """The floor of x1 / x2."""
    return binary(ir.floordiv, x1, x2)


@op("x1", "x2")
def mod(x1: Any, x2: Any) -> Any:
    """The remainder of x1 / x2, with the sign of x2."""
    return binary(ir.mod, x1, x2, *([int] if _bools(x1, x2) else []))


@op("x1", "x2")
def fmod(x1: Any, x2: Any) -> Any:
    """The remainder of x1 / x2, with the sign of x1."""
    a, b = together(promoted((x1, x2)))
    return Tensor(ir.mul(ir.sign(a), ir.mod(ir.absolute(a), ir.absolute(b))))


def _bools(*xs: Any) -> bool:
    return all(dtype_of(x) in (bool, "bool") for x in xs)


@op("x1", "x2")
def power(x1: Any, x2: Any) -> Any:
    """x1 to the power of x2. A small whole Python exponent is spelled in multiplications."""
    if isinstance(x2, (int, float)) and not isinstance(x2, bool):
        v = value_of(x1)
        if v.type.dtype in FLOATS:
            if x2 == 2:
                return Tensor(ir.mul(v, v))
            if x2 == 1:
                return Tensor(v)
            if x2 == 0.5:
                return Tensor(ir.sqrt(v))
            if x2 == 3:
                return Tensor(ir.mul(ir.mul(v, v), v))
    return binary(ir.power, x1, x2, *([int] if _bools(x1, x2) else []))


@op("x1", "x2")
def maximum(x1: Any, x2: Any) -> Any:
    """The greater of the two."""
    return _arithmetic(ir.maximum, ir.logical_or, x1, x2)


@op("x1", "x2")
def minimum(x1: Any, x2: Any) -> Any:
    """The lesser of the two."""
    return _arithmetic(ir.minimum, ir.logical_and, x1, x2)


@op("x1", "x2")
def arctan2(x1: Any, x2: Any) -> Any:
    """The angle of the point (x2, x1)."""
    return binary(ir.atan2, x1, x2, float)


@op("x1", "x2")
def hypot(x1: Any, x2: Any) -> Any:
    """sqrt(x1**2 + x2**2)."""
    a, b = together(promoted((x1, x2), float))
    return Tensor(ir.sqrt(ir.add(ir.mul(a, a), ir.mul(b, b))))


@op("x1", "x2")
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2)), without overflow."""
    a, b = together(promoted((x1, x2), float))
    gap = ir.neg(ir.absolute(ir.sub(a, b)))
    return Tensor(ir.add(ir.maximum(a, b), ir.log1p(ir.exp(gap))))


@op("x")
def negative(x: Any) -> Any:
    """-x."""
    return Tensor(ir.neg(_number(x, "negative")))


def _number(x: Any, what: str) -> Value:
    v = value_of(x)
    if v.type.dtype == "bool":
        raise KCTypeError(
            "KC103",
            f"{what} of a bool tensor",
            "this operation needs numbers",
            "cast it to int32 or float32 first",
        )
    return v


@op("x")
def absolute(x: Any) -> Any:
    """|x|."""
    v = value_of(x)
    return Tensor(v if v.type.dtype[0] == "u" or v.type.dtype == "bool" else ir.absolute(v))


@op("x")
def abs(x: Any) -> Any:
    """|x|."""
    v = value_of(x)
    return Tensor(v if v.type.dtype[0] == "u" or v.type.dtype == "bool" else ir.absolute(v))


@op("x")
def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    return Tensor(ir.sign(_number(x, "sign")))


@op("x")
def square(x: Any) -> Any:
    """x * x; of bools, int32."""
    v = value_of(x)
    v = as_dtype(v, "i32") if v.type.dtype == "bool" else v
    return Tensor(ir.mul(v, v))


@op("x")
def reciprocal(x: Any) -> Any:
    """1 / x."""
    v = inexact(x)
    return Tensor(ir.div(scalar_like(v, 1.0), v))


@op("x", "x_min", "x_max")
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """`x` held between x_min and x_max."""
    v = value_of(x)
    dtype = result_type(keras_dtype(v), *(dtype_of(b) for b in (x_min, x_max) if b is not None))
    if dtype == "bool":
        dtype = "int32"
    v = as_dtype(v, TO_IR[dtype])
    for bound, limit in ((x_min, ir.maximum), (x_max, ir.minimum)):
        if bound is not None:
            v = limit(*together((v, as_dtype(value_of(bound, TO_IR[dtype]), TO_IR[dtype]))))
    return Tensor(v)


@op("x")
def round(x: Any, decimals: int = 0) -> Any:
    """The nearest number of `decimals` decimals, halves to even. Ints stay as they are."""
    v = value_of(x)
    if v.type.dtype not in FLOATS:
        return Tensor(v if v.type.dtype != "bool" else as_dtype(v, "i32"))
    if decimals == 0:
        return Tensor(ir.round_even(v))
    factor = scalar_like(v, 10.0**decimals)
    return Tensor(ir.div(ir.round_even(ir.mul(v, factor)), factor))


def _whole(rounding: Any, x: Any) -> Tensor:
    v = value_of(x)
    return Tensor(rounding(v if v.type.dtype in FLOATS else inexact(x)))


@op("x")
def floor(x: Any) -> Any:
    """The integer at or below, a float."""
    return _whole(ir.floor, x)


@op("x")
def ceil(x: Any) -> Any:
    """The integer at or above, a float."""
    return _whole(ir.ceil, x)


@op("x")
def trunc(x: Any) -> Any:
    """The integer towards zero."""
    v = value_of(x)
    if v.type.dtype not in FLOATS:
        return Tensor(v)
    return Tensor(ir.select(ir.lt(v, scalar_like(v, 0.0)), ir.ceil(v), ir.floor(v)))


def _float(name: str, ir_name: str, doc: str, module: Any = op, cls: str | None = None) -> Any:
    primitive = getattr(ir, ir_name)

    def fn(x: Any) -> Any:
        return unary(primitive, x)

    fn.__name__, fn.__qualname__, fn.__doc__ = name, name, doc
    return module("x", cls=cls)(fn)


exp = _float("exp", "exp", "e ** x.")
expm1 = _float("expm1", "expm1", "e ** x - 1.")
log = _float("log", "log", "The natural logarithm.")
log1p = _float("log1p", "log1p", "log(1 + x).")
sqrt = _float("sqrt", "sqrt", "The square root.")
sin = _float("sin", "sin", "Sine.")
cos = _float("cos", "cos", "Cosine.")
tan = _float("tan", "tan", "Tangent.")
arcsin = _float("arcsin", "asin", "Arc sine.")
arccos = _float("arccos", "acos", "Arc cosine.")
arctan = _float("arctan", "atan", "Arc tangent.")
sinh = _float("sinh", "sinh", "Hyperbolic sine.")
cosh = _float("cosh", "cosh", "Hyperbolic cosine.")
tanh = _float("tanh", "tanh", "Hyperbolic tangent.")
arcsinh = _float("arcsinh", "asinh", "Inverse hyperbolic sine.")
arccosh = _float("arccosh", "acosh", "Inverse hyperbolic cosine.")
arctanh = _float("arctanh", "atanh", "Inverse hyperbolic tangent.")
rsqrt = _float("rsqrt", "rsqrt", "1 / sqrt(x).", math_op)
erf = _float("erf", "erf", "The error function.", math_op)


def _scaled(name: str, doc: str, primitive: Any, before: float = 1.0, after: float = 1.0) -> Any:
    def fn(x: Any) -> Any:
        v = inexact(x)
        v = primitive(v if before == 1.0 else ir.mul(v, scalar_like(v, before)))
        return Tensor(v if after == 1.0 else ir.mul(v, scalar_like(v, after)))

    fn.__name__, fn.__qualname__, fn.__doc__ = name, name, doc
    return op("x")(fn)


log2 = _scaled("log2", "The logarithm to base 2.", ir.log, after=1 / math.log(2))
log10 = _scaled("log10", "The logarithm to base 10.", ir.log, after=1 / math.log(10))
exp2 = _scaled("exp2", "2 ** x.", ir.exp, before=math.log(2))
deg2rad = _scaled("deg2rad", "Degrees as radians.", lambda v: v, after=math.pi / 180)
rad2deg = _scaled("rad2deg", "Radians as degrees.", lambda v: v, after=180 / math.pi)


# The inverse error function in single precision: M. Giles, "Approximating the erfinv function",
# GPU Computing Gems Jade Edition, 2011; two polynomials in w = -log(1 - x*x).
_NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
         -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
        -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


@math_op("x")
def erfinv(x: Any) -> Any:
    """The inverse of `erf`, to single precision."""
    t = tensor(Tensor(inexact(x)))
    w = negative(log1p(negative(multiply(t, t))))
    near, far = subtract(w, 2.5), subtract(sqrt(maximum(w, 5.0)), 3.0)
    p = q = None
    for a, b in zip(_NEAR, _FAR, strict=True):
        p = tensor(_like(near, a)) if p is None else add(multiply(p, near), a)
        q = tensor(_like(far, b)) if q is None else add(multiply(q, far), b)
    picked = Tensor(ir.select(less(w, 5.0).value, p.value, q.value))  # type: ignore[union-attr]
    edge = equal(absolute(t), 1.0)
    infinite = multiply(t, math.inf)
    return Tensor(ir.select(edge.value, infinite.value, multiply(picked, t).value))


def _like(t: Tensor, number: float) -> Tensor:
    return Tensor(scalar_like(t.value, number))


@math_op("x")
def erfc(x: Any) -> Any:
    """1 - erf(x)."""
    return subtract(1.0, erf(x))

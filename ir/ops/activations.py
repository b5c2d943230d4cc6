"""Activation functions, as composites: stable bodies, and gradients from the result where that is less work.

Refuses to hold `tanh`, `sigmoid` and `exp`, which are primitives (`ir.ops.elementwise`), and anything
with weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.compare import gt, is_finite, select
from ir.ops.create import full_like, zeros_like
from ir.ops.elementwise import (
    absolute,
    add,
    div,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    mul,
    neg,
    scale,
    shift,
    sigmoid,
    stop_gradient,
    sub,
    tanh,
)
from ir.ops.movement import expand, reduce_sum
from ir.ops.reduce import reduce_max
from ir.ops.rules import floating, number, require, valid_axes, valid_axis, without
from ir.types import Type

Ints = tuple[int, ...]

# Klambauer et al., Self-Normalizing Neural Networks (2017)
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _pointwise(
    name: str,
    doc: str,
    body: Callable[..., Any],
    vjp: Callable[..., Any] | None = None,
    *,
    attrs: tuple[Attr, ...] = (),
    kind: Callable[[Type], Type] = floating,
) -> Op:
    return op(name, doc, arity=1, attrs=attrs, type=lambda x, *_: kind(x), body=body, vjp=vjp)


def _positive(x: Value) -> Value:
    out: Value = gt(x, zeros_like(x))
    return out


def _relu_vjp(ct: Value, out: Value, x: Value) -> tuple[Value]:
    return (select(_positive(out), ct, zeros_like(ct)),)


relu: Op = _pointwise(
    "relu",
    "max(x, 0); the slope at 0 is 0.",
    lambda x: maximum(x, zeros_like(x)),
    _relu_vjp,
    kind=number,
)


def _leaky_vjp(ct: Value, out: Value, x: Value, slope: float) -> tuple[Value]:
    return (select(_positive(x), ct, scale(ct, slope)),)


leaky_relu: Op = _pointwise(
    "leaky_relu",
    "x where positive, else slope * x.",
    lambda x, slope: select(_positive(x), x, scale(x, slope)),
    _leaky_vjp,
    attrs=(Attr("slope", "float"),),
)


def _elu_body(x: Value, alpha: float) -> Value:
    low = expm1(select(_positive(x), zeros_like(x), x))  # never overflows
    out: Value = select(_positive(x), x, scale(low, alpha))
    return out


def _elu_vjp(ct: Value, out: Value, x: Value, alpha: float) -> tuple[Value]:
    return (select(_positive(x), ct, mul(ct, shift(out, alpha))),)


elu: Op = _pointwise(
    "elu",
    "x where positive, else alpha * (exp(x) - 1).",
    _elu_body,
    _elu_vjp,
    attrs=(Attr("alpha", "float", 1.0),),
)

selu: Op = _pointwise(
    "selu",
    "elu with the alpha and the scale that keep mean and variance.",
    lambda x: scale(elu(x, alpha=SELU_ALPHA), SELU_SCALE),
)


def _gelu_cubic(x: Value) -> Value:
    """What the approximation takes the tanh of."""
    inner = add(x, scale(mul(mul(x, x), x), 0.044715))
    return scale(inner, math.sqrt(2.0 / math.pi))


def _gelu_share(x: Value, approximate: bool) -> Value:
    """The factor of x: the normal distribution function."""
    z = tanh(_gelu_cubic(x)) if approximate else erf(scale(x, math.sqrt(0.5)))
    return scale(shift(z, 1.0), 0.5)


def _gelu_body(x: Value, approximate: bool) -> Value:
    return mul(x, _gelu_share(x, approximate))  # type: ignore[no-any-return]


def _gelu_vjp(ct: Value, out: Value, x: Value, approximate: bool) -> tuple[Value]:
    """ct times a slope that depends on x alone, so that only the slope need be kept for it."""
    share = _gelu_share(x, approximate)
    if approximate:  # share' = 2 share (1 - share) inner'
        inner = scale(shift(scale(mul(x, x), 3 * 0.044715), 1.0), 2 * math.sqrt(2.0 / math.pi))
        rise = mul(mul(share, sub(full_like(share, 1.0), share)), inner)
    else:
        rise = scale(exp(scale(mul(x, x), -0.5)), 1.0 / math.sqrt(2.0 * math.pi))
    return (mul(ct, add(share, mul(x, rise))),)


gelu: Op = _pointwise(
    "gelu",
    "x times the normal distribution function at x, or its tanh approximation (Hendrycks, Gimpel 2016).",
    _gelu_body,
    _gelu_vjp,
    attrs=(Attr("approximate", "bool", False),),
)


def _silu_vjp(ct: Value, out: Value, x: Value) -> tuple[Value]:
    s = sigmoid(x)
    return (mul(ct, add(s, mul(out, sub(full_like(s, 1.0), s)))),)


silu: Op = _pointwise("silu", "x * sigmoid(x).", lambda x: mul(x, sigmoid(x)), _silu_vjp)


def _softplus_body(x: Value) -> Value:
    out: Value = add(maximum(x, zeros_like(x)), log1p(exp(neg(absolute(x)))))
    return out


softplus: Op = _pointwise(
    "softplus", "log(1 + exp(x)).", _softplus_body, lambda ct, out, x: (mul(ct, sigmoid(x)),)
)


def _softsign_vjp(ct: Value, out: Value, x: Value) -> tuple[Value]:
    d = shift(absolute(x), 1.0)
    return (div(ct, mul(d, d)),)


softsign: Op = _pointwise(
    "softsign", "x / (1 + |x|).", lambda x: div(x, shift(absolute(x), 1.0)), _softsign_vjp
)

# -- along an axis --------------------------------------------------------------------------------


def _axis_type(x: Type, axis: int) -> Type:
    valid_axis(floating(x), axis)
    return x


def shifted(x: Value, axis: int) -> Value:
    """x minus its greatest along `axis`, through which no gradient flows."""
    top = stop_gradient(reduce_max(x, axes=(axis,)))
    out: Value = sub(x, expand(top, x.shape, (axis,)))
    return out


def _softmax_body(x: Value, axis: int) -> Value:
    e = exp(shifted(x, axis))
    out: Value = div(e, expand(reduce_sum(e, axes=(axis,)), x.shape, (axis,)))
    return out


def _softmax_vjp(ct: Value, out: Value, x: Value, axis: int) -> tuple[Value]:
    dot = reduce_sum(mul(ct, out), axes=(axis,))
    return (mul(out, sub(ct, expand(dot, x.shape, (axis,)))),)


softmax: Op = op(
    "softmax",
    "exp(x) over its sum along `axis`.",
    arity=1,
    attrs=(Attr("axis", "int"),),
    type=_axis_type,
    body=_softmax_body,
    vjp=_softmax_vjp,
)


def _log_softmax_body(x: Value, axis: int) -> Value:
    d = shifted(x, axis)
    out: Value = sub(d, expand(log(reduce_sum(exp(d), axes=(axis,))), x.shape, (axis,)))
    return out


def _log_softmax_vjp(ct: Value, out: Value, x: Value, axis: int) -> tuple[Value]:
    total = expand(reduce_sum(ct, axes=(axis,)), x.shape, (axis,))
    return (sub(ct, mul(softmax(x, axis=axis), total)),)


log_softmax: Op = op(
    "log_softmax",
    "The logarithm of softmax along `axis`.",
    arity=1,
    attrs=(Attr("axis", "int"),),
    type=_axis_type,
    body=_log_softmax_body,
    vjp=_log_softmax_vjp,
)


def _logsumexp_type(x: Type, axes: Ints) -> Type:
    valid_axes(floating(x), axes)
    require(len(axes) > 0, "at least one axis")
    return x.with_shape(without(x.shape, axes))


def _logsumexp_body(x: Value, axes: Ints) -> Value:
    top = reduce_max(x, axes=axes)
    top = stop_gradient(select(is_finite(top), top, zeros_like(top)))  # all -inf: the sum is 0
    total = reduce_sum(exp(sub(x, expand(top, x.shape, axes))), axes=axes)
    out: Value = add(log(total), top)
    return out


def _logsumexp_vjp(ct: Value, out: Value, x: Value, axes: Ints) -> tuple[Value]:
    share = exp(sub(x, expand(out, x.shape, axes)))
    return (mul(expand(ct, x.shape, axes), share),)


logsumexp: Op = op(
    "logsumexp",
    "log(sum(exp(x))) over `axes`, which are dropped.",
    arity=1,
    attrs=(Attr("axes", "ints"),),
    type=_logsumexp_type,
    body=_logsumexp_body,
    vjp=_logsumexp_vjp,
)

"""Means, moments, and the layers' normalisations on them.

Refuses to hold moving averages (states are the front door's) and the choice of axes or epsilon.
"""

from __future__ import annotations

from ir import dims
from ir.dims import Dim
from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.create import full, size
from ir.ops.elementwise import add, div, mul, neg, rsqrt, scale, shift, square, sub
from ir.ops.movement import broadcast, expand, reduce_sum
from ir.ops.rules import floating, require, valid_axes, valid_axis, without
from ir.types import Type

Ints = tuple[int, ...]
Grads = tuple[Value | None, ...]


def _count(like: Value, x: Value, axes: Ints) -> Value:
    """The number of elements of `x` over `axes`, in every element of the type of `like`."""
    n = dims.product(x.shape[a] for a in axes)
    if isinstance(n, Dim):
        return broadcast(size(dim=n, dtype=x.dtype), shape=like.shape, axes=())  # type: ignore[no-any-return]
    return full(value=float(n), shape=like.shape, dtype=x.dtype)  # type: ignore[no-any-return]


def _mean(x: Value, axes: Ints) -> Value:
    total = reduce_sum(x, axes=axes)
    out: Value = div(total, _count(total, x, axes))
    return out


def _mean_type(x: Type, axes: Ints) -> Type:
    valid_axes(floating(x), axes)
    return x.with_shape(without(x.shape, axes))


def _mean_vjp(ct: Value, out: Value, x: Value, axes: Ints) -> Grads:
    return (expand(div(ct, _count(ct, x, axes)), x.shape, axes),)


reduce_mean: Op = op(
    "reduce_mean",
    "The mean over `axes`, which are dropped.",
    arity=1,
    attrs=(Attr("axes", "ints"),),
    type=_mean_type,
    body=_mean,
    vjp=_mean_vjp,
)


def _centred(x: Value, mean: Value, axes: Ints) -> Value:
    out: Value = sub(x, expand(mean, x.shape, axes))
    return out


def _moments_body(x: Value, axes: Ints) -> tuple[Value, Value]:
    mean = _mean(x, axes)
    return mean, _mean(square(_centred(x, mean, axes)), axes)


def _moments_vjp(
    ct: tuple[Value | None, ...], out: tuple[Value, ...], x: Value, axes: Ints
) -> Grads:
    terms = []
    if ct[0] is not None:
        terms.append(expand(div(ct[0], _count(ct[0], x, axes)), x.shape, axes))
    if ct[1] is not None:
        slope = scale(div(ct[1], _count(ct[1], x, axes)), 2.0)
        terms.append(mul(expand(slope, x.shape, axes), _centred(x, out[0], axes)))
    return (add(*terms) if len(terms) == 2 else terms[0] if terms else None,)


moments: Op = op(
    "moments",
    "The mean and the variance (divided by n) over `axes`, which are dropped.",
    arity=1,
    attrs=(Attr("axes", "ints"),),
    type=lambda x, axes: (_mean_type(x, axes),) * 2,
    body=_moments_body,
    vjp=_moments_vjp,
)

# -- layer_norm -----------------------------------------------------------------------------------


def _layer_norm_type(x: Type, gamma: Type, beta: Type, axes: Ints, epsilon: float) -> Type:
    valid_axes(floating(x), axes)
    want = x.with_shape(tuple(x.shape[a] for a in axes))
    require(
        gamma is want and beta is want, f"gamma and beta must be {want}, not {gamma} and {beta}"
    )
    return x


def _normalised(x: Value, axes: Ints, epsilon: float) -> tuple[Value, Value]:
    mean, var = _moments_body(x, axes)
    r = rsqrt(shift(var, epsilon))
    return mul(_centred(x, mean, axes), expand(r, x.shape, axes)), r


def _layer_norm_body(x: Value, gamma: Value, beta: Value, axes: Ints, epsilon: float) -> Value:
    xhat, _ = _normalised(x, axes, epsilon)
    g, b = (broadcast(v, shape=x.shape, axes=axes) for v in (gamma, beta))
    out: Value = add(mul(xhat, g), b)
    return out


def _layer_norm_vjp(
    ct: Value, out: Value, x: Value, gamma: Value, beta: Value, axes: Ints, epsilon: float
) -> Grads:
    others = tuple(i for i in range(x.type.rank) if i not in axes)
    xhat, r = _normalised(x, axes, epsilon)
    along = mul(ct, xhat)
    g = mul(ct, broadcast(gamma, shape=x.shape, axes=axes))
    tilt = mul(xhat, expand(_mean(mul(g, xhat), axes), x.shape, axes))
    dx = mul(sub(_centred(g, _mean(g, axes), axes), tilt), expand(r, x.shape, axes))
    return dx, reduce_sum(along, axes=others), reduce_sum(ct, axes=others)


layer_norm: Op = op(
    "layer_norm",
    "(x - mean) / sqrt(variance + epsilon) over `axes`, times gamma plus beta.",
    arity=3,
    attrs=(Attr("axes", "ints"), Attr("epsilon", "float")),
    type=_layer_norm_type,
    body=_layer_norm_body,
    vjp=_layer_norm_vjp,
)

# -- batch_norm -----------------------------------------------------------------------------------


def _channels(x: Type, axis: int, *given: Type) -> Type:
    valid_axis(floating(x), axis)
    want = x.with_shape((x.shape[axis],))
    require(all(t is want for t in given), f"one {want} per channel is needed, not {given}")
    return want


def _batch_norm_type(
    x: Type, mean: Type, var: Type, gamma: Type, beta: Type, axis: int, epsilon: float
) -> Type:
    _channels(x, axis, mean, var, gamma, beta)
    return x


def _along(v: Value, x: Value, axis: int) -> Value:
    out: Value = broadcast(v, shape=x.shape, axes=(axis,))
    return out


def _batch_norm_body(
    x: Value, mean: Value, var: Value, gamma: Value, beta: Value, axis: int, epsilon: float
) -> Value:
    factor = mul(gamma, rsqrt(shift(var, epsilon)))
    term = sub(beta, mul(mean, factor))
    out: Value = add(mul(x, _along(factor, x, axis)), _along(term, x, axis))
    return out


batch_norm: Op = op(
    "batch_norm",
    "(x - mean) / sqrt(var + epsilon) * gamma + beta, with one of each per index of `axis`.",
    arity=5,
    attrs=(Attr("axis", "int"), Attr("epsilon", "float")),
    type=_batch_norm_type,
    body=_batch_norm_body,
)


def _others(x: Value, axis: int) -> Ints:
    return tuple(i for i in range(x.type.rank) if i != axis)


def _batch_norm_train_type(
    x: Type, gamma: Type, beta: Type, axis: int, epsilon: float
) -> tuple[Type, Type, Type]:
    channel = _channels(x, axis, gamma, beta)
    return x, channel, channel


def _batch_norm_train_body(
    x: Value, gamma: Value, beta: Value, axis: int, epsilon: float
) -> tuple[Value, Value, Value]:
    axes = _others(x, axis)
    mean, var = _moments_body(x, axes)
    factor = mul(gamma, rsqrt(shift(var, epsilon)))
    scaled = mul(_centred(x, mean, axes), _along(factor, x, axis))
    return add(scaled, _along(beta, x, axis)), mean, var


def _batch_norm_train_vjp(
    ct: tuple[Value | None, ...],
    out: tuple[Value, ...],
    x: Value,
    gamma: Value,
    beta: Value,
    axis: int,
    epsilon: float,
) -> Grads:
    axes = _others(x, axis)
    _, mean, var = out
    moments_dx = _moments_vjp(ct[1:], (mean, var), x, axes)[0]
    if ct[0] is None:
        return moments_dx, None, None
    # with d = x - mean:  dx = gamma * r * (ct - sum(ct) / n - d * r^2 * sum(ct * d) / n)
    d = _centred(x, mean, axes)
    r = rsqrt(shift(var, epsilon))
    total, lean = reduce_sum(ct[0], axes=axes), reduce_sum(mul(ct[0], d), axes=axes)
    n = _count(total, x, axes)
    factor = mul(gamma, r)
    slope = neg(div(mul(mul(factor, mul(r, r)), lean), n))
    term = neg(div(mul(factor, total), n))
    straight = add(mul(ct[0], _along(factor, x, axis)), mul(d, _along(slope, x, axis)))
    dx = add(straight, _along(term, x, axis))
    if moments_dx is not None:
        dx = add(dx, moments_dx)
    return dx, mul(lean, r), total


batch_norm_train: Op = op(
    "batch_norm_train",
    "batch_norm by the moments of x itself (over all axes but `axis`): the result, mean, variance / n.",
    arity=3,
    attrs=(Attr("axis", "int"), Attr("epsilon", "float")),
    type=_batch_norm_train_type,
    body=_batch_norm_train_body,
    vjp=_batch_norm_train_vjp,
)

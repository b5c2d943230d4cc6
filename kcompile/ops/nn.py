"""Activations, normalisation, one-hot and attention of `keras.ops.nn`.

Refuses to hold convolution and pooling (`nn_window`) and losses (`nn_loss`).
"""

from __future__ import annotations

from typing import Any

import ir.ops as ir
import kcompile.config as config
from ir.graph import Value
from kcompile.dtypes import TO_IR, standardize_dtype
from kcompile.errors import KCValueError
from kcompile.operation import defines
from kcompile.ops.linalg import norm
from kcompile.ops.movement import cut, permuted, reshaped, to_int
from kcompile.ops.numpy_elementwise import clip, maximum
from kcompile.ops.numpy_reduce import kept
from kcompile.ops.operand import (
    as_dtype,
    axes_of,
    axis_of,
    broadcast_to,
    dense_only,
    inexact,
    scalar_like,
    tensor,
    together,
    unary,
    value_of,
)  # fmt: skip
from kcompile.tensor import Tensor

op = defines("keras.src.ops.nn")


def _activation(name: str, primitive: Any, doc: str) -> Any:
    def fn(x: Any) -> Any:
        return unary(primitive, x)

    fn.__name__, fn.__qualname__, fn.__doc__ = name, name, doc
    return op("x")(fn)


relu = _activation("relu", ir.relu, "max(x, 0).")
sigmoid = _activation("sigmoid", ir.sigmoid, "1 / (1 + exp(-x)).")
silu = _activation("silu", ir.silu, "x * sigmoid(x).")
softplus = _activation("softplus", ir.softplus, "log(1 + exp(x)).")
softsign = _activation("softsign", ir.softsign, "x / (1 + |x|).")
selu = _activation("selu", ir.selu, "elu, scaled so that mean and variance are kept.")
swish = silu


@op("x")
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    v = inexact(x)
    return Tensor(ir.minimum(ir.relu(v), scalar_like(v, 6.0)))


@op("x")
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x, or negative_slope * x below 0."""
    return Tensor(ir.leaky_relu(inexact(x), slope=float(negative_slope)))


@op("x")
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x, or alpha * (exp(x) - 1) below 0."""
    return Tensor(ir.elu(inexact(x), alpha=float(alpha)))


@op("x")
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x, or alpha * (exp(x / alpha) - 1) below 0."""
    v = inexact(x)
    below = ir.mul(
        scalar_like(v, alpha),
        ir.expm1(ir.div(ir.minimum(v, scalar_like(v, 0.0)), scalar_like(v, alpha))),
    )
    return Tensor(ir.add(ir.relu(v), below))


@op("x")
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x, by tanh if `approximate`."""
    return Tensor(ir.gelu(inexact(x), approximate=bool(approximate)))


@op("x")
def glu(x: Any, axis: int = -1) -> Any:
    """The first half along `axis` times the sigmoid of the second."""
    v = inexact(x)
    at = axis_of(axis, len(v.type.shape))
    n = v.type.shape[at]
    return Tensor(ir.mul(cut(v, at, 0, n // 2), ir.sigmoid(cut(v, at, n // 2, n))))


@op("x")
def hard_sigmoid(x: Any) -> Any:
    """min(max(x / 6 + 0.5, 0), 1)."""
    return clip(tensor(Tensor(inexact(x))) / 6.0 + 0.5, 0.0, 1.0)


@op("x")
def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x)."""
    t = Tensor(inexact(x))
    return t * clip(t / 6.0 + 0.5, 0.0, 1.0)


hard_swish = hard_silu


@op("x")
def hard_tanh(x: Any) -> Any:
    """x held between -1 and 1."""
    return clip(Tensor(inexact(x)), -1.0, 1.0)


@op("x")
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, or 0 within the threshold."""
    v = inexact(x)
    return Tensor(
        ir.select(ir.gt(ir.absolute(v), scalar_like(v, threshold)), v, scalar_like(v, 0.0))
    )


@op("x")
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by the threshold."""
    v = inexact(x)
    return Tensor(ir.mul(ir.sign(v), ir.relu(ir.sub(ir.absolute(v), scalar_like(v, threshold)))))


@op("x")
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    v = inexact(x)
    return Tensor(ir.sub(v, ir.tanh(v)))


@op("x")
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x above the threshold, else the default."""
    v = inexact(x)
    return Tensor(ir.select(ir.gt(v, scalar_like(v, threshold)), v, scalar_like(v, default_value)))


@op("x")
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x**2 + b)) / 2."""
    t = Tensor(inexact(x))
    return (t + (t * t + float(b)) ** 0.5) / 2.0


@op("x")
def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)**2 / 4 up to 1, then x."""
    t = Tensor(inexact(x))
    middle = Tensor(ir.select((t < 1.0).value, ((t + 1.0) * (t + 1.0) * 0.25).value, t.value))
    return Tensor(ir.select((t <= -1.0).value, scalar_like(t.value, 0.0), middle.value))


@op("x")
def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2 held between 0 and 1."""
    return clip((Tensor(inexact(x)) + 1.0) * 0.5, 0.0, 1.0)


@op("x")
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), without overflow."""
    v = inexact(x)
    return Tensor(ir.neg(ir.softplus(ir.neg(v))))


def over_axes(primitive: Any, v: Value, axis: Any) -> Value:
    """A primitive along one axis, along several at once, or (None) along all."""
    rank = len(v.type.shape)
    axes = axes_of(axis, rank)
    if len(axes) == 1:
        return primitive(v, axis=axes[0])  # type: ignore[no-any-return]
    rest = [i for i in range(rank) if i not in axes]
    perm = [*rest, *axes]
    moved = permuted(v, perm)
    flat = reshaped(moved, (*moved.type.shape[: len(rest)], -1))
    out = reshaped(primitive(flat, axis=len(rest)), moved.type.shape)
    return permuted(out, [perm.index(i) for i in range(rank)])


@op("x")
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis` (an int, several, or None for all)."""
    return Tensor(over_axes(ir.softmax, inexact(x), axis))


@op("x")
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of softmax along `axis`."""
    return Tensor(over_axes(ir.log_softmax, inexact(x), axis))


@op("x")
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The Euclidean projection of `x` onto the simplex along `axis`."""
    v = inexact(x)
    at = axis_of(axis, len(v.type.shape))
    down = ir.neg(ir.sort(ir.neg(v), axis=at))
    rank = ir.add(ir.iota(shape=v.type.shape, axis=at, dtype=v.type.dtype), scalar_like(v, 1.0))
    sums = ir.cumsum(down, axis=at, reverse=False, exclusive=False)
    inside = ir.gt(ir.add(scalar_like(v, 1.0), ir.mul(rank, down)), sums)
    count = ir.reduce_sum(as_dtype(inside, v.type.dtype), axes=(at,))
    total = ir.reduce_sum(ir.select(inside, down, scalar_like(v, 0.0)), axes=(at,))
    tau = ir.div(ir.sub(total, scalar_like(total, 1.0)), count)
    spread = ir.broadcast(
        tau, shape=v.type.shape, axes=tuple(i for i in range(len(v.type.shape)) if i != at)
    )
    return Tensor(ir.relu(ir.sub(v, spread)))


@op("x")
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """A new axis of `num_classes` with 1 at the class and 0 elsewhere; all 0 for a negative class."""
    dense_only("one_hot", sparse)
    v = to_int(value_of(x))
    at = axis_of(axis, len(v.type.shape) + 1)
    shape = (*v.type.shape[:at], int(num_classes), *v.type.shape[at:])
    classes = ir.iota(shape=shape, axis=at, dtype=v.type.dtype)
    hit = ir.eq(
        ir.broadcast(v, shape=shape, axes=tuple(i for i in range(len(shape)) if i != at)), classes
    )
    return Tensor(as_dtype(hit, TO_IR[standardize_dtype(dtype)]))


@op("inputs")
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> Any:
    """1 for each class that occurs along axis 1 (of a vector: in it), on a new axis `axis`."""
    dense_only("multi_hot", sparse)
    if num_classes is None:
        raise KCValueError(
            "KC107",
            "multi_hot without num_classes",
            "the number of classes must be known",
            "pass num_classes=",
        )
    hot = one_hot(inputs, num_classes, axis=axis, dtype=dtype)
    rank = len(value_of(inputs).type.shape)
    return Tensor(ir.reduce_max(hot.value, axes=(int(rank > 1),))) if rank else hot


@op("x")
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """The mean and the variance (divided by n) over `axes`; float16 is summed in float32."""
    v = inexact(x)
    at = axes_of(axes, len(v.type.shape))
    wide = as_dtype(v, "f32") if v.type.dtype == "f16" else v
    mean, variance = (as_dtype(r, v.type.dtype) for r in ir.moments(wide, axes=at))
    return kept(mean, v.type.shape, at, keepdims), kept(variance, v.type.shape, at, keepdims)


@op("x", "mean", "variance", "offset", "scale", cls="BatchNorm")
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with one of each per index of `axis`."""
    v = inexact(x)
    at = axis_of(axis, len(v.type.shape))
    m, s = (reshaped(as_dtype(value_of(p), v.type.dtype), (-1,)) for p in (mean, variance))
    gamma = (
        scalar_like(m, 1.0)
        if scale is None
        else reshaped(as_dtype(value_of(scale), v.type.dtype), (-1,))
    )
    beta = (
        scalar_like(m, 0.0)
        if offset is None
        else reshaped(as_dtype(value_of(offset), v.type.dtype), (-1,))
    )
    return Tensor(ir.batch_norm(v, m, s, gamma, beta, axis=at, epsilon=float(epsilon)))


def batch_normalization_train(
    x: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """Batch normalisation by the moments of `x` itself: (y, mean, variance). In a trace only."""
    v = inexact(x)
    at = axis_of(axis, len(v.type.shape))
    wide = as_dtype(v, "f32") if v.type.dtype in ("f16", "bf16") else v
    channel = wide.type.with_shape((v.type.shape[at],))
    gamma = (
        ir.full(value=1.0, shape=channel.shape, dtype=channel.dtype)
        if scale is None
        else as_dtype(value_of(scale), channel.dtype)
    )
    beta = (
        ir.full(value=0.0, shape=channel.shape, dtype=channel.dtype)
        if offset is None
        else as_dtype(value_of(offset), channel.dtype)
    )
    y, mean, variance = ir.batch_norm_train(wide, gamma, beta, axis=at, epsilon=float(epsilon))
    return Tensor(as_dtype(y, v.type.dtype)), Tensor(mean), Tensor(variance)


@op("x", "gamma", "beta", cls="LayerNorm")
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, moments over `axis`."""
    v = inexact(x)
    axes = axes_of(axis, len(v.type.shape))
    wide = as_dtype(v, "f32") if v.type.dtype in ("f16", "bf16") else v
    shape = tuple(v.type.shape[a] for a in axes)
    e = config.epsilon() if epsilon is None else float(epsilon)

    def parameter(p: Any, number: float) -> Value:
        if p is None:
            return ir.full(value=number, shape=shape, dtype=wide.type.dtype)  # type: ignore[no-any-return]
        return reshaped(as_dtype(value_of(p), wide.type.dtype), shape)

    return Tensor(
        as_dtype(
            ir.layer_norm(wide, parameter(gamma, 1.0), parameter(beta, 0.0), axes=axes, epsilon=e),
            v.type.dtype,
        )
    )


@op("x", "scale", cls="RMSNorm")
def rms_normalization(
    x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None
) -> Any:
    """x / sqrt(mean(x**2) + epsilon) * scale, the mean over `axis`."""
    v = inexact(x)
    axes = axes_of(axis, len(v.type.shape))
    wide = as_dtype(v, "f32") if v.type.dtype in ("f16", "bf16") else v
    mean = kept(ir.reduce_mean(ir.mul(wide, wide), axes=axes), v.type.shape, axes, True).value
    e = config.epsilon() if epsilon is None else float(epsilon)
    factor = broadcast_to(ir.rsqrt(ir.add(mean, scalar_like(mean, e))), v.type.shape)
    out = ir.mul(wide, factor)
    if scale is not None:
        out = ir.mul(*together((out, as_dtype(value_of(scale), out.type.dtype))))
    return Tensor(as_dtype(out, v.type.dtype))


@op("x")
def normalize(x: Any, axis: Any = -1, order: Any = 2, epsilon: float | None = None) -> Any:
    """x over its norm of `order` along `axis`, the norm held above epsilon."""
    v = inexact(x)
    e = config.epsilon() if epsilon is None else float(epsilon)
    axes = axes_of(axis, len(v.type.shape))
    if order == 2:
        squares = kept(ir.reduce_sum(ir.mul(v, v), axes=axes), v.type.shape, axes, True)
        factor = ir.rsqrt(maximum(squares, e * e).value)
        return Tensor(ir.mul(v, broadcast_to(factor, v.type.shape)))
    size = maximum(norm(Tensor(v), ord=order, axis=axis, keepdims=True), e)
    return Tensor(ir.div(v, broadcast_to(size.value, v.type.shape)))

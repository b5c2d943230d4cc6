"""Reductions, running sums and sorting of `keras.ops`.

Refuses to hold what needs a matrix product (`linalg`).
"""

from __future__ import annotations

import math
from typing import Any

import ir.ops as ir
from ir import dims
from ir.graph import Value
from kcompile.dtypes import TO_IR, standardize_dtype
from kcompile.operation import defines
from kcompile.ops.movement import cut, reshaped
from kcompile.ops.numpy_compare import isclose, truth
from kcompile.ops.numpy_index import take_along_axis
from kcompile.ops.operand import (
    FLOATS,
    as_dtype,
    axes_of,
    axis_of,
    broadcast_to,
    inexact,
    promoted,
    scalar_like,
    together,
    value_of,
)  # fmt: skip
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")
math_op = defines("keras.src.ops.math")


def kept(v: Value, shape: tuple[Any, ...], axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """A reduced value, with its dropped axes back as extents of 1 if `keepdims`."""
    if keepdims:
        v = reshaped(v, tuple(1 if i in axes else d for i, d in enumerate(shape)))
    return Tensor(v)


def _reduce(reduction: Any, v: Value, axis: Any, keepdims: bool) -> Tensor:
    axes = axes_of(axis, len(v.type.shape))
    out = reduction(v, axes=axes) if axes else v
    return kept(out, v.type.shape, axes, keepdims)


def _summable(v: Value) -> Value:
    """Small ints and bools in the dtype Keras sums them in."""
    dtype = v.type.dtype
    return as_dtype(
        v, {"bool": "i32", "i8": "i32", "i16": "i32", "u8": "u32", "u16": "u32"}.get(dtype, dtype)
    )


@op("x")
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum over `axis` (all by default)."""
    return _reduce(ir.reduce_sum, _summable(value_of(x)), axis, keepdims)


@op("x")
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product over `axis`."""
    v = value_of(x)
    v = _summable(v) if dtype is None else as_dtype(v, TO_IR[standardize_dtype(dtype)])
    return _reduce(ir.reduce_prod, v, axis, keepdims)


@op("x")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over `axis`, a float."""
    return _reduce(ir.reduce_mean, inexact(x), axis, keepdims)


def _extreme(
    reduction: Any, choose: Any, x: Any, axis: Any, keepdims: bool, initial: Any
) -> Tensor:
    out = _reduce(reduction, value_of(x), axis, keepdims)
    if initial is None:
        return out
    return Tensor(choose(*together(promoted((out, initial)))))


@op("x")
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The greatest over `axis`."""
    return _extreme(ir.reduce_max, ir.maximum, x, axis, keepdims, initial)


@op("x")
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The least over `axis`."""
    return _extreme(ir.reduce_min, ir.minimum, x, axis, keepdims, initial)


@op("x")
def amax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The greatest over `axis`."""
    return _reduce(ir.reduce_max, value_of(x), axis, keepdims)


@op("x")
def amin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The least over `axis`."""
    return _reduce(ir.reduce_min, value_of(x), axis, keepdims)


@op("x")
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The greatest less the least over `axis`."""
    v = value_of(x)
    high, low = _reduce(ir.reduce_max, v, axis, keepdims), _reduce(ir.reduce_min, v, axis, keepdims)
    return Tensor(ir.sub(high.value, low.value))


@op("x")
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether one over `axis` differs from 0."""
    return _reduce(ir.reduce_max, truth(x), axis, keepdims)


@op("x")
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all over `axis` differ from 0."""
    return _reduce(ir.reduce_min, truth(x), axis, keepdims)


@op("x")
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many over `axis` differ from 0, int32."""
    return _reduce(ir.reduce_sum, as_dtype(truth(x), "i32"), axis, False)


@op("x")
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance (divided by n) over `axis`, a float."""
    v = inexact(x)
    axes = axes_of(axis, len(v.type.shape))
    return kept(
        ir.moments(v, axes=axes)[1] if axes else scalar_like(v, 0.0), v.type.shape, axes, keepdims
    )


@op("x")
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation (divided by n) over `axis`, a float."""
    return Tensor(ir.sqrt(var(x, axis, keepdims).value))


@op("x", "weights")
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean weighted by `weights` (of the shape of `x`, or of its axis)."""
    if weights is None:
        return mean(x, axis)
    a, w = promoted((x, weights), float)
    rank = len(a.type.shape)
    axes = axes_of(axis, rank)
    if len(w.type.shape) != rank:
        w = ir.broadcast(w, shape=a.type.shape, axes=axes[:1])
    w = broadcast_to(w, a.type.shape)
    return Tensor(ir.div(ir.reduce_sum(ir.mul(a, w), axes=axes), ir.reduce_sum(w, axes=axes)))


def _numbers(v: Value) -> Value:
    return as_dtype(v, "i32") if v.type.dtype == "bool" else v


def _position(find: Any, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    v = _numbers(value_of(x))
    rank = len(v.type.shape)
    if axis is None:
        out = find(reshaped(v, (-1,)), axis=0)
        return Tensor(reshaped(out, (1,) * rank) if keepdims else out)
    at = axis_of(axis, rank)
    return kept(find(v, axis=at), v.type.shape, (at,), keepdims)


@op("x")
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the greatest, int32, the first of equals."""
    return _position(ir.argmax, x, axis, keepdims)


@op("x")
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the least, int32, the first of equals."""
    return _position(ir.argmin, x, axis, keepdims)


@op("x")
def argsort(x: Any, axis: int | None = -1) -> Any:
    """The positions that sort, ascending and stable, int32."""
    v = _numbers(value_of(x))
    if axis is None:
        return Tensor(ir.argsort(reshaped(v, (-1,)), axis=0))
    return Tensor(ir.argsort(v, axis=axis_of(axis, len(v.type.shape))))


@op("x")
def sort(x: Any, axis: int | None = -1) -> Any:
    """Ascending along `axis`."""
    v = value_of(x)
    if axis is None:
        v, axis = reshaped(v, (-1,)), 0
    out = ir.sort(_numbers(v), axis=axis_of(axis, len(v.type.shape)))
    return Tensor(as_dtype(out, v.type.dtype))


@math_op("x")
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The k greatest along the last axis, descending, and their positions, int32."""
    v = value_of(x)
    last = len(v.type.shape) - 1
    order = ir.argsort(ir.neg(_signed(_numbers(v))), axis=last)
    positions = Tensor(cut(order, last, 0, k))
    return take_along_axis(Tensor(v), positions, axis=last), positions


def _signed(v: Value) -> Value:
    return as_dtype(v, "i64") if v.type.dtype[0] == "u" else v


@math_op("targets", "predictions")
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the prediction of the target class is among the k greatest of its row."""
    t, p = value_of(targets), value_of(predictions)
    own = take_along_axis(Tensor(p), Tensor(ir.reshape(t, shape=(*t.type.shape, 1))), axis=-1).value
    greater = ir.gt(p, broadcast_to(own, p.type.shape))
    above = ir.reduce_sum(as_dtype(greater, "i32"), axes=(len(p.type.shape) - 1,))
    finite = ir.is_finite(reshaped(own, t.type.shape))
    return Tensor(ir.logical_and(ir.lt(above, scalar_like(above, k)), finite))


def _running(scan: Any, x: Any, axis: int | None, dtype: Any) -> Tensor:
    v = value_of(x)
    if dtype is not None:
        v = as_dtype(v, TO_IR[standardize_dtype(dtype)])
    elif v.type.dtype == "bool":
        v = as_dtype(v, "i32")
    if axis is None:
        v, axis = reshaped(v, (-1,)), 0
    return Tensor(scan(v, axis=axis_of(axis, len(v.type.shape)), reverse=False, exclusive=False))


@op("x")
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running sum."""
    return _running(ir.cumsum, x, axis, dtype)


@op("x")
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running product."""
    return _running(ir.cumprod, x, axis, dtype)


@math_op("x")
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, without overflow."""
    return _reduce(ir.logsumexp, inexact(x), axis, keepdims)


@op("x", "q")
def quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-th quantiles (q in [0, 1]) over `axis`, whose extent must be known."""
    v = inexact(x)
    rank = len(v.type.shape)
    axes = axes_of(axis, rank)
    rest = [i for i in range(rank) if i not in axes]
    line = ir.transpose(v, perm=(*rest, *axes))
    n = dims.product(v.type.shape[a] for a in axes)
    line = ir.sort(reshaped(line, (*line.type.shape[: len(rest)], n)), axis=len(rest))
    picks = value_of(q)
    many = len(picks.type.shape) == 1
    place = ir.mul(
        as_dtype(picks, line.type.dtype),
        broadcast_to(value_of(n - 1, line.type.dtype), picks.type.shape),
    )
    low = ir.floor(place)
    high = ir.ceil(place)
    part = {
        "linear": lambda: ir.sub(place, low),
        "lower": lambda: scalar_like(low, 0.0),
        "higher": lambda: scalar_like(low, 1.0),
        "nearest": lambda: ir.sub(ir.round_even(place), low),
        "midpoint": lambda: ir.mul(ir.sub(high, low), scalar_like(low, 0.5)),
    }[method]()
    a = ir.gather(line, as_dtype(low, "i32"), axis=len(rest))
    b = ir.gather(line, as_dtype(high, "i32"), axis=len(rest))
    shape = a.type.shape
    out = ir.add(a, ir.mul(ir.sub(b, a), broadcast_to(part, shape)))
    if keepdims:
        out = reshaped(
            out,
            tuple(1 if i in axes else d for i, d in enumerate(v.type.shape))
            + ((shape[-1],) if many else ()),
        )
    if many:
        last = len(out.type.shape) - 1
        out = ir.transpose(out, perm=(last, *range(last)))
    return Tensor(out)


@op("x", "q")
def percentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-th percentiles (q in [0, 100]) over `axis`."""
    picks = inexact(q)
    return quantile(x, Tensor(ir.div(picks, scalar_like(picks, 100.0))), axis, method, keepdims)


@op("x")
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median over `axis`."""
    return quantile(x, 0.5, axis, "linear", keepdims)


@op("x1", "x2", "rtol", "atol", cls="AllClose")
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are close."""
    return all(isclose(x1, x2, rtol, atol, equal_nan))


def finite_or(v: Value, number: float) -> Value:
    """NaN replaced by a number."""
    return ir.select(ir.is_nan(v), scalar_like(v, number), v) if v.type.dtype in FLOATS else v  # type: ignore[no-any-return]


def _without_nan(name: str, doc: str, fill: float, reduce: Any) -> Any:
    def fn(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(Tensor(finite_or(value_of(x), fill)), axis, keepdims)

    fn.__name__, fn.__qualname__, fn.__doc__ = name, name, doc
    return op("x")(fn)


nansum = _without_nan("nansum", "The sum, NaN left out.", 0.0, sum)
nanprod = _without_nan("nanprod", "The product, NaN left out.", 1.0, prod)
nanmax = _without_nan("nanmax", "The greatest, NaN left out.", -math.inf, max)
nanmin = _without_nan("nanmin", "The least, NaN left out.", math.inf, min)


@op("x")
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean, NaN left out."""
    v = inexact(x)
    count = sum(Tensor(as_dtype(ir.logical_not(ir.is_nan(v)), v.type.dtype)), axis, keepdims)
    return Tensor(ir.div(nansum(Tensor(v), axis, keepdims).value, count.value))


@op("x")
def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance, NaN left out."""
    v = inexact(x)
    middle = broadcast_to(nanmean(Tensor(v), axis, True).value, v.type.shape)
    gap = ir.sub(v, middle)
    return nanmean(Tensor(ir.mul(gap, gap)), axis, keepdims)


@op("x")
def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation, NaN left out."""
    return Tensor(ir.sqrt(nanvar(x, axis, keepdims).value))

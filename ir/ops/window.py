"""Windows without products: `unfold`, its transpose `fold`, and the pooling composites on them.

Refuses to hold convolution, which is `ir.ops.contract` (a window there costs no memory).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.compare import select
from ir.ops.contract import Window, reach
from ir.ops.create import full, full_like, zeros_like
from ir.ops.elementwise import div
from ir.ops.movement import broadcast, expand, reduce_sum, reshape
from ir.ops.reduce import argmax, one_hot, reduce_max
from ir.ops.rules import Array, floating, number, require, valid_axis
from ir.types import Type


def _checked(x: Type, windows: Any) -> Any:
    require(len(windows) > 0, "at least one window")
    for w in windows:
        require(len(w) == 6, f"a window is (axis, size, stride, dilation, low, extent), not {w}")
        valid_axis(x, w[0])
        require(all(v > 0 for v in w[1:4]), f"window {w} needs positive size, stride and dilation")
    require(len({w[0] for w in windows}) == len(windows), f"an axis has two windows: {windows}")
    return windows


def _unfold_type(x: Type, windows: Any, fill: object) -> Type:
    shape = list(x.shape)
    for axis, taps, *_, outputs in _checked(x, windows):
        shape[axis] = outputs
        shape.append(taps)
    return x.with_shape(tuple(shape))


def _views(rank: int, shape: tuple[int, ...], windows: Any, outputs: list[int]) -> Any:
    """For each tap: its index, and where it reads in x (of `shape`) and writes in the unfolded array."""
    for taps in itertools.product(*(range(w[1]) for w in windows)):
        inner: list[Any] = [slice(None)] * rank
        outer: list[Any] = [slice(None)] * rank
        for (axis, _, stride, dilation, low, _), tap, n in zip(windows, taps, outputs, strict=True):
            inner[axis], outer[axis] = reach(
                tap, Window("", "", "", stride, dilation, low), shape[axis], n
            )
        yield tuple(inner), (*outer, *taps)


def _unfold_meaning(x: Array, windows: Any, fill: Any) -> Array:
    shape = list(x.shape)
    for w in windows:
        shape[w[0]] = w[5]
    out = np.full([*shape, *(w[1] for w in windows)], fill, x.dtype)
    for inner, outer in _views(x.ndim, x.shape, windows, [w[5] for w in windows]):
        out[outer] = x[inner]
    return out


def _turned(x: Value, windows: Any) -> tuple[Any, ...]:
    """The windows of the transpose: the last entry becomes the extent of the axis in `x`."""
    return tuple((*w[:5], x.shape[w[0]]) for w in windows)


unfold: Op = op(
    "unfold",
    "y[.., o, .., t] = x[.., stride*o + dilation*t - low, ..], `fill` outside; windows are "
    "(axis, size, stride, dilation, low, out), tap axes come last.",
    arity=1, attrs=(Attr("windows", "nested"), Attr("fill", "scalar", 0.0)),
    type=_unfold_type, meaning=_unfold_meaning,
    vjp=lambda ct, out, x, windows, fill: (fold(ct, windows=_turned(x, windows)),),
    flops=lambda x, windows, fill: 0,
)  # fmt: skip


def _fold_type(y: Type, windows: Any) -> Type:
    n = len(windows)
    require(y.rank > n, f"{y} has no tap axis for each of the {n} windows")
    inner = number(y).with_shape(y.shape[:-n] if n else y.shape)
    shape = list(inner.shape)
    for k, (axis, taps, *_, extent) in enumerate(_checked(inner, windows)):
        require(y.shape[k - n] == taps, f"tap axis {k} has extent {y.shape[k - n]}, not {taps}")
        shape[axis] = extent
    return y.with_shape(tuple(shape))


def _fold_meaning(y: Array, windows: Any) -> Array:
    shape = list(y.shape[: -len(windows)])
    outputs = [shape[w[0]] for w in windows]
    for w in windows:
        shape[w[0]] = w[5]
    out = np.zeros(shape, y.dtype)
    for inner, outer in _views(len(shape), tuple(shape), windows, outputs):
        out[inner] += y[outer]
    return out


fold: Op = op(
    "fold", "The transpose of unfold: adds every tap where it was read; windows end in the extent.",
    arity=1, attrs=(Attr("windows", "nested"),), type=_fold_type, meaning=_fold_meaning,
    vjp=lambda ct, out, y, windows: (unfold(ct, windows=_turned(y, windows)),),
    flops=lambda y, windows: y.size,
)  # fmt: skip

# -- pooling --------------------------------------------------------------------------------------


def _pool_type(x: Type, windows: Any, count_padding: bool = True) -> Type:
    out = _unfold_type(floating(x), windows, 0.0)
    return out.with_shape(out.shape[: x.rank])


def _tap_axes(x: Value, windows: Any) -> tuple[int, ...]:
    return tuple(range(x.type.rank, x.type.rank + len(windows)))


def _max_pool_body(x: Value, windows: Any) -> Value:
    out: Value = reduce_max(unfold(x, windows=windows, fill=-math.inf), axes=_tap_axes(x, windows))
    return out


def _max_pool_vjp(ct: Value, out: Value, x: Value, windows: Any) -> tuple[Value]:
    taps = unfold(x, windows=windows, fill=-math.inf)
    rank = x.type.rank
    line = reshape(taps, shape=(*out.shape, math.prod(w[1] for w in windows)))
    hit = one_hot(argmax(line, axis=rank), line, rank)  # the first of equals
    g = select(hit, expand(ct, line.shape, (rank,)), zeros_like(line))
    return (fold(reshape(g, shape=taps.shape), windows=_turned(x, windows)),)


max_pool: Op = op(
    "max_pool", "The greatest in each window (as in unfold); padding never wins, the first of equals gets the gradient.",
    arity=1, attrs=(Attr("windows", "nested"),), type=_pool_type, body=_max_pool_body, vjp=_max_pool_vjp,
)  # fmt: skip


def _avg_pool_body(x: Value, windows: Any, count_padding: bool) -> Value:
    total = reduce_sum(unfold(x, windows=windows, fill=0.0), axes=_tap_axes(x, windows))
    taps = math.prod(w[1] for w in windows)
    if count_padding:
        return div(total, full_like(total, taps))  # type: ignore[no-any-return]
    # how many taps are inside, for each place of the windowed axes alone
    ordered = sorted(windows, key=lambda w: w[0])
    axes = tuple(w[0] for w in ordered)
    ones = full(value=1.0, shape=tuple(x.shape[a] for a in axes), dtype=x.dtype)
    inside = unfold(ones, windows=tuple((k, *w[1:]) for k, w in enumerate(ordered)), fill=0.0)
    n = len(axes)
    count = reduce_sum(inside, axes=tuple(range(n, 2 * n)))
    return div(total, broadcast(count, shape=total.shape, axes=axes))  # type: ignore[no-any-return]


avg_pool: Op = op(
    "avg_pool", "The mean of each window (as in unfold), over all taps or only over those inside.",
    arity=1, attrs=(Attr("windows", "nested"), Attr("count_padding", "bool", False)),
    type=_pool_type, body=_avg_pool_body,
)  # fmt: skip

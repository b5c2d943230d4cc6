"""The rest of `keras.ops.math`: segments; and what only arrays can do (unique, nonzero, histogram).

Refuses to hold elementwise functions (`numpy_elementwise`) and reductions (`numpy_reduce`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ir.ops as ir
from kcompile.errors import KCNotImplementedError
from kcompile.operation import defines
from kcompile.ops.movement import to_int
from kcompile.ops.numpy_create import constant
from kcompile.ops.operand import (
    as_dtype,
    broadcast_to,
    dense_only,
    keras_dtype,
    promoted,
    scalar_like,
    value_of,
)
from kcompile.tensor import Array, KerasTensor, Tensor
from kcompile.trace import to_array
from kcompile.variable import current_trace

op = defines("keras.src.ops.numpy")
math_op = defines("keras.src.ops.math")


def _segments(segment_ids: Any, num_segments: Any) -> int:
    if num_segments is not None:
        return int(num_segments)
    if isinstance(segment_ids, (Tensor, KerasTensor)):
        raise KCNotImplementedError(
            "KC106",
            "segment ids without num_segments",
            "the number of segments must be known",
            "pass num_segments=",
        )
    return int(np.max(to_array(segment_ids))) + 1


@math_op("data", "segment_ids")
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The sums of the rows of each segment."""
    n = _segments(segment_ids, num_segments)
    return Tensor(ir.scatter_add(to_int(value_of(segment_ids)), value_of(data), axis=0, extent=n))


@math_op("data", "segment_ids")
def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The greatest of the rows of each segment; the lowest number where it has none."""
    n = _segments(segment_ids, num_segments)
    v, ids = value_of(data), value_of(segment_ids)
    low = float("-inf") if v.type.is_float else int(np.iinfo(keras_dtype(v)).min)
    wide = (n, *v.type.shape)
    own = ir.eq(
        ir.iota(shape=(n, v.type.shape[0]), axis=0, dtype=ids.type.dtype),
        ir.broadcast(ids, shape=(n, v.type.shape[0]), axes=(1,)),
    )
    rows = ir.broadcast(v, shape=wide, axes=tuple(range(1, len(wide))))
    hit = ir.broadcast(own, shape=wide, axes=(0, 1))
    return Tensor(ir.reduce_max(ir.select(hit, rows, scalar_like(rows, low)), axes=(1,)))


@math_op("x")
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Overlapping windows of the last axis: [..., n, sequence_length]."""
    v = value_of(x)
    last = len(v.type.shape) - 1
    n = (v.type.shape[last] - sequence_length) // sequence_stride + 1
    return Tensor(ir.unfold(v, windows=((last, sequence_length, sequence_stride, 1, 0, n),)))


@op("sorted_sequence", "values", cls="SearchSorted")
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where values would be put into an ascending sequence, int32."""
    edges, v = promoted((sorted_sequence, values))
    wide = (*v.type.shape, edges.type.shape[0])
    last = len(wide) - 1
    a = ir.broadcast(edges, shape=wide, axes=(last,))
    b = ir.broadcast(v, shape=wide, axes=tuple(range(last)))
    below = ir.lt(a, b) if side == "left" else ir.le(a, b)
    return Tensor(ir.reduce_sum(as_dtype(below, "i32"), axes=(last,)))


@op("x", "bins")
def digitize(x: Any, bins: Any) -> Any:
    """The number of bin edges at or below each element, int32."""
    return searchsorted(bins, x, side="right")


@op("x", "weights")
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each number occurs (or the sum of its weights), along the last axis.

    In a compiled step `minlength` is the length, and numbers beyond it do not count.
    """
    dense_only("bincount", sparse)
    v = to_int(value_of(x))
    n = minlength
    if not isinstance(x, (Tensor, KerasTensor)):
        array = to_array(x)
        n = max(n, int(array.max()) + 1 if array.size else 0)
    counts = value_of(weights) if weights is not None else constant(1, v.type.shape, "int32").value
    wide = (*v.type.shape, n)
    last = len(wide) - 1
    hit = ir.eq(
        broadcast_to(ir.reshape(v, shape=(*v.type.shape, 1)), wide),
        ir.iota(shape=wide, axis=last, dtype=v.type.dtype),
    )
    spread = broadcast_to(ir.reshape(counts, shape=(*v.type.shape, 1)), wide)
    return Tensor(
        ir.reduce_sum(
            ir.select(hit, spread, scalar_like(spread, 0.0 if spread.type.is_float else 0)),
            axes=(last - 1,),
        )
    )


def unique(x: Any, *args: Any, **kwargs: Any) -> Any:
    """The different values, ascending. Arrays only."""
    _arrays_only("unique", x)
    kwargs.pop("sorted", None)
    fill, size = kwargs.pop("fill_value", None), kwargs.pop("size", None)
    out = np.unique(to_array(x), *args, **kwargs)
    if size is not None and not isinstance(out, tuple):
        out = np.concatenate(
            [out, np.full(max(size - len(out), 0), out[0] if fill is None else fill, out.dtype)]
        )[:size]
    return (
        tuple(np.asarray(o).view(Array) for o in out) if isinstance(out, tuple) else out.view(Array)
    )


def nonzero(x: Any) -> Any:
    """The indices of elements that differ from 0, one array per axis. Arrays only."""
    _arrays_only("nonzero", x)
    return tuple(i.astype(np.int32).view(Array) for i in np.nonzero(to_array(x)))


def histogram(x: Any, bins: int = 10, range: Any = None) -> Any:
    """Counts and edges of equal bins. Arrays only."""
    _arrays_only("histogram", x)
    counts, edges = np.histogram(to_array(x), bins=bins, range=range)
    return counts.astype(np.int32).view(Array), edges.astype(np.float32).view(Array)


def _arrays_only(name: str, x: Any) -> None:
    if isinstance(x, (Tensor, KerasTensor)) or current_trace() is not None:
        raise KCNotImplementedError(
            "KC106", f"{name} in a compiled step or a functional model", "the shape of its result depends on values",
            "use it on arrays before the model",
        )  # fmt: skip

"""`keras.ops.core`: cast, conversion, shape, slices with traced starts, scatter.

Refuses to hold branches and loops (`control`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ir.ops as ir
from ir import dims
from ir.dims import Dim
from ir.graph import Value
from kcompile.dtypes import TO_IR, is_float, is_int, standardize_dtype
from kcompile.errors import KCNotImplementedError, KCTypeError
from kcompile.operation import defines, run
from kcompile.ops.movement import cut, reshaped, to_int
from kcompile.ops.numpy_create import as_tensor
from kcompile.ops.numpy_elementwise import clip
from kcompile.ops.operand import (
    as_dtype,
    axis_of,
    broadcast_to,
    dense_only,
    scalar_like,
    shape_of,
    tensor,
    value_of,
)
from kcompile.tensor import Array, KerasTensor, Tensor
from kcompile.trace import to_array
from kcompile.variable import Variable, current_trace

op = defines("keras.src.ops.core")
numpy_op = defines("keras.src.ops.numpy")


@op("x")
def cast(x: Any, dtype: Any) -> Any:
    """`x` in another dtype."""
    name = TO_IR[standardize_dtype(dtype)]
    v = value_of(x, name if isinstance(x, (int, float)) else None)
    return x if isinstance(x, Tensor) and v.type.dtype == name else Tensor(as_dtype(v, name))


@op("x")
def saturate_cast(x: Any, dtype: Any) -> Any:
    """`x` in another dtype, held in its range first."""
    name = standardize_dtype(dtype)
    t = tensor(x)
    if is_int(name):
        low, high = np.iinfo(name).min, np.iinfo(name).max
        if is_float(t.dtype):
            return cast(
                clip(
                    t,
                    float(low),
                    float(np.nextafter(np.float32(high), np.float32(0)))
                    if high > 2**24
                    else float(high),
                ),
                name,
            )
        own = np.iinfo(t.dtype) if t.dtype != "bool" else np.iinfo("uint8")
        return cast(clip(t, max(low, own.min), min(high, own.max)), name)
    return cast(t, name)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """`x` as a tensor: traced inside a trace, else an array. A KerasTensor stays one.

    Raises KCNotImplementedError KC109 for sparse=True and ragged=True.
    """
    dense_only("convert_to_tensor", sparse or ragged)
    if isinstance(x, KerasTensor):
        return x if dtype is None or x.dtype == standardize_dtype(dtype) else cast(x, dtype)
    if current_trace() is not None:
        if type(x) is Tensor and (dtype is None or x.dtype == standardize_dtype(dtype)):
            return x
        return as_tensor(x, dtype)
    if isinstance(x, Variable):
        x = x.value
    if isinstance(x, Array) and dtype is None:
        return x
    return run(as_tensor, x, dtype)


def convert_to_numpy(x: Any) -> Any:
    """`x` as a NumPy array. Raises KCTypeError KC101 for symbolic tensors."""
    return np.asarray(x.numpy() if isinstance(x, (Tensor, KerasTensor, Variable)) else to_array(x))


def shape(x: Any) -> tuple[Any, ...]:
    """The extents: ints, and in a trace dimensions where they are not known."""
    if isinstance(x, Tensor):
        return x.dims
    if isinstance(x, (KerasTensor, Variable, np.ndarray)):
        return tuple(x.shape)
    return tuple(to_array(x).shape)


def dtype(x: Any) -> str:
    """The dtype by Keras's name."""
    return standardize_dtype(x.dtype if hasattr(x, "dtype") else to_array(x).dtype)


@numpy_op("x")
def size(x: Any) -> Any:
    """The number of elements, int32."""
    return Tensor(value_of(dims.product(value_of(x).type.shape), "i32"))


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(shape(x))


@op("variable")
def stop_gradient(variable: Any) -> Any:
    """The same values, through which no gradient flows."""
    return Tensor(ir.stop_gradient(value_of(variable)))


@op("x")
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """The slices along an axis of known extent, as a list."""
    v = value_of(x)
    at = axis_of(axis, len(v.type.shape))
    n = v.type.shape[at] if num is None else num
    rest = v.type.shape[:at] + v.type.shape[at + 1 :]
    if isinstance(n, Dim):
        raise KCTypeError(
            "KC106",
            f"unstack of axis {at} of {v.type}",
            "the number of slices must be known",
            "pass num=",
        )
    return [Tensor(reshaped(cut(v, at, i, i + 1), rest)) for i in range(n)]


# -- slices whose start may be a tensor ------------------------------------------------------------


def _static_starts(starts: Any) -> list[Any] | None:
    if isinstance(starts, (Tensor, KerasTensor, Variable)):
        return None
    found = (
        list(starts) if isinstance(starts, (list, tuple)) else list(np.asarray(starts).reshape(-1))
    )
    if any(isinstance(s, (Tensor, Variable)) for s in found):
        return None
    return [s if isinstance(s, Dim) else int(s) for s in found]


def _start(starts: Any, axis: int) -> Value:
    if isinstance(starts, (list, tuple)):
        return as_dtype(value_of(starts[axis], "i32"), "i32")
    return reshaped(cut(as_dtype(value_of(starts), "i32"), 0, axis, axis + 1), ())


@op("inputs", "start_indices", "shape")
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """The block of `shape` that begins at `start_indices` (numbers or tensors); -1 is to the end."""
    v = value_of(inputs)
    starts = _static_starts(start_indices)
    wanted = list(shape_of(shape))
    if starts is not None:
        stop = [
            d if isinstance(w, int) and w == -1 else a + w
            for a, w, d in zip(starts, wanted, v.type.shape, strict=True)
        ]
        return Tensor(ir.slice_(v, start=tuple(starts), stop=tuple(stop), step=(1,) * len(starts)))
    for axis, w in enumerate(wanted):
        if w == v.type.shape[axis] and not isinstance(start_indices, (list, tuple)):
            continue
        line = ir.iota(shape=(w,), axis=0, dtype="i32")
        v = ir.gather(v, ir.add(line, broadcast_to(_start(start_indices, axis), (w,))), axis=axis)
    return Tensor(v)


@op("inputs", "start_indices", "updates")
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs` with the block that begins at `start_indices` replaced by `updates`."""
    v = value_of(inputs)
    u = as_dtype(value_of(updates), v.type.dtype)
    starts = _static_starts(start_indices)
    own, block = v.type.shape, u.type.shape
    zero: Any = 0.0 if v.type.is_float else False if v.type.dtype == "bool" else 0
    if starts is not None:
        high = tuple(d - a - w for d, a, w in zip(own, starts, block, strict=True))
        none = (0,) * len(own)
        wide = ir.pad(u, low=tuple(starts), high=high, interior=none, value=zero)
        inside = ir.full(value=True, shape=block, dtype="bool")
        inside = ir.pad(inside, low=tuple(starts), high=high, interior=none, value=False)
        return Tensor(ir.select(inside, wide, v))
    hit = ir.full(value=True, shape=own, dtype="bool")
    for axis, (d, w) in enumerate(zip(own, block, strict=True)):
        offset = ir.iota(shape=(d,), axis=0, dtype="i32")
        offset = ir.sub(offset, broadcast_to(_start(start_indices, axis), (d,)))
        fits = ir.logical_and(
            ir.ge(offset, scalar_like(offset, 0)),
            ir.lt(offset, broadcast_to(value_of(w, "i32"), (d,))),
        )
        hit = ir.logical_and(hit, ir.broadcast(fits, shape=own, axes=(axis,)))
        u = ir.gather(u, offset, axis=axis)
    return Tensor(ir.select(hit, u, v))


# -- scatter ---------------------------------------------------------------------------------------


def _flat_positions(indices: Value, extents: Sequence[Any]) -> Value:
    """Row-major positions of index rows [n, depth] in an array of these leading extents."""
    depth = indices.type.shape[-1]
    flat: Value | None = None
    for k in range(depth):
        column = as_dtype(reshaped(cut(indices, 1, k, k + 1), indices.type.shape[:1]), "i32")
        if flat is None:
            flat = column
        else:
            flat = ir.add(
                ir.mul(flat, broadcast_to(value_of(extents[k], "i32"), flat.type.shape)), column
            )
    assert flat is not None
    return flat


@op("indices", "values")
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of `shape` with `values` added at index rows [..., depth]."""
    idx, v, want = to_int(value_of(indices)), value_of(values), shape_of(shape)
    depth = idx.type.shape[-1]
    rows = dims.product(idx.type.shape[:-1])
    idx = reshaped(idx, (rows, depth))
    v = reshaped(v, (rows, *want[depth:]))
    out = ir.scatter_add(_flat_positions(idx, want), v, axis=0, extent=dims.product(want[:depth]))
    return Tensor(reshaped(out, want))


@op("inputs", "indices", "updates")
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """`inputs` with index rows [n, depth] replaced by (or, with "add", increased by) `updates`."""
    v, idx = value_of(inputs), to_int(value_of(indices))
    u = as_dtype(value_of(updates), v.type.dtype)
    depth = idx.type.shape[-1]
    own = v.type.shape
    rows = dims.product(idx.type.shape[:-1])
    flat = _flat_positions(reshaped(idx, (rows, depth)), own)
    u = reshaped(u, (rows, *own[depth:]))
    extent = dims.product(own[:depth])
    base = reshaped(v, (extent, *own[depth:]))
    if reduction == "add":
        return Tensor(reshaped(ir.add(base, ir.scatter_add(flat, u, axis=0, extent=extent)), own))
    if reduction is not None:
        raise KCNotImplementedError(
            "KC109",
            f"scatter_update(reduction={reduction!r})",
            "reductions are None and 'add'",
            "use one of these",
        )
    # the last row that names a position wins: its number, 1-based, or 0 for none
    hit = ir.eq(
        ir.iota(shape=(rows, extent), axis=1, dtype="i32"),
        ir.broadcast(flat, shape=(rows, extent), axes=(0,)),
    )
    number = ir.add(
        ir.iota(shape=(rows, extent), axis=0, dtype="i32"),
        ir.full(value=1, shape=(rows, extent), dtype="i32"),
    )
    last = ir.reduce_max(ir.select(hit, number, scalar_like(number, 0)), axes=(0,))
    picked = ir.gather(
        u, ir.maximum(ir.sub(last, scalar_like(last, 1)), scalar_like(last, 0)), axis=0
    )
    touched = ir.broadcast(ir.gt(last, scalar_like(last, 0)), shape=base.type.shape, axes=(0,))
    return Tensor(reshaped(ir.select(touched, picked, base), own))

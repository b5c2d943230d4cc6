"""Operations of `keras.ops` that pick by position, value or condition: indexing, take, where, diagonals.

Refuses to hold scatter and slice with traced starts (`kcompile.ops.core`).
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

import ir.ops as ir
from ir import dims
from ir.dims import Dim
from ir.graph import Value
from kcompile.errors import KCIndexError, KCNotImplementedError, KCTypeError
from kcompile.operation import defines
from kcompile.ops.movement import permuted, reshaped, to_int
from kcompile.ops.numpy_compare import truth
from kcompile.ops.operand import (
    axis_of,
    broadcast_to,
    joint_shape,
    promoted,
    scalar_like,
    together,
    value_of,
)
from kcompile.tensor import Tensor
from kcompile.variable import Variable

op = defines("keras.src.ops.numpy")


def wrapped(idx: Value, extent: Any) -> Value:
    """Indices with negative ones counted from the end."""
    if idx.node is not None and idx.node.op.name in ("iota", "argmax", "argmin", "argsort"):
        return idx
    bound = broadcast_to(value_of(extent, idx.type.dtype), idx.type.shape)
    return ir.select(ir.lt(idx, scalar_like(idx, 0)), ir.add(idx, bound), idx)  # type: ignore[no-any-return]


@op("x", "indices")
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices at `indices` along `axis` (None: of the raveled tensor). Negative ones count from the end."""
    v, idx = value_of(x), to_int(value_of(indices))
    if axis is None:
        v, axis = reshaped(v, (-1,)), 0
    at = axis_of(axis, len(v.type.shape))
    return Tensor(ir.gather(v, wrapped(idx, v.type.shape[at]), axis=at))


@op("x", "indices")
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """out[i, j] = x[i, indices[i, j]], the index standing at `axis`."""
    v, idx = value_of(x), to_int(value_of(indices))
    if axis is None:
        v, idx, axis = reshaped(v, (-1,)), reshaped(idx, (-1,)), 0
    at = axis_of(axis, len(v.type.shape))
    a = tuple(1 if i == at else d for i, d in enumerate(v.type.shape))
    b = tuple(1 if i == at else d for i, d in enumerate(idx.type.shape))
    joint = joint_shape([a, b], "take_along_axis")
    full_x = tuple(v.type.shape[i] if i == at else d for i, d in enumerate(joint))
    full_i = tuple(idx.type.shape[i] if i == at else d for i, d in enumerate(joint))
    idx = wrapped(broadcast_to(idx, full_i), full_x[at])
    return Tensor(ir.take_along(broadcast_to(v, full_x), idx, axis=at))


@op("condition", "x1", "x2")
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2. Raises KCNotImplementedError KC106 with one argument."""
    if x1 is None or x2 is None:
        raise KCNotImplementedError(
            "KC106", "where(condition) with one argument", "the number of hits is known only from values",
            "give x1 and x2, or use NumPy before the model",
        )  # fmt: skip
    a, b = promoted((x1, x2))
    return Tensor(ir.select(*together((truth(condition), a, b), "where")))


@op("condlist", "choicelist", "default")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For each element the first choice whose condition holds, else `default`."""
    out = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        out = where(condition, choice, out)
    return out


def _is_tensor_index(k: Any) -> bool:
    return isinstance(k, (Tensor, Variable, np.ndarray, list))


@op("x", "key")
def get_item(x: Any, key: Any) -> Any:
    """x[key]: ints, slices, None, ..., and integer tensors. Raises for boolean masks in a trace."""
    v = value_of(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    if builtins.sum(k is Ellipsis for k in keys) > 1:
        raise KCIndexError(
            "KC104", f"key {key!r}", "an index has one ellipsis at most", "remove one"
        )
    used = builtins.sum(k is not None and k is not Ellipsis for k in keys)
    rank = len(v.type.shape)
    if used > rank:
        raise KCIndexError(
            "KC104",
            f"{used} indices for a tensor of rank {rank}",
            "there is one index per axis at most",
            "drop an index",
        )
    rest = [slice(None)] * (rank - used)
    if any(k is Ellipsis for k in keys):
        i = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[i : i + 1] = rest
    else:
        keys += rest
    return Tensor(_indexed(v, keys))


def _indexed(v: Value, keys: list[Any]) -> Value:
    start: list[Any] = []
    stop: list[Any] = []
    step: list[int] = []
    flips: list[int] = []
    shape: list[Any] = []  # after dropping int axes and adding new ones
    fancy: dict[int, Any] = {}  # axis of the result so far -> index tensor
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        n = v.type.shape[axis]
        if isinstance(k, slice):
            a, b, s, flipped = _bounds(k, n)
            if flipped:
                flips.append(axis)
            shape.append((b - a + (s - 1)) // s)
        elif isinstance(k, (int, np.integer, Dim)) and not isinstance(k, bool):
            i = k if isinstance(k, Dim) else int(k)
            if isinstance(n, int) and isinstance(i, int) and not -n <= i < n:
                raise KCIndexError(
                    "KC104",
                    f"index {i} on axis {axis} of extent {n}",
                    f"an index lies in [{-n}, {n})",
                    "pass an index in range",
                )
            a = i + n if isinstance(i, int) and i < 0 else i
            b, s = a + 1, 1
        elif _is_tensor_index(k):
            a, b, s = 0, n, 1
            fancy[len(shape)] = k
            shape.append(n)
        else:
            raise KCTypeError(
                "KC104",
                f"index {k!r}",
                "an index is an int, a slice, None, ... or an integer tensor",
                "use one of these",
            )
        start.append(a)
        stop.append(b)
        step.append(s)
        axis += 1
    if any(
        not (isinstance(a, int) and a == 0 and b == d and s == 1)
        for a, b, s, d in zip(start, stop, step, v.type.shape, strict=True)
    ):
        v = ir.slice_(v, start=tuple(start), stop=tuple(stop), step=tuple(step))
    if flips:
        v = ir.flip(v, axes=tuple(flips))
    v = reshaped(v, tuple(shape))
    return _fancy(v, fancy) if fancy else v


def _bounds(k: slice, n: Any) -> tuple[Any, Any, int, bool]:
    """start, stop, positive step, and whether to flip after."""
    step = 1 if k.step is None else int(k.step)
    if isinstance(n, int) and all(not isinstance(e, Dim) for e in (k.start, k.stop)):
        a, b, s = k.indices(n)
        picked = range(a, b, s)
        if len(picked) == 0:
            return 0, 0, 1, False
        if s < 0:
            return picked[-1], picked[0] + 1, -s, True
        return a, b, s, False
    a = 0 if k.start is None else k.start
    b = n if k.stop is None else k.stop
    if step < 0:
        if k.start is not None or k.stop is not None or step != -1:
            raise KCNotImplementedError(
                "KC106",
                f"slice {k} of an axis of unknown extent",
                "backwards it is all or nothing there",
                "slice forwards, then flip",
            )
        return 0, n, 1, True
    a = n + a if isinstance(a, int) and a < 0 else a
    b = n + b if isinstance(b, int) and b < 0 else b
    return a, b, step, False


def _fancy(v: Value, fancy: dict[int, Any]) -> Value:
    """`v` indexed by integer tensors on some axes, NumPy's rule for where the result stands."""
    axes = sorted(fancy)
    found = []
    for a in axes:
        idx = value_of(fancy[a] if not isinstance(fancy[a], list) else np.asarray(fancy[a]))
        if idx.type.dtype == "bool":
            raise KCNotImplementedError(
                "KC106", "a boolean mask as an index", "the number of hits is known only from values",
                "use where(mask, x, 0), or index in NumPy before the model",
            )  # fmt: skip
        found.append(wrapped(to_int(idx), v.type.shape[a]))
    if len(axes) == 1:
        return ir.gather(v, found[0], axis=axes[0])  # type: ignore[no-any-return]
    together_at = axes == list(range(axes[0], axes[0] + len(axes)))
    rest = [i for i in range(len(v.type.shape)) if i not in axes]
    at = axes[0] if together_at else 0
    perm = [*rest[:at], *axes, *rest[at:]]
    v = permuted(v, perm)
    found = together([_as_i32(f) for f in found], "indices")
    flat = found[0]
    for a, idx in zip(axes[1:], found[1:], strict=True):
        extent = v.type.shape[at + axes.index(a)]
        flat = ir.add(ir.mul(flat, broadcast_to(value_of(extent, "i32"), flat.type.shape)), idx)
    own = v.type.shape
    merged = reshaped(
        v, (*own[:at], dims.product(own[at : at + len(axes)]), *own[at + len(axes) :])
    )
    return ir.gather(merged, flat, axis=at)  # type: ignore[no-any-return]


def _as_i32(v: Value) -> Value:
    return v if v.type.dtype == "i32" else ir.cast(v, dtype="i32")


@op("x")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, as the last axis."""
    return Tensor(diagonal_of(value_of(x), offset, axis1, axis2))


def diagonal_of(v: Value, offset: int, axis1: int, axis2: int) -> Value:
    """The diagonal of two axes of known extent, as the last axis."""
    rank = len(v.type.shape)
    a, b = axis_of(axis1, rank), axis_of(axis2, rank)
    rest = [i for i in range(rank) if i not in (a, b)]
    v = permuted(v, [*rest, a, b])
    rows, columns = v.type.shape[-2:]
    i, j = (0, offset) if offset >= 0 else (-offset, 0)
    n = builtins.max(builtins.min(rows - i, columns - j), 0)
    flat = reshaped(v, (*v.type.shape[:-2], rows * columns))
    picks = np.arange(n, dtype=np.int32) * (columns + 1) + i * columns + j
    return ir.gather(flat, value_of(picks.astype(np.int32)), axis=rank - 2)  # type: ignore[no-any-return]


@op("x")
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with this diagonal."""
    v = value_of(x)
    if len(v.type.shape) == 2:
        return Tensor(diagonal_of(v, k, 0, 1))
    n = v.type.shape[0] + builtins.abs(k)
    low, high = (0, k) if k >= 0 else (-k, 0)
    zero = 0.0 if v.type.is_float else False if v.type.dtype == "bool" else 0
    line = ir.pad(v, low=(low,), high=(high,), interior=(0,), value=zero)
    spread = ir.broadcast(line, shape=(n, n), axes=(0,))
    row, column = (
        ir.iota(shape=(n, n), axis=0, dtype="i32"),
        ir.iota(shape=(n, n), axis=1, dtype="i32"),
    )
    hit = ir.eq(column, ir.add(row, scalar_like(row, k)))
    return Tensor(ir.select(hit, spread, scalar_like(spread, zero)))


@op("x")
def diagflat(x: Any, k: int = 0) -> Any:
    """A matrix with the raveled elements on its k-th diagonal."""
    return diag(reshaped_tensor(x), k)


def reshaped_tensor(x: Any) -> Tensor:
    """The elements in one axis."""
    return Tensor(reshaped(value_of(x), (-1,)))

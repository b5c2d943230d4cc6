"""Movement of IR values that the public operations share: reshape with -1, permute, join, cut.

Refuses to hold public operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ir.ops as ir
from ir import dims
from ir.graph import Value
from kcompile.errors import KCValueError
from kcompile.ops.operand import as_dtype, axis_of, shape_of


def reshaped(v: Value, newshape: Any) -> Value:
    """`v` in a shape that may hold one -1 (or None). Raises KCValueError KC102."""
    if isinstance(newshape, (list, tuple)):
        newshape = [-1 if d is None else d for d in newshape]
    shape = list(shape_of(newshape))
    free = [i for i, d in enumerate(shape) if isinstance(d, int) and d == -1]
    if len(free) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise KCValueError(
            "KC102",
            f"newshape={tuple(shape)}",
            "one extent may be -1, the others are not negative",
            "give the other extents",
        )
    size = v.type.size
    if free:
        rest = dims.product(d for d in shape if not (isinstance(d, int) and d == -1))
        quotient = 0 if isinstance(rest, int) and rest == 0 else dims.divide(size, rest)
        if quotient is None:
            raise KCValueError(
                "KC102", f"reshape of {v.type.shape} to {tuple(shape)}", f"{size} elements are no multiple of {rest}",
                "give a shape with as many elements",
            )  # fmt: skip
        shape[free[0]] = quotient
    if dims.product(shape) != size:
        raise KCValueError(
            "KC102", f"reshape of {v.type.shape} to {tuple(shape)}",
            f"both have as many elements, not {size} and {dims.product(shape)}", "give a shape with as many elements",
        )  # fmt: skip
    return v if tuple(shape) == v.type.shape else ir.reshape(v, shape=tuple(shape))


def permuted(v: Value, axes: Any = None) -> Value:
    """`v` with its axes in another order. Raises KCValueError KC104 unless `axes` is a permutation."""
    rank = len(v.type.shape)
    perm = tuple(range(rank - 1, -1, -1)) if axes is None else tuple(axis_of(a, rank) for a in axes)
    if sorted(perm) != list(range(rank)):
        raise KCValueError(
            "KC104",
            f"axes={axes} for rank {rank}",
            "axes name each axis once",
            "pass a permutation",
        )
    return v if perm == tuple(range(rank)) else ir.transpose(v, perm=perm)


def joined(values: Sequence[Value], axis: int) -> Value:
    """Values concatenated. Raises KCValueError KC102 where other extents differ."""
    first = values[0].type.shape
    axis = axis_of(axis, len(first))
    for v in values:
        own = v.type.shape
        if len(own) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(own, first, strict=True)) if i != axis
        ):
            raise KCValueError(
                "KC102", f"concatenation of {', '.join(str(w.type.shape) for w in values)} along axis {axis}",
                "all extents but that axis are equal", "reshape or crop the tensors first",
            )  # fmt: skip
    return values[0] if len(values) == 1 else ir.concat(*values, axis=axis)


def cut(v: Value, axis: int, start: Any, stop: Any, step: int = 1) -> Value:
    """v[start:stop:step] along one axis, bounds in range."""
    shape = v.type.shape
    one = [i == axis for i in range(len(shape))]
    return ir.slice_(  # type: ignore[no-any-return]
        v,
        start=tuple(start if k else 0 for k in one),
        stop=tuple(stop if k else d for k, d in zip(one, shape, strict=True)),
        step=tuple(step if k else 1 for k in one),
    )


def to_int(v: Value) -> Value:
    """Indices as int32 (int64 stays)."""
    return v if v.type.dtype in ("i32", "i64") else as_dtype(v, "i32")

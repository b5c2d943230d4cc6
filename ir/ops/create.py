"""Ops without operands: constants, counters and the value of a dimension; and `full_like`.

Refuses to hold random numbers (`ir.ops.random`): those read a seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ir.dims import DimLike
from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.rules import Array, number, require, valid_axis
from ir.types import FLOATS, INTS, NUMPY, Type


def _full_type(value: Any, shape: tuple[DimLike, ...], dtype: str) -> Type:
    require(dtype in FLOATS or not isinstance(value, float), f"{value!r} is not of dtype {dtype}")
    require(dtype != "bool" or isinstance(value, bool), f"{value!r} is not a bool")
    if dtype in INTS:
        info = np.iinfo(NUMPY[dtype])
        require(info.min <= value <= info.max, f"{value!r} does not fit {dtype}")
    return Type(dtype, shape)


full: Op = op(
    "full", "A constant `value` in every element.",
    arity=0,
    attrs=(Attr("value", "scalar"), Attr("shape", "dims"), Attr("dtype", "dtype")),
    type=_full_type,
    meaning=lambda value, shape, dtype: np.full(shape, value, NUMPY[dtype]),
    vjp=lambda ct, out, value, shape, dtype: (),
    flops=lambda value, shape, dtype: 0,
)  # fmt: skip


def _iota_meaning(shape: tuple[int, ...], axis: int, dtype: str) -> Array:
    line = np.arange(shape[axis]).astype(NUMPY[dtype])
    line = line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.array(np.broadcast_to(line, shape))


def _iota_type(shape: tuple[DimLike, ...], axis: int, dtype: str) -> Type:
    out = number(Type(dtype, shape))
    valid_axis(out, axis)
    return out


iota: Op = op(
    "iota", "The index of each element along `axis`.",
    arity=0,
    attrs=(Attr("shape", "dims"), Attr("axis", "int"), Attr("dtype", "dtype")),
    type=_iota_type,
    meaning=_iota_meaning,
    vjp=lambda ct, out, shape, axis, dtype: (),
    flops=lambda shape, axis, dtype: 0,
)  # fmt: skip

size: Op = op(
    "size", "The value of a dimension, as a scalar.",
    arity=0,
    attrs=(Attr("dim", "dim"), Attr("dtype", "dtype")),
    type=lambda dim, dtype: number(Type(dtype, ())),
    meaning=lambda dim, dtype: np.array(dim, NUMPY[dtype]),
    vjp=lambda ct, out, dim, dtype: (),
    flops=lambda dim, dtype: 0,
)  # fmt: skip


def full_like(x: Value, value: Any) -> Value:
    """A constant of the type of `x`; `value` is spelled in that dtype."""
    v = float(value) if x.dtype in FLOATS else value
    out: Value = full(value=v, shape=x.shape, dtype=x.dtype)
    return out


def zeros_like(x: Value) -> Value:
    """Zeros of the type of `x`."""
    return full_like(x, False if x.dtype == "bool" else 0)

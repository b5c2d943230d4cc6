"""The checks that type rules share: kinds of dtype, equal operands, valid axes.

Refuses to hold any op's rule; what only one op checks is written at that op.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ir.op import IRError
from ir.types import FLOATS, INTS, Type

Array: TypeAlias = np.ndarray[Any, Any]

NUMBERS = FLOATS + INTS
INDICES = ("i32", "i64")


def require(condition: bool, rule: str) -> None:
    """Raise IRError with the broken `rule` unless `condition`."""
    if not condition:
        raise IRError(rule)


def of_kind(x: Type, dtypes: Sequence[str], what: str) -> Type:
    """`x`, whose dtype must be among `dtypes`, called `what` in the error."""
    if x.dtype not in dtypes:
        raise IRError(f"the dtype must be {what}, not {x.dtype}; cast first")
    return x


def floating(x: Type) -> Type:
    """`x`, which must be floating."""
    return of_kind(x, FLOATS, "floating")


def number(x: Type) -> Type:
    """`x`, which must not be bool."""
    return of_kind(x, NUMBERS, "a number")


def boolean(x: Type) -> Type:
    """`x`, which must be bool."""
    return of_kind(x, ("bool",), "bool")


def index(x: Type) -> Type:
    """`x`, which must be i32 or i64."""
    return of_kind(x, INDICES, "an index type (i32, i64)")


def equal(*types: Type) -> Type:
    """The one type of all operands: there is no broadcasting and no promotion."""
    first = types[0]
    for t in types[1:]:
        if t is not first:
            raise IRError(
                f"operands must have one type, not {first} and {t}; broadcast or cast first"
            )
    return first


def valid_axis(x: Type, axis: int) -> int:
    """`axis`, which must be in 0..rank-1 (negative axes are the front door's)."""
    if not 0 <= axis < x.rank:
        raise IRError(f"axis {axis} is not in 0..{x.rank - 1}")
    return axis


def valid_axes(x: Type, axes: Sequence[int]) -> None:
    """Axes must be in range and strictly increasing, so that equal meaning has one spelling."""
    for a in axes:
        valid_axis(x, a)
    if any(a >= b for a, b in itertools.pairwise(axes)):
        raise IRError(f"axes must be strictly increasing, not {tuple(axes)}")


def without(shape: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """`shape` with `axes` dropped."""
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def accumulator(x: Array) -> Any:
    """The dtype in which the meaning adds and multiplies elements of x: f32 for f16, else that of x."""
    return np.float32 if x.dtype == np.float16 else x.dtype

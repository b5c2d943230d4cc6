"""Operations of `keras.ops` that put tensors together and take them apart: concatenate, stack, split, ...

Refuses to hold what moves elements within one tensor (`numpy_shape`).
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import ir.ops as ir
from ir import dims
from ir.graph import Value
from kcompile.errors import KCValueError
from kcompile.operation import defines
from kcompile.ops.movement import cut, joined, reshaped
from kcompile.ops.operand import axis_of, promoted, value_of
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")


@op("xs")
def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors one after the other along `axis` (None: raveled)."""
    values = promoted(list(xs))
    if axis is None:
        values, axis = [reshaped(v, (-1,)) for v in values], 0
    return Tensor(joined(values, axis))


@op("x")
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape along a new axis."""
    values = promoted(list(x))
    rank = len(values[0].type.shape)
    at = axis_of(axis, rank + 1)
    new = [ir.reshape(v, shape=(*v.type.shape[:at], 1, *v.type.shape[at:])) for v in values]
    return Tensor(joined(new, at))


@op("xs")
def vstack(xs: Sequence[Any]) -> Any:
    """Tensors above each other."""
    return Tensor(joined([_at_least(v, 2) for v in promoted(list(xs))], 0))


@op("xs")
def hstack(xs: Sequence[Any]) -> Any:
    """Tensors beside each other."""
    values = [_at_least(v, 1) for v in promoted(list(xs))]
    return Tensor(joined(values, 0 if len(values[0].type.shape) == 1 else 1))


@op("xs")
def dstack(xs: Sequence[Any]) -> Any:
    """Tensors behind each other, along the third axis."""
    values = []
    for v in promoted(list(xs)):
        v = _at_least(v, 2)
        values.append(v if len(v.type.shape) > 2 else ir.reshape(v, shape=(*v.type.shape, 1)))
    return Tensor(joined(values, 2))


def _at_least(v: Value, rank: int) -> Value:
    shape = v.type.shape
    return v if len(shape) >= rank else ir.reshape(v, shape=(1,) * (rank - len(shape)) + shape)


@op("x1", "x2")
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 after x1 along `axis`, or both raveled."""
    return concatenate([x1, x2], axis)


@op("x")
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of equal parts (a number), or of the parts between indices."""
    v = value_of(x)
    at = axis_of(axis, len(v.type.shape))
    extent = v.type.shape[at]
    if isinstance(indices_or_sections, (int, np.integer)):
        part = dims.divide(extent, int(indices_or_sections))
        if part is None:
            raise KCValueError(
                "KC102", f"split of extent {extent} into {indices_or_sections} parts", "the parts are equal",
                "pass indices, or a number that divides the extent",
            )  # fmt: skip
        bounds = [part * i for i in range(int(indices_or_sections) + 1)]
    else:
        bounds = [0, *(_index(i, extent) for i in indices_or_sections), extent]
    return [Tensor(cut(v, at, a, b)) for a, b in itertools.pairwise(bounds)]


def _index(i: Any, extent: Any) -> Any:
    i = int(i)
    if isinstance(extent, int):
        return builtins.min(i, extent) if i >= 0 else builtins.max(extent + i, 0)
    return i if i >= 0 else extent + i


@op("x")
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of parts as equal as possible (a number), or of the parts between indices."""
    v = value_of(x)
    if isinstance(indices_or_sections, (int, np.integer)):
        n, k = v.type.shape[axis_of(axis, len(v.type.shape))], int(indices_or_sections)
        sizes = [n // k + (i < n % k) for i in range(k)]
        indices_or_sections = [int(i) for i in np.cumsum(sizes[:-1])]
    return split(x, indices_or_sections, axis)


def _splitter(name: str, doc: str, axis: int) -> Any:
    def fn(x: Any, indices_or_sections: Any) -> Any:
        rank = len(value_of(x).type.shape)
        return split(x, indices_or_sections, 0 if name == "hsplit" and rank == 1 else axis)

    fn.__name__, fn.__qualname__, fn.__doc__ = name, name, doc
    return op("x")(fn)


hsplit = _splitter("hsplit", "Split along the second axis.", 1)
vsplit = _splitter("vsplit", "Split along the first axis.", 0)
dsplit = _splitter("dsplit", "Split along the third axis.", 2)

"""What every operation does to its operands: values of arrays and scalars, promotion, broadcasting.

Works on IR values inside a trace. Refuses to hold public operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ir.ops as ir
import kcompile.config as config
from ir.dims import Dim
from ir.graph import Value, graph_of, reachable
from ir.interpret import interpret
from kcompile.dtypes import FROM_IR, TO_IR, result_type, standardize_dtype
from kcompile.errors import KCIndexError, KCNotImplementedError, KCTypeError, KCValueError
from kcompile.tensor import Tensor
from kcompile.trace import Trace, to_array
from kcompile.variable import Variable, current_trace


def dense_only(what: str, wanted: object) -> None:
    """Refuse a sparse or ragged result. Raises KCNotImplementedError KC109."""
    if wanted:
        raise KCNotImplementedError(
            "KC109",
            f"{what}(sparse=True) or (ragged=True)",
            "every tensor is dense",
            "leave the argument out",
        )


FLOATS = ("f16", "bf16", "f32", "f64")


def trace() -> Trace:
    """The active trace. Raises KCTypeError KC105 when there is none."""
    found = current_trace()
    if found is None:
        raise KCTypeError(
            "KC105", "a traced tensor outside its trace", "a Tensor has a meaning only while it is traced",
            "return values from the traced function and use those",
        )  # fmt: skip
    return found  # type: ignore[no-any-return]


def value_of(x: Any, dtype: str | None = None) -> Value:
    """The IR value of any operand; `dtype` (IR) is taken by Python scalars and dimensions."""
    if type(x) is Tensor:
        return x.value
    if isinstance(x, Dim):
        return ir.size(dim=x, dtype=dtype or "i32")  # type: ignore[no-any-return]
    if isinstance(x, (list, tuple)) and any(isinstance(e, (Tensor, Dim, Variable)) for e in x):
        values = [ir.reshape(v, shape=(1, *v.shape)) for v in promoted(x)]
        return ir.concat(*values, axis=0)  # type: ignore[no-any-return]
    return trace().value(x, dtype)


def dtype_of(x: Any) -> Any:
    """What promotion is told about `x`: a Keras dtype name, or a weak Python scalar's type."""
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return type(x)
    if isinstance(x, Dim):
        return int
    found = getattr(x, "dtype", None)
    if found is not None:
        return found if type(found) is str else standardize_dtype(found)
    if isinstance(x, (list, tuple)) and any(isinstance(e, (Tensor, Dim, Variable)) for e in x):
        return result_type(*(dtype_of(e) for e in x))
    return standardize_dtype(to_array(x).dtype)


def as_dtype(v: Value, dtype: str) -> Value:
    """`v` cast to an IR dtype, itself where it already is."""
    return v if v.type.dtype == dtype else ir.cast(v, dtype=dtype)


def promoted(xs: Sequence[Any], *more: Any) -> list[Value]:
    """The values of `xs` in the dtype where they (and the dtypes `more`) meet."""
    dtype = TO_IR[result_type(*(dtype_of(x) for x in xs), *more)]
    return [as_dtype(value_of(x, dtype), dtype) for x in xs]


def joint_shape(shapes: Sequence[tuple[Any, ...]], what: str = "broadcast") -> tuple[Any, ...]:
    """The shape to which shapes broadcast together. Raises KCValueError KC102."""
    rank = max(map(len, shapes))
    out: list[Any] = [1] * rank
    for shape in shapes:
        for i, d in enumerate(shape, rank - len(shape)):
            if out[i] == 1 and not isinstance(out[i], Dim):
                out[i] = d
            elif d is not out[i] and d != out[i] and not (isinstance(d, int) and d == 1):
                raise KCValueError(
                    "KC102", f"{what} of shapes {' and '.join(map(str, shapes))}",
                    "aligned at the last axis, extents are equal or one of them is 1", "reshape or expand_dims one operand",
                )  # fmt: skip
    return tuple(out)


def broadcast_to(v: Value, shape: tuple[Any, ...]) -> Value:
    """`v` repeated to `shape`, NumPy style."""
    own = v.type.shape
    if own == shape:
        return v
    node = v.node
    if node is not None and node.op.name == "full":
        return ir.full(value=node.attr("value"), shape=shape, dtype=v.type.dtype)  # type: ignore[no-any-return]
    lead = len(shape) - len(own)
    kept = [i for i, d in enumerate(own) if d == shape[lead + i]]
    if len(kept) != len(own):
        v = ir.reshape(v, shape=tuple(own[i] for i in kept))
    if len(kept) == len(shape):
        return v
    return ir.broadcast(v, shape=shape, axes=tuple(lead + i for i in kept))  # type: ignore[no-any-return]


def together(values: Sequence[Value], what: str = "broadcast") -> list[Value]:
    """Values broadcast to their joint shape."""
    first = values[0].type.shape
    if all(v.type.shape == first for v in values):
        return list(values)
    shape = joint_shape([v.type.shape for v in values], what)
    return [broadcast_to(v, shape) for v in values]


def binary(op: Callable[..., Value], x1: Any, x2: Any, *more: Any, what: str = "") -> Tensor:
    """An IR operation on two operands, promoted (with dtypes `more`) and broadcast."""
    a, b = together(promoted((x1, x2), *more), what or getattr(op, "name", "broadcast"))
    return Tensor(op(a, b))


def inexact(x: Any) -> Value:
    """The value of `x`; ints and bools as floatx."""
    v = value_of(x)
    if v.type.dtype in FLOATS:
        return v
    wide = "float64" if v.type.dtype == "i64" and config.floatx() == "float64" else config.floatx()
    return ir.cast(v, dtype=TO_IR[wide])  # type: ignore[no-any-return]


def unary(op: Callable[[Value], Value], x: Any) -> Tensor:
    """An IR operation on one float operand."""
    return Tensor(op(inexact(x)))


def tensor(x: Any) -> Tensor:
    """`x` as a Tensor (itself if it is one)."""
    return x if type(x) is Tensor else Tensor(value_of(x))


def scalar_like(v: Value, number: float) -> Value:
    """`number` in the type of `v`."""
    return ir.full(value=number, shape=v.type.shape, dtype=v.type.dtype)  # type: ignore[no-any-return]


def axis_of(axis: Any, rank: int, what: str = "axis") -> int:
    """A non-negative axis. Raises KCIndexError KC104 out of range."""
    i = int(axis)
    if not -rank <= i < rank:
        raise KCIndexError(
            "KC104",
            f"{what}={axis} for a tensor of rank {rank}",
            f"an axis lies in [{-rank}, {rank})",
            "pass an axis the tensor has",
        )
    return i % rank


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """Sorted non-negative axes of an int, a sequence, or None for all. Raises KCIndexError KC104."""
    if axis is None:
        return tuple(range(rank))
    if isinstance(axis, (int, np.integer)):
        return (axis_of(axis, rank),)
    return tuple(sorted({axis_of(a, rank) for a in axis}))


def keras_dtype(v: Value) -> str:
    """The Keras name of a value's dtype."""
    return FROM_IR[v.type.dtype]


def shape_of(shape: Any) -> tuple[Any, ...]:
    """A shape argument as a tuple of ints and Dims; tensors made of extents and numbers count as those."""
    if isinstance(shape, Tensor):
        found = extents(shape.value)
        shape = shape if found is None else found
    elif isinstance(shape, (int, np.integer, Dim)):
        shape = (shape,)
    return tuple(_extent(d) for d in shape)


def _extent(d: Any) -> Any:
    if isinstance(d, Tensor):
        found = extents(d.value)
        d = d if found is None else found[0]
    return d if isinstance(d, Dim) else int(d)


def extents(v: Value) -> list[Any] | None:
    """What a scalar or row of ints holds that was put together from `shape(x)` and numbers; None where that is not known."""
    node = v.node
    if node is None or v.type.is_float or len(v.type.shape) > 1:
        return None
    name = node.op.name
    if name == "size":
        return [node.attr("dim")]
    if name == "concat":
        rows = [extents(i) for i in node.inputs]
        return None if None in rows else [d for row in rows for d in row or ()]
    if name in ("cast", "reshape"):
        return extents(node.inputs[0])
    nodes = reachable([v])
    if any(n.op.name == "size" or any(i.node is None for i in n.inputs) for n in nodes):
        return None
    (numbers,) = interpret(graph_of("numbers", (), [v]), [])
    return [int(n) for n in numbers.reshape(-1)]

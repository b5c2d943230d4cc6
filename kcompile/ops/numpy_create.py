"""Operations of `keras.ops` that make tensors: zeros, full, arange, linspace, eye, triangles, ...

Refuses to hold random numbers (`kcompile.random`).
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

import ir.ops as ir
import kcompile.config as config
from ir.dims import Dim
from ir.graph import Value
from kcompile.dtypes import TO_IR, result_type, standardize_dtype
from kcompile.operation import defines
from kcompile.ops.operand import (
    as_dtype,
    axis_of,
    broadcast_to,
    dtype_of,
    keras_dtype,
    promoted,
    scalar_like,
    shape_of,
    tensor,
    value_of,
)
from kcompile.tensor import Tensor
from kcompile.trace import to_array

op = defines("keras.src.ops.numpy")


def constant(number: Any, shape: Any, dtype: str) -> Tensor:
    """A tensor of one number; `dtype` as Keras spells it."""
    name = TO_IR[dtype]
    number = (
        float(number)
        if name[0] == "f" or name == "bf16"
        else bool(number)
        if name == "bool"
        else int(number)
    )
    return Tensor(ir.full(value=number, shape=shape_of(shape), dtype=name))


@op()
def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros, floatx by default."""
    return constant(0, shape, standardize_dtype(dtype))


@op()
def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones, floatx by default."""
    return constant(1, shape, standardize_dtype(dtype))


@op()
def empty(shape: Any, dtype: Any = None) -> Any:
    """Zeros: nothing is left undefined."""
    return constant(0, shape, standardize_dtype(dtype))


@op("fill_value")
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """`fill_value` (a number or a tensor to broadcast) everywhere, floatx by default."""
    name = standardize_dtype(dtype)
    if isinstance(fill_value, (bool, int, float, np.generic)):
        return constant(fill_value, shape, name)
    return Tensor(broadcast_to(as_dtype(value_of(fill_value), TO_IR[name]), shape_of(shape)))


def _like(x: Any, number: Any, dtype: Any) -> Tensor:
    v = value_of(x)
    return constant(
        number, v.type.shape, keras_dtype(v) if dtype is None else standardize_dtype(dtype)
    )


@op("x")
def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape (and dtype) of `x`."""
    return _like(x, 0, dtype)


@op("x")
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of the shape (and dtype) of `x`."""
    return _like(x, 1, dtype)


@op("x")
def empty_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape (and dtype) of `x`."""
    return _like(x, 0, dtype)


@op("x", "fill_value")
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """`fill_value` in the shape (and dtype) of `x`."""
    v = value_of(x)
    name = keras_dtype(v) if dtype is None else standardize_dtype(dtype)
    if isinstance(fill_value, (bool, int, float, np.generic)):
        return constant(fill_value, v.type.shape, name)
    return Tensor(broadcast_to(as_dtype(value_of(fill_value), TO_IR[name]), v.type.shape))


@op("start", "stop", "step")
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """Numbers from start (0) up to, not including, stop, in steps. Bounds are numbers or dimensions."""
    given = [d for d in (start, stop, step) if d is not None]
    if dtype is None:
        kinds = [float if isinstance(d, (float, np.floating)) else int for d in given]
        dtype = result_type(*kinds)
    name = TO_IR[standardize_dtype(dtype)]
    first, last = (0, start) if stop is None else (start, stop)
    stride = 1 if step is None else step
    if isinstance(first, Dim) or isinstance(last, Dim):
        n: Any = (
            (last - first + (stride - 1)) // stride
            if stride > 0
            else (first - last + (-stride - 1)) // -stride
        )
    else:
        first, last, stride = (
            d.item() if isinstance(d, np.generic) else d for d in (first, last, stride)
        )
        n = builtins.max(int(np.ceil((last - first) / stride)), 0)
    work = "f32" if name in ("f16", "bf16") else name
    line = ir.iota(shape=(n,), axis=0, dtype=work)
    if stride != 1:
        line = ir.mul(line, scalar_like(line, float(stride) if work[0] == "f" else int(stride)))
    if isinstance(first, Dim) or first != 0:
        line = ir.add(line, broadcast_to(value_of(first, work), (n,)))
    return Tensor(as_dtype(line, name))


@op("start", "stop")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal distances from start to stop."""
    name = (
        standardize_dtype(dtype)
        if dtype is not None
        else result_type(dtype_of(start), dtype_of(stop), float)
    )
    a, b = promoted((start, stop), "float32" if name in ("float16", "bfloat16") else name)
    a, b = (as_dtype(v, TO_IR[name] if name.startswith("float") else "f32") for v in (a, b))
    shape = np.broadcast_shapes(a.type.shape, b.type.shape)
    a, b = broadcast_to(a, shape), broadcast_to(b, shape)
    steps = num - 1 if endpoint else num
    step = ir.div(ir.sub(b, a), scalar_like(a, float(builtins.max(steps, 1))))
    wide = (num, *shape)
    counter = ir.iota(shape=wide, axis=0, dtype=step.type.dtype)
    line = ir.add(ir.mul(counter, broadcast_to(step, wide)), broadcast_to(a, wide))
    if endpoint and num > 1:
        last = ir.eq(counter, scalar_like(counter, float(num - 1)))
        line = ir.select(last, broadcast_to(b, wide), line)
    rank = len(wide)
    at = axis_of(axis, rank)
    if at:
        perm = [*range(1, rank)]
        perm.insert(at, 0)
        line = ir.transpose(line, perm=tuple(perm))
    out = Tensor(as_dtype(line, TO_IR[name]))
    return (out, Tensor(step)) if retstep else out


@op()
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on the k-th diagonal, zeros elsewhere."""
    shape = shape_of((N, N if M is None else M))
    return Tensor(as_dtype(on_diagonal(shape, k), TO_IR[standardize_dtype(dtype)]))


@op()
def identity(n: Any, dtype: Any = None) -> Any:
    """The unit matrix."""
    return eye(n, dtype=dtype)


def on_diagonal(shape: tuple[Any, ...], k: int, compare: Any = None) -> Value:
    """bool: where column == row + k in the last two axes (or another comparison of them)."""
    rank = len(shape)
    row = ir.iota(shape=shape, axis=rank - 2, dtype="i32")
    column = ir.iota(shape=shape, axis=rank - 1, dtype="i32")
    if k:
        row = ir.add(row, scalar_like(row, k))
    return (compare or ir.eq)(column, row)  # type: ignore[no-any-return]


@op()
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones at and below the k-th diagonal."""
    shape = shape_of((N, N if M is None else M))
    return Tensor(as_dtype(on_diagonal(shape, k, ir.le), TO_IR[standardize_dtype(dtype)]))


@op("x")
def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle, zeros above the k-th diagonal."""
    v = value_of(x)
    return Tensor(ir.select(on_diagonal(v.type.shape, k, ir.le), v, _zero(v)))


@op("x")
def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle, zeros below the k-th diagonal."""
    v = value_of(x)
    return Tensor(ir.select(on_diagonal(v.type.shape, k, ir.ge), v, _zero(v)))


def _zero(v: Value) -> Value:
    return scalar_like(v, False if v.type.dtype == "bool" else 0.0 if v.type.is_float else 0)


@op("x")
def array(x: Any, dtype: Any = None) -> Any:
    """`x` as a tensor."""
    return as_tensor(x, dtype)


def as_tensor(x: Any, dtype: Any = None) -> Tensor:
    """`x` as a tensor, cast to a Keras dtype where one is given."""
    if dtype is None:
        return tensor(_default_scalar(x))
    name = TO_IR[standardize_dtype(dtype)]
    return Tensor(as_dtype(value_of(x, name), name))


def _default_scalar(x: Any) -> Any:
    if isinstance(x, float) and not isinstance(x, np.generic) and config.floatx() != "float32":
        return to_array(np.asarray(x, TO_IR and config.floatx()))
    return x

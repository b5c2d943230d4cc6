"""Operations of `keras.ops` that move elements: reshape, transpose, concatenate, pad, tile, flip, ...

Refuses to hold creation (`numpy_create`) and indexing by values (`numpy_index`).
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

import ir.ops as ir
from ir.dims import Dim
from ir.graph import Value
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.operation import defines
from kcompile.ops.movement import cut, joined, permuted, reshaped
from kcompile.ops.operand import axes_of, axis_of, shape_of, tensor, value_of
from kcompile.ops.operand import broadcast_to as spread
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")


@op("x")
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements in another shape; one extent may be -1."""
    return Tensor(reshaped(value_of(x), newshape))


@op("x")
def ravel(x: Any) -> Any:
    """The elements in one axis."""
    return Tensor(reshaped(value_of(x), (-1,)))


@op("x")
def transpose(x: Any, axes: Any = None) -> Any:
    """Axis i of the result is axis axes[i]; all reversed by default."""
    return Tensor(permuted(value_of(x), axes))


@op("x")
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    v = value_of(x)
    perm = list(range(len(v.type.shape)))
    a, b = axis_of(axis1, len(perm)), axis_of(axis2, len(perm))
    perm[a], perm[b] = perm[b], perm[a]
    return Tensor(permuted(v, perm))


@op("x")
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes `source` at the places `destination`, the others in order."""
    v = value_of(x)
    rank = len(v.type.shape)
    src = [axis_of(a, rank) for a in ([source] if isinstance(source, int) else source)]
    dst = [
        axis_of(a, rank) for a in ([destination] if isinstance(destination, int) else destination)
    ]
    perm = [i for i in range(rank) if i not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        perm.insert(d, s)
    return Tensor(permuted(v, perm))


@op("x")
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of extent one at `axis` (an int or several) of the result."""
    v = value_of(x)
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    rank = len(v.type.shape) + len(axes)
    at = {axis_of(a, rank) for a in axes}
    own = iter(v.type.shape)
    return Tensor(ir.reshape(v, shape=tuple(1 if i in at else next(own) for i in range(rank))))


@op("x")
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without the axes of extent one (all, or those given). Raises KCValueError KC102."""
    v = value_of(x)
    shape = v.type.shape
    if axis is None:
        at = {i for i, d in enumerate(shape) if isinstance(d, int) and d == 1}
    else:
        at = set(axes_of(axis, len(shape)))
    for i in at:
        if (isinstance(shape[i], int) and shape[i] != 1) or isinstance(shape[i], Dim):
            raise KCValueError(
                "KC102",
                f"squeeze of axis {i} of {shape}",
                "only an axis of extent 1 can go",
                "pick another axis",
            )
    return Tensor(reshaped(v, tuple(d for i, d in enumerate(shape) if i not in at)))


@op("x")
def tile(x: Any, repeats: Any) -> Any:
    """The whole repeated along each axis."""
    v = value_of(x)
    counts = list(shape_of(repeats))
    rank = builtins.max(len(counts), len(v.type.shape))
    counts = [1] * (rank - len(counts)) + counts
    own = (1,) * (rank - len(v.type.shape)) + v.type.shape
    wide, shape, axes = [], [], []
    for d, n in zip(own, counts, strict=True):
        if n != 1:
            wide.append(n)
        axes.append(len(wide))
        wide.append(d)
        shape.append(d * n)
    v = reshaped(v, own)
    if len(wide) > rank:
        v = ir.broadcast(v, shape=tuple(wide), axes=tuple(axes))
    return Tensor(reshaped(v, tuple(shape)))


@op("x")
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element repeated `repeats` times (an int, or one per element) along `axis`."""
    v = value_of(x)
    if axis is None:
        v, axis = reshaped(v, (-1,)), 0
    at = axis_of(axis, len(v.type.shape))
    own = v.type.shape
    if not isinstance(repeats, (int, np.integer)):
        counts = np.asarray(repeats)
        if counts.size > 1:
            rows = np.repeat(np.arange(own[at]), counts).astype(np.int32)
            return Tensor(ir.gather(v, value_of(rows), axis=at))
        repeats = int(counts.reshape(-1)[0])
    n = int(repeats)
    wide = (*own[: at + 1], n, *own[at + 1 :])
    axes = tuple(i if i <= at else i + 1 for i in range(len(own)))
    v = ir.broadcast(v, shape=wide, axes=axes)
    return Tensor(ir.reshape(v, shape=(*own[:at], own[at] * n, *own[at + 1 :])))


@op("x")
def broadcast_to(x: Any, shape: Any) -> Any:
    """`x` repeated to `shape`, NumPy style. Raises KCValueError KC102."""
    v, want = value_of(x), shape_of(shape)
    own = v.type.shape
    lead = len(want) - len(own)
    if lead < 0 or any(
        d != want[lead + i] and not (isinstance(d, int) and d == 1) for i, d in enumerate(own)
    ):
        raise KCValueError(
            "KC102", f"broadcast of {own} to {want}", "only extents of 1 grow", "reshape first"
        )
    return Tensor(spread(v, want))


@op("x", "constant_values")
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Elements added around: "constant", "reflect", "symmetric", "edge" or "wrap"."""
    v = value_of(x)
    rank = len(v.type.shape)
    widths = pad_width
    if isinstance(widths, (int, np.integer)):
        widths = ((widths, widths),) * rank
    elif len(widths) == 2 and isinstance(widths[0], (int, np.integer)):
        widths = (tuple(widths),) * rank
    elif len(widths) == 1 and rank > 1:
        widths = tuple(widths) * rank
    low, high = tuple(int(a) for a, _ in widths), tuple(int(b) for _, b in widths)
    if mode == "constant":
        value = 0 if constant_values is None else constant_values
        number = (
            float(value)
            if v.type.is_float
            else bool(value)
            if v.type.dtype == "bool"
            else int(value)
        )
        return Tensor(ir.pad(v, low=low, high=high, interior=(0,) * rank, value=number))
    if mode not in ("reflect", "symmetric", "edge", "wrap"):
        raise KCNotImplementedError(
            "KC109",
            f"pad(mode={mode!r})",
            "modes are constant, reflect, symmetric, edge, wrap",
            "use one of them",
        )
    for i in range(rank):
        v = _pad_axis(v, i, low[i], high[i], mode)
    return Tensor(v)


def _pad_axis(v: Value, axis: int, low: int, high: int, mode: str) -> Value:
    if not low and not high:
        return v
    n = v.type.shape[axis]
    if mode == "edge":
        parts = [cut(v, axis, 0, 1)] * low + [v] + [cut(v, axis, n - 1, n)] * high
    elif mode == "wrap":
        parts = [cut(v, axis, n - low, n)] * (low > 0) + [v] + [cut(v, axis, 0, high)] * (high > 0)
    else:
        skip = 1 if mode == "reflect" else 0
        parts = [v]
        if low:
            parts.insert(0, ir.flip(cut(v, axis, skip, skip + low), axes=(axis,)))
        if high:
            parts.append(ir.flip(cut(v, axis, n - skip - high, n - skip), axes=(axis,)))
    return joined(parts, axis)


@op("x")
def flip(x: Any, axis: Any = None) -> Any:
    """In reverse order along `axis` (all by default)."""
    v = value_of(x)
    return Tensor(ir.flip(v, axes=axes_of(axis, len(v.type.shape))))


@op("x")
def fliplr(x: Any) -> Any:
    """The second axis reversed."""
    return Tensor(ir.flip(value_of(x), axes=(1,)))


@op("x")
def flipud(x: Any) -> Any:
    """The first axis reversed."""
    return Tensor(ir.flip(value_of(x), axes=(0,)))


@op("array")
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned by `k` quarters in the plane of two axes."""
    v = value_of(array)
    a, b = (axis_of(i, len(v.type.shape)) for i in axes)
    perm = list(range(len(v.type.shape)))
    perm[a], perm[b] = b, a
    k %= 4
    if k == 2:
        return Tensor(ir.flip(v, axes=tuple(sorted((a, b)))))
    if k == 1:
        return Tensor(ir.transpose(ir.flip(v, axes=(b,)), perm=tuple(perm)))
    return Tensor(v if k == 0 else ir.flip(ir.transpose(v, perm=tuple(perm)), axes=(b,)))


@op("x")
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Shifted along `axis`, what leaves at one end enters at the other."""
    v = value_of(x)
    if axis is None:
        return Tensor(reshaped(_rolled(reshaped(v, (-1,)), int(shift), 0), v.type.shape))
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, (int, np.integer)) else list(shift)
    for s, a in zip(shifts, axes, strict=True):
        v = _rolled(v, int(s), axis_of(a, len(v.type.shape)))
    return Tensor(v)


def _rolled(v: Value, shift: int, axis: int) -> Value:
    n = v.type.shape[axis]
    if isinstance(n, int):
        shift = shift % n if n else 0
        if shift == 0:
            return v
    start = n - shift if shift > 0 else -shift
    return ir.concat(cut(v, axis, start, n), cut(v, axis, 0, start), axis=axis)  # type: ignore[no-any-return]


@op("a")
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along `axis`, `n` times."""
    v = value_of(a)
    at = axis_of(axis, len(v.type.shape))
    for _ in range(n):
        extent = v.type.shape[at]
        later, earlier = cut(v, at, 1, extent), cut(v, at, 0, extent - 1)
        v = ir.logical_xor(later, earlier) if v.type.dtype == "bool" else ir.sub(later, earlier)
    return Tensor(v)


@op("*")
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinates on a grid: a list of tensors, one per axis."""
    values = [reshaped(value_of(v), (-1,)) for v in x]
    order = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        order[0], order[1] = 1, 0
    shape = tuple(values[i].type.shape[0] for i in order)
    return [
        Tensor(ir.broadcast(v, shape=shape, axes=(order.index(i),))) for i, v in enumerate(values)
    ]


@op("x")
def copy(x: Any) -> Any:
    """The same values."""
    return tensor(x)

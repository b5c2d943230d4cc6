"""Operations of `keras.ops` that move elements: reshape, transpose, concatenate, pad, tile, flip, ...

Refuses to hold creation (`numpy_create`) and indexing by values (`numpy_index`).
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

import ir.ops as ir
from ir import dims
from ir.dims import Dim
from ir.graph import Value
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.operation import defines
from kcompile.ops.operand import as_dtype, axes_of, axis_of, broadcast_to as spread, promoted, shape_of, tensor, value_of
from kcompile.tensor import Tensor

op = defines("keras.src.ops.numpy")


def reshaped(v: Value, newshape: Any) -> Value:
    """`v` in a shape that may hold one -1 (or None). Raises KCValueError KC102."""
    if isinstance(newshape, (int, np.integer, Dim)):
        newshape = (newshape,)
    shape = [-1 if d is None else d if isinstance(d, Dim) else int(d) for d in newshape]
    free = [i for i, d in enumerate(shape) if isinstance(d, int) and d == -1]
    if len(free) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise KCValueError("KC102", f"newshape={tuple(newshape)}", "one extent may be -1, the others are not negative", "give the other extents")
    size = v.type.size
    if free:
        rest = dims.product(d for d in shape if not (isinstance(d, int) and d == -1))
        quotient = 0 if isinstance(rest, int) and rest == 0 else dims.divide(size, rest)
        if quotient is None:
            raise KCValueError(
                "KC102", f"reshape of {v.type.shape} to {tuple(newshape)}", f"{size} elements are no multiple of {rest}",
                "give a shape with as many elements",
            )  # fmt: skip
        shape[free[0]] = quotient
    if dims.product(shape) != size:
        raise KCValueError(
            "KC102", f"reshape of {v.type.shape} to {tuple(newshape)}",
            f"both have as many elements, not {size} and {dims.product(shape)}", "give a shape with as many elements",
        )  # fmt: skip
    return v if tuple(shape) == v.type.shape else ir.reshape(v, shape=tuple(shape))


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


def permuted(v: Value, axes: Any = None) -> Value:
    """`v` with its axes in another order. Raises KCValueError KC104 unless `axes` is a permutation."""
    rank = len(v.type.shape)
    perm = tuple(range(rank - 1, -1, -1)) if axes is None else tuple(axis_of(a, rank) for a in axes)
    if sorted(perm) != list(range(rank)):
        raise KCValueError("KC104", f"axes={axes} for rank {rank}", "axes name each axis once", "pass a permutation")
    return v if perm == tuple(range(rank)) else ir.transpose(v, perm=perm)


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
    dst = [axis_of(a, rank) for a in ([destination] if isinstance(destination, int) else destination)]
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
        if isinstance(shape[i], int) and shape[i] != 1 or isinstance(shape[i], Dim):
            raise KCValueError("KC102", f"squeeze of axis {i} of {shape}", "only an axis of extent 1 can go", "pick another axis")
    return Tensor(reshaped(v, tuple(d for i, d in enumerate(shape) if i not in at)))


@op("xs")
def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors one after the other along `axis` (None: raveled)."""
    values = promoted(list(xs))
    if axis is None:
        values, axis = [reshaped(v, (-1,)) for v in values], 0
    return Tensor(joined(values, axis))


def joined(values: Sequence[Value], axis: int) -> Value:
    """Values concatenated. Raises KCValueError KC102 where other extents differ."""
    first = values[0].type.shape
    axis = axis_of(axis, len(first))
    for v in values:
        own = v.type.shape
        if len(own) != len(first) or any(a != b for i, (a, b) in enumerate(zip(own, first, strict=True)) if i != axis):
            raise KCValueError(
                "KC102", f"concatenation of {', '.join(str(w.type.shape) for w in values)} along axis {axis}",
                "all extents but that axis are equal", "reshape or crop the tensors first",
            )  # fmt: skip
    return values[0] if len(values) == 1 else ir.concat(*values, axis=axis)


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
    return [Tensor(cut(v, at, a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]


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


@op("x")
def tile(x: Any, repeats: Any) -> Any:
    """The whole repeated along each axis."""
    v = value_of(x)
    counts = [int(repeats)] if isinstance(repeats, (int, np.integer)) else [int(r) for r in repeats]
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
    if lead < 0 or any(d != want[lead + i] and not (isinstance(d, int) and d == 1) for i, d in enumerate(own)):
        raise KCValueError("KC102", f"broadcast of {own} to {want}", "only extents of 1 grow", "reshape first")
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
        number = float(value) if v.type.is_float else bool(value) if v.type.dtype == "bool" else int(value)
        return Tensor(ir.pad(v, low=low, high=high, interior=(0,) * rank, value=number))
    if mode not in ("reflect", "symmetric", "edge", "wrap"):
        raise KCNotImplementedError("KC109", f"pad(mode={mode!r})", "modes are constant, reflect, symmetric, edge, wrap", "use one of them")
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
    return [Tensor(ir.broadcast(v, shape=shape, axes=(order.index(i),))) for i, v in enumerate(values)]


@op("x")
def copy(x: Any) -> Any:
    """The same values."""
    return tensor(x)


def to_int(v: Value) -> Value:
    """Indices as int32 (int64 stays)."""
    return v if v.type.dtype in ("i32", "i64") else as_dtype(v, "i32")

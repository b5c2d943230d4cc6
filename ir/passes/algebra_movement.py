"""Rules of `simplify` for movement and reduction: identities, chains, and pairs that undo each other.

Refuses to push movement through arithmetic (but for a scale): fusion reads through movement anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ir import dims
from ir.graph import Node, Value
from ir.op import TABLE
from ir.ops.elementwise import add, mul
from ir.ops.movement import (
    broadcast,
    concat,
    flip,
    inverse,
    pad,
    reshape,
    slice_,
    transpose,
)
from ir.passes.algebra_arithmetic import ARITHMETIC
from ir.passes.fold import EXACT, constant, filled
from ir.rewrite import Replacement


def _made_by(v: Value, name: str) -> Node | None:
    """The node of `v` where it is of the op called `name`."""
    return v.node if v.node is not None and v.node.op.name == name else None


def spread(x: Value, shape: Any, axes: tuple[int, ...]) -> Value:
    """`broadcast` where the axes of the result may be in any order: x is transposed to suit."""
    perm = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    if perm != tuple(range(len(axes))):
        x = transpose(x, perm=perm)
    return broadcast(x, shape=shape, axes=tuple(axes[p] for p in perm))  # type: ignore[no-any-return]


def _broadcast(n: Node) -> Replacement:
    (x,) = n.inputs
    shape, axes = n.attrs
    if axes == tuple(range(len(shape))):
        return x
    inner = _made_by(x, "broadcast")
    if inner is not None:
        through = tuple(axes[a] for a in inner.attrs[1])
        return broadcast(inner.inputs[0], shape=shape, axes=through)  # type: ignore[no-any-return]
    new = [d for i, d in enumerate(shape) if i not in axes]
    if all(d == 1 for d in new) and list(axes) == sorted(axes):
        return reshape(x, shape=shape)  # type: ignore[no-any-return]
    return None


def _reshape(n: Node) -> Replacement:
    (x,) = n.inputs
    if n.outs[0].type is x.type:
        return x
    inner = _made_by(x, "reshape")
    if inner is not None:
        return reshape(inner.inputs[0], shape=n.attrs[0])  # type: ignore[no-any-return]
    return None


def _transpose(n: Node) -> Replacement:
    (x,) = n.inputs
    perm = n.attrs[0]
    moving = [p for p in perm if x.shape[p] != 1]
    if moving == sorted(moving):
        return x if perm == tuple(range(len(perm))) else reshape(x, shape=n.outs[0].shape)
    inner = _made_by(x, "transpose")
    if inner is not None:
        first = inner.attrs[0]
        return transpose(inner.inputs[0], perm=tuple(first[p] for p in perm))  # type: ignore[no-any-return]
    inner = _made_by(x, "broadcast")
    if inner is not None:
        to = inverse(perm)
        axes = tuple(to[a] for a in inner.attrs[1])
        return spread(inner.inputs[0], n.outs[0].shape, axes)
    return None


def _flip(n: Node) -> Replacement:
    (x,) = n.inputs
    axes = tuple(a for a in sorted(n.attrs[0]) if x.shape[a] != 1)
    if not axes:
        return x
    inner = _made_by(x, "flip")
    if inner is not None:
        both = tuple(sorted(set(axes) ^ set(inner.attrs[0])))
        return flip(inner.inputs[0], axes=both)  # type: ignore[no-any-return]
    return flip(x, axes=axes) if axes != n.attrs[0] else None


# -- slice, pad, concat ---------------------------------------------------------------------------


def _slice(n: Node) -> Replacement:
    (x,) = n.inputs
    start, stop, step = n.attrs
    if n.outs[0].type is x.type and all(a == 0 for a in start):
        return x
    inner = _made_by(x, "slice")
    if inner is not None:
        first, _, by = inner.attrs
        begin = tuple(a + b * s for a, b, s in zip(first, start, by, strict=True))
        strides = tuple(s * t for s, t in zip(by, step, strict=True))
        counts = n.outs[0].shape
        if all(isinstance(c, int) for c in counts):
            end = tuple(
                b + max((c - 1) * s + 1, 0) if c else b
                for b, c, s in zip(begin, counts, strides, strict=True)
            )
            return slice_(inner.inputs[0], start=begin, stop=end, step=strides)  # type: ignore[no-any-return]
    inner = _made_by(x, "concat")
    if inner is not None:
        return _slice_of_concat(n, inner)
    inner = _made_by(x, "broadcast")
    if inner is not None:
        axes = inner.attrs[1]
        (source,) = inner.inputs
        cut = source
        if any((start[a], stop[a], step[a]) != (0, x.shape[a], 1) for a in axes):
            cut = slice_(
                source, start=tuple(start[a] for a in axes), stop=tuple(stop[a] for a in axes),
                step=tuple(step[a] for a in axes),
            )  # fmt: skip
        return broadcast(cut, shape=n.outs[0].shape, axes=axes)  # type: ignore[no-any-return]
    return None


def _slice_of_concat(n: Node, joined: Node) -> Replacement:
    """A slice that falls within one operand of a concat."""
    axis = joined.attrs[0]
    start, stop, step = n.attrs
    offset: Any = 0
    for v in joined.inputs:
        end = offset + v.shape[axis]
        a, b = start[axis] - offset, end - stop[axis]
        if isinstance(a, int) and isinstance(b, int) and a >= 0 and b >= 0:
            begin = tuple(a if i == axis else s for i, s in enumerate(start))
            until = tuple(stop[axis] - offset if i == axis else s for i, s in enumerate(stop))
            return slice_(v, start=begin, stop=until, step=step)  # type: ignore[no-any-return]
        offset = end
    return None


def _pad(n: Node) -> Replacement:
    (x,) = n.inputs
    low, high, interior, value = n.attrs
    if n.outs[0].type is x.type and all(a == 0 for a in low):
        return x
    inner = _made_by(x, "pad")
    if inner is None or repr(inner.attrs[3]) != repr(value):
        return None
    below, above, between, _ = inner.attrs
    for a, b, c, gap in zip(below, above, between, interior, strict=True):
        if gap and (a, b, c) != (0, 0, 0):
            return None  # gaps between the padding of the inner pad
    return pad(  # type: ignore[no-any-return]
        inner.inputs[0],
        low=tuple(a + b for a, b in zip(low, below, strict=True)),
        high=tuple(a + b for a, b in zip(high, above, strict=True)),
        interior=tuple(a + b for a, b in zip(interior, between, strict=True)),
        value=value,
    )


def _concat(n: Node) -> Replacement:
    axis = n.attrs[0]
    if len(n.inputs) == 1:
        return n.inputs[0]
    kept = [v for v in n.inputs if v.shape[axis] != 0] or [n.inputs[0]]
    flat: list[Value] = []
    for v in kept:
        inner = _made_by(v, "concat")
        flat += inner.inputs if inner is not None and inner.attrs[0] == axis else [v]
    joined: list[Value] = []
    for v in flat:
        together = _adjacent(joined[-1], v, axis) if joined else None
        if together is None:
            joined.append(v)
        else:
            joined[-1] = together
    return None if joined == list(n.inputs) else concat(*joined, axis=axis)


def _adjacent(a: Value, b: Value, axis: int) -> Value | None:
    """The one slice that two slices of one value make, where the second continues the first."""
    p, q = _made_by(a, "slice"), _made_by(b, "slice")
    if p is None or q is None or p.inputs != q.inputs or p.attrs[2] != q.attrs[2]:
        return None
    for i in range(a.type.rank):
        if i == axis:
            if p.attrs[1][i] != q.attrs[0][i] or p.attrs[2][i] != 1:
                return None
        elif (p.attrs[0][i], p.attrs[1][i]) != (q.attrs[0][i], q.attrs[1][i]):
            return None
    stop = q.attrs[1]
    return slice_(p.inputs[0], start=p.attrs[0], stop=stop, step=p.attrs[2])  # type: ignore[no-any-return]


def _add(n: Node) -> Replacement:
    """The gradient of slices: a sum of pads that lie side by side is a concat (of one pad)."""
    found = ARITHMETIC["add"](n)
    if found is not None:
        return found
    for x, y in (n.inputs, n.inputs[::-1]):
        together = _side_by_side(x, y)
        if together is not None:
            return together
        inner = _made_by(x, "add")
        if inner is None or _made_by(y, "pad") is None:
            continue
        for i in (0, 1):
            together = _side_by_side(inner.inputs[i], y)
            if together is not None:
                return add(inner.inputs[1 - i], together)  # type: ignore[no-any-return]
    return None


def _scale(n: Node) -> Replacement:
    """A scaled transpose is the transpose of what is scaled, which a contraction takes into its spec."""
    found = ARITHMETIC[n.op.name](n)
    if found is not None:
        return found
    for i, x in enumerate(n.inputs):
        inner = _made_by(x, "transpose")
        others = [constant(v) for k, v in enumerate(n.inputs) if k != i]
        if inner is not None and None not in others:
            source = inner.inputs[0]
            operands = [filled(c, source.type) for c in others]
            operands.insert(i, source)
            return transpose(TABLE[n.op.name](*operands), perm=inner.attrs[0])  # type: ignore[no-any-return]
    return None


def _side_by_side(a: Value, b: Value) -> Value | None:
    """pad(x) + pad(y) -> pad(concat(x, y)), for zero padding along one axis and x just before y."""
    p, q = _made_by(a, "pad"), _made_by(b, "pad")
    if p is None or q is None or p.attrs[3] != 0 or q.attrs[3] != 0:
        return None
    if any(p.attrs[2]) or any(q.attrs[2]):
        return None
    x, y = p.inputs[0], q.inputs[0]
    apart = [
        i
        for i in range(a.type.rank)
        if (p.attrs[0][i], p.attrs[1][i]) != (q.attrs[0][i], q.attrs[1][i])
    ]
    if len(apart) != 1:
        return None
    (axis,) = apart
    if p.attrs[0][axis] + x.shape[axis] != q.attrs[0][axis]:
        return None
    joined = concat(x, y, axis=axis)
    return pad(joined, low=p.attrs[0], high=q.attrs[1], interior=p.attrs[2], value=p.attrs[3])  # type: ignore[no-any-return]


# -- reductions -----------------------------------------------------------------------------------


def _reduce(n: Node) -> Replacement:
    """reduce_sum, reduce_max, reduce_min: nothing to reduce, chains, and what was just repeated."""
    (x,) = n.inputs
    axes = tuple(sorted(n.attrs[0]))
    op = TABLE[n.op.name]
    if not axes:
        return x
    if all(x.shape[a] == 1 for a in axes):
        return reshape(x, shape=n.outs[0].shape)  # type: ignore[no-any-return]
    inner = _made_by(x, n.op.name)
    if inner is not None:
        source = inner.inputs[0]
        left = [i for i in range(source.type.rank) if i not in inner.attrs[0]]
        both = tuple(sorted((*inner.attrs[0], *(left[a] for a in axes))))
        return op(source, axes=both)  # type: ignore[no-any-return]
    inner = _made_by(x, "transpose")
    if inner is not None:
        perm = inner.attrs[0]
        kept = [p for i, p in enumerate(perm) if i not in axes]
        total = op(inner.inputs[0], axes=tuple(sorted(perm[a] for a in axes)))
        if kept == sorted(kept):
            return total  # type: ignore[no-any-return]
        return transpose(total, perm=tuple(sorted(kept).index(p) for p in kept))  # type: ignore[no-any-return]
    inner = _made_by(x, "broadcast")
    if inner is not None:
        return _reduce_of_broadcast(n, inner, axes)
    return op(x, axes=axes) if axes != n.attrs[0] else None


def _reduce_of_broadcast(n: Node, repeated: Node, axes: tuple[int, ...]) -> Replacement:
    """Axes that a broadcast made are not reduced but counted."""
    (source,) = repeated.inputs
    shape, to = repeated.attrs
    made = [a for a in axes if a not in to]
    count = dims.product(shape[a] for a in made)
    is_sum = n.op.name == "reduce_sum"
    if not made or not isinstance(count, int) or (count == 0 and not is_sum):
        return None
    if is_sum and count > EXACT.get(source.dtype, 127):
        return None
    left = [i for i in range(len(shape)) if i not in axes]
    inner_axes = tuple(i for i, a in enumerate(to) if a in axes)
    small = TABLE[n.op.name](source, axes=inner_axes) if inner_axes else source
    if is_sum and count != 1:
        small = mul(small, filled(count, small.type))
    kept = tuple(left.index(a) for a in to if a not in axes)
    return broadcast(small, shape=n.outs[0].shape, axes=kept)  # type: ignore[no-any-return]


MOVEMENT: dict[str, Callable[[Node], Replacement]] = {
    "broadcast": _broadcast, "reshape": _reshape, "transpose": _transpose, "flip": _flip,
    "mul": _scale, "div": _scale, "neg": _scale, "slice": _slice, "pad": _pad, "concat": _concat, "add": _add,
    "reduce_sum": _reduce, "reduce_max": _reduce, "reduce_min": _reduce,
}  # fmt: skip

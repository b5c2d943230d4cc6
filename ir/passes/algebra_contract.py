"""Rules of `simplify` for `contract`: transposes and repetition go into the spec, windows of one tap go.

Refuses to choose how a contraction is computed: that is code generation's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ir.graph import Node, Value
from ir.ops.contract import Window, contract, extents, letters, windows_of
from ir.ops.elementwise import mul
from ir.ops.movement import broadcast, pad, reduce_sum, reshape, slice_
from ir.passes.algebra_movement import spread
from ir.rewrite import Replacement


def _contract(n: Node) -> Replacement:
    for rule in (_transposed, _repeated, _one_tap, _outer):
        found = rule(n)
        if found is not None:
            return found
    return None


def _made_by(v: Value, name: str) -> Node | None:
    return v.node if v.node is not None and v.node.op.name == name else None


def _again(n: Node, operands: list[Value], parts: list[str], **changed: Any) -> Value:
    """`n` on other operands under other letters."""
    attrs = {a.name: v for a, v in zip(n.op.attrs, n.attrs, strict=True)} | changed
    attrs["spec"] = f"{parts[0]},{parts[1]}->{parts[2]}"
    out: Value = contract(*operands, **attrs)
    return out


def _transposed(n: Node) -> Replacement:
    """An operand's transpose only permutes its letters."""
    parts = list(letters(n.attrs[0]))
    operands = list(n.inputs)
    changed = False
    for k in (0, 1):
        inner = _made_by(operands[k], "transpose")
        if inner is not None:
            perm = inner.attrs[0]
            order = sorted(range(len(perm)), key=perm.__getitem__)
            parts[k] = "".join(parts[k][i] for i in order)
            operands[k] = inner.inputs[0]
            changed = True
    return _again(n, operands, parts) if changed else None


def _repeated(n: Node) -> Replacement:
    """An operand repeated along letters that the other operand or the result has: those of the other
    that are not in the result are summed there first."""
    spec, windows, _, _ = n.attrs
    if windows:
        return None
    parts = list(letters(spec))
    for k in (0, 1):
        inner = _made_by(n.inputs[k], "broadcast")
        if inner is None:
            continue
        mine, other, result = parts[k], parts[1 - k], parts[2]
        to = inner.attrs[1]
        new = [c for i, c in enumerate(mine) if i not in to]
        left = "".join(mine[a] for a in to)
        if any(c not in other and c not in result for c in new):
            continue  # summed over equal numbers: the count would have to be multiplied in
        if not any(c in other and c not in result for c in left):
            continue  # nothing would be left to sum
        rest = n.inputs[1 - k]
        alone = tuple(i for i, c in enumerate(other) if c in new and c not in result)
        if alone:
            rest = reduce_sum(rest, axes=alone)
            other = "".join(c for i, c in enumerate(other) if i not in alone)
        parts[k], parts[1 - k] = left, other
        kept = "".join(c for c in result if c in left or c in other)
        operands = [rest, rest]
        operands[k] = inner.inputs[0]
        small = _again(n, operands, [parts[0], parts[1], kept])
        if kept == result:
            return small
        axes = tuple(i for i, c in enumerate(result) if c in kept)
        return broadcast(small, shape=n.outs[0].shape, axes=axes)  # type: ignore[no-any-return]
    return None


def _one_tap(n: Node) -> Replacement:
    """A window of one tap at offset 0 is no window: a strided slice of the positions, if that."""
    spec, windows, out, _ = n.attrs
    if not windows:
        return None
    size = extents(n.inputs[0].type, n.inputs[1].type, spec, windows, out)
    for w in windows_of(spec, windows):
        i, o = size[w.i], size[w.o]
        if size[w.t] != 1 or w.low != 0 or not _fits(w, i, o):
            continue
        return _without(n, w, i, o)
    return None


def _fits(w: Window, i: Any, o: Any) -> bool:
    if i == o and (w.stride == 1 or i == 1):
        return True
    return isinstance(i, int) and isinstance(o, int) and o > 0 and w.stride * (o - 1) < i


def _without(n: Node, w: Window, i: Any, o: Any) -> Value:
    """`n` without its window `w`, whose positions are taken at stride."""
    spec, windows, out, _ = n.attrs
    parts = list(letters(spec))
    operands = list(n.inputs)
    for k in (0, 1):
        if w.i in parts[k] and i != o:
            axis = parts[k].index(w.i)
            operands[k] = _strided(operands[k], axis, w.stride, o)
        if w.t in parts[k]:
            shape = operands[k].shape
            axis = parts[k].index(w.t)
            operands[k] = reshape(operands[k], shape=(*shape[:axis], *shape[axis + 1 :]))
    lr = parts[2]
    plain = [p.replace(w.i, w.o).replace(w.t, "") for p in parts]
    rest = tuple(v for v in windows if tuple(v) != tuple(w))
    others = {c for v in rest for c in v[:3]}
    given = [c for c in lr if c not in parts[0] + parts[1]]
    left = tuple(d for c, d in zip(given, out, strict=True) if c in others)
    result = _again(n, operands, plain, windows=rest, out=left)
    if w.t in lr:
        return reshape(result, shape=n.outs[0].shape)  # type: ignore[no-any-return]
    if w.i in lr and i != o:
        axis = lr.index(w.i)
        at = [0] * len(lr)
        high = list(at)
        interior = list(at)
        interior[axis] = w.stride - 1
        high[axis] = i - (w.stride * (o - 1) + 1)
        return pad(result, low=at, high=high, interior=interior, value=0.0)  # type: ignore[no-any-return]
    return result


def _strided(x: Value, axis: int, stride: int, count: int) -> Value:
    stop = list(x.shape)
    stop[axis] = stride * (count - 1) + 1
    step = [1] * len(stop)
    step[axis] = stride
    return slice_(x, start=(0,) * len(stop), stop=stop, step=step)  # type: ignore[no-any-return]


def _outer(n: Node) -> Replacement:
    """A sum over one term is no sum: a product of two repeated operands."""
    spec, windows, _, precision = n.attrs
    lx, ly, lr = letters(spec)
    if windows or precision != "ieee":
        return None
    size = dict(zip(lx + ly, n.inputs[0].shape + n.inputs[1].shape, strict=True))
    if any(size[c] != 1 for c in lx + ly if c not in lr):
        return None
    sides = []
    for v, part in zip(n.inputs, (lx, ly), strict=True):
        kept = "".join(c for c in part if c in lr)
        flat = v if kept == part else reshape(v, shape=tuple(size[c] for c in kept))
        sides.append(
            flat if kept == lr else spread(flat, n.outs[0].shape, tuple(lr.index(c) for c in kept))
        )
    return mul(*sides)  # type: ignore[no-any-return]


CONTRACT: dict[str, Callable[[Node], Replacement]] = {"contract": _contract}

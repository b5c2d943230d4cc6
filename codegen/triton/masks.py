"""The mask of an attention apart: each condition at the smallest value that has it, or known to be a comparison of positions.

Refuses to write what a kernel does with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ir.graph import Node, Value

# for each dimension of a value: an axis of the scores, "d", "v" or None (one position)
Axes = tuple[Any, ...]


@dataclass(frozen=True)
class Mask:
    """A part of the mask: allowed where `value` is, or (value None) where the row's number is at least the column's."""

    value: Value | None
    axes: Axes


def parts(v: Value, axes: Axes) -> Iterator[Mask]:
    """The conditions that together are the mask `v`, whose dimensions are `axes` of the scores."""
    n = v.node
    if n is not None and n.op.name == "logical_and":
        for x in n.inputs:
            yield from parts(x, axes)
        return
    if n is not None and n.op.name == "broadcast":
        yield from parts(n.inputs[0], tuple(axes[a] for a in n.attr("axes")))
        return
    if n is not None and n.op.name == "reshape":
        inner = _squeezed(n, axes)
        if inner is not None:
            yield from parts(n.inputs[0], inner)
            return
    if n is not None and n.op.name in ("ge", "le"):
        pair = n.inputs if n.op.name == "ge" else n.inputs[::-1]
        sides = [_counts(x, axes) for x in pair]
        if None not in sides:
            yield Mask(None, tuple(sides))
            return
    yield Mask(v, axes)


def _squeezed(n: Node, axes: Axes) -> Axes | None:
    """The dimensions of a reshape's operand, where it only adds or drops dimensions of one position."""
    wide = [a for a, d in zip(axes, n.outs[0].shape, strict=True) if d != 1]
    shape = n.inputs[0].shape
    if [d for d in shape if d != 1] != [d for d in n.outs[0].shape if d != 1]:
        return None
    left = iter(wide)
    return tuple(next(left) if d != 1 else None for d in shape)


def _counts(v: Value, axes: Axes) -> Any:
    """The axis of the scores that a value counts; None where it does not."""
    n = v.node
    while n is not None and n.op.name in ("broadcast", "reshape"):
        inner = (
            tuple(axes[a] for a in n.attr("axes"))
            if n.op.name == "broadcast"
            else _squeezed(n, axes)
        )
        if inner is None:
            return None
        axes, n = inner, n.inputs[0].node
    return axes[n.attr("axis")] if n is not None and n.op.name == "iota" else None

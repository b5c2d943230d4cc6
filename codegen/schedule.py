"""Schedules: which axes of a region are loops, in which blocks. Data beside the region.

Here is what is common to targets that run a region a block of rows at a time. Refuses to hold
statements and spelling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule
from codegen.lower import reduced
from ir.types import NUMPY


@dataclass(frozen=True)
class Blocks:
    """What a block should be: about `cache` bytes for all of its operands, and `bytes` for the largest value
    in it where they are many; no loop where no value has `least` bytes. window: the bytes of the largest
    of the values that windows make (im2col)."""

    bytes: int = 64 * 1024
    cache: int = 1792 * 1024
    least: int = 192 * 1024
    window: int = 1024 * 1024


def size_of(e: E) -> int:
    """Bytes of all of an expression's value."""
    n = int(np.dtype(NUMPY[e.dtype]).itemsize)
    for a in e.axes:
        n *= a.size
    return n


def row_blocks(region: Region, blocks: Blocks) -> Schedule:
    """One loop over blocks of the leading axis, where the values are too many for the cache.

    The axis must be one that nothing walks along and that no reduction but a plain sum or product sums over.
    """
    nodes = [e for e in region.nodes() if e.op not in ("load", "const", "iota")]
    dots = [e for e in nodes if e.op == "dot"]
    windowed = any(_window(a) for e in dots for a in e.args)
    windowed = windowed or any(e.op == "fold" and e.args[0].op == "dot" for e in nodes)
    if dots and not windowed:
        return Schedule()
    everything = [e for e in region.nodes() if e.op not in ("const", "iota")] if windowed else nodes
    if max((size_of(e) for e in everything), default=0) < (
        blocks.window if windowed else blocks.least
    ):
        return Schedule()
    barred = set(_walked(region.nodes()))
    largest = max((size_of(e) for e in everything), default=0)
    for axis in _leading(region):
        if axis in barred or axis.size < 2:
            continue
        big = [e for e in everything if size_of(e) * 4 >= largest]
        if not all(axis in e.axes or axis in reduced(e) for e in big):
            continue
        # a value that is summed over the axis and then read along it would be computed twice
        if _read_again(nodes, axis):
            continue
        along = max(size_of(e) for e in everything if axis in e.axes)
        room = blocks.window if windowed else max(blocks.bytes, blocks.cache // _operands(region))
        tile = _divisor(axis.size, max(1, room * axis.size // max(along, 1)))
        if tile >= axis.size:
            continue
        return Schedule((Group((axis,), "loop", tile),), {"loop": axis.name, "tile": tile})
    return Schedule()


def _window(e: E) -> bool:
    """Whether a load reads windows that overlap."""
    return e.op == "load" and any(isinstance(i, Aff) and len(i.terms) > 1 for i in e.attr[1])


def _leading(region: Region) -> list[Axis]:
    """The first axis of what is written, and of what is read: the rows."""
    found = list(region.order[:1])
    for e in region.nodes():
        if (
            e.op == "load"
            and e.attr[1]
            and isinstance(e.attr[1][0], Aff)
            and len(e.attr[1][0].terms) == 1
        ):
            found.append(e.attr[1][0].terms[0][0])
    return list(dict.fromkeys(found))


def _walked(nodes: Sequence[E]) -> list[Axis]:
    found: list[Axis] = []
    for e in nodes:
        if e.op == "load":
            for form, n in zip(e.attr[1], e.attr[0].shape, strict=False):
                if isinstance(form, Aff) and (len(form.terms) > 1 or not form.inside(n)):
                    found += [a for a, _ in form.terms]
        elif e.op == "cum":
            found.append(e.attr[1])
        elif e.op in ("sort", "argsort"):
            found.append(e.attr[0])
        elif e.op == "at":
            found += [a for a, _ in e.attr[0]] + [a for _, f in e.attr[0] for a, _ in f.terms]
        elif e.op == "spread":
            found += [a for w in e.attr[0] for a in w[:2]]
        elif e.op == "concat":
            found += [e.attr[0], *(a for a, _ in e.attr[1])]
        elif e.op == "fold":
            found += [a for w in e.attr for a in w[:3]]
        elif e.op == "scatter":
            found += [e.attr[0], *e.attr[1]]
        elif e.op in ("argred", "first") or (e.op == "red" and e.attr[0] != "sum"):
            found += e.attr[1]
        elif e.op == "random":
            found += e.axes
    return found


def _read_again(nodes: list[E], axis: Axis) -> bool:
    """Whether something along `axis` depends on a reduction over it."""
    tainted: set[E] = set()
    for e in nodes:
        if any(a in tainted for a in e.args):
            if axis in e.axes or axis in reduced(e):
                return True
            tainted.add(e)
        if axis in reduced(e):
            tainted.add(e)
    return False


def _operands(region: Region) -> int:
    """How many arrays of the region's size are read and written, and room for two results."""
    bufs = {e.attr[0] for e in region.nodes() if e.op == "load"} | {s.buf for s in region.stores}
    sizes: dict[Buf, int] = {b: math.prod(b.shape) for b in bufs}
    most = max(sizes.values(), default=1)
    return 2 + sum(n * 4 > most for n in sizes.values())


def _divisor(n: int, at_most: int) -> int:
    """The largest divisor of n that is at most `at_most`, or `at_most` where the divisors are too small.

    One that makes an even number of blocks is better: they go to two threads.
    """
    if at_most >= n:
        return n
    for even in (2, 1):
        for d in range(at_most, max(at_most // 2, 0), -1):
            if n % (d * even) == 0:
                return d
    return at_most

"""The gradient of a lookup whose sums may come in any order: zeros, to which each update is added where its index says.

No index is sorted and no row of the table waits; sums of floats come out alike but for their last bits. Halves are summed as
f32. Refuses to choose this: the graph says so.
"""

from __future__ import annotations

from typing import NamedTuple

from codegen.loops import Axis, Buf, E, Group, Region, Schedule, Store, axis_aff, load
from codegen.triton.launch import size_of
from codegen.triton.schedule import MANY, power_of_two, size
from codegen.triton.vectors import rebuilt

SUMMED = {"f16": "f32", "bf16": "f32", "i8": "i32", "i16": "i32", "u8": "u32", "u16": "u32"}


class Atomic(NamedTuple):
    """sums: the buffer. zeros fills it, added, under plan, adds to it, rest reads it; None where it is the result."""

    sums: Buf
    zeros: Region
    added: Region
    plan: Schedule
    rest: Region | None

    @staticmethod
    def of(region: Region, scatter: E) -> Atomic:
        """What does the work of a region with one such gradient."""
        new, over, _ = scatter.attr
        kept = [a for a in scatter.axes if a.size > 1]
        dtype = SUMMED.get(scatter.dtype, scatter.dtype)
        result = region.stores[0]
        rest = None
        alone = len(region.stores) == 1 and result.value is scatter
        if alone and scatter.dtype == dtype and size_of(result.buf) == size(kept):
            sums, at = result.buf, result.idx
        else:
            sums, at = Buf("", tuple(a.size for a in kept), dtype), tuple(map(axis_aff, kept))
            done = load(sums, at)
            if dtype != scatter.dtype:
                done = E("cast", (done,), (scatter.dtype,), scatter.dtype, done.axes)
            rest = rebuilt(region, {scatter: done})
        each = tuple(Axis(f"c{k}", n) for k, n in enumerate(sums.shape))
        zero = E("const", (), (0,), dtype, ())
        zeros = Region([Store(sums, tuple(map(axis_aff, each)), zero)], each)
        rank = {a: k for k, a in enumerate(region.order)}
        walked = {*over, *kept} - {new}
        axes = sorted((a for a in walked if a.size > 1), key=lambda a: rank.get(a, len(rank)))
        block = 1024 if size(axes) >= MANY * 1024 else 256
        plan = Schedule(
            (Group(tuple(axes), "grid", min(block, power_of_two(size(axes)))),),
            {"kind": "atomic", "warps": 4},
        )
        return Atomic(sums, zeros, Region([Store(sums, at, scatter)], region.order), plan, rest)

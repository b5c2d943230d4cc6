"""The calls of a NumPy program as they are collected: scratch, loops, elementwise calls.

Keeps the list of calls, the loops open now, and the extents of axes in the blocks of those loops.
Refuses to hold which calls an expression needs (`pointwise`, `contract`, `movement`) and text (`text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from codegen.loops import Aff, Axis, Buf, axis_aff
from codegen.numpy.views import (
    Call,
    Const,
    Loop,
    Operand,
    Shaped,
    Slot,
    Tile,
    View,
    aligned,
    contiguous,
)


class Emitter:
    """Collects the calls of one program."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.loops: list[Loop] = []
        self.all_loops: list[Loop] = []
        self.places: dict[Buf, View] = {}
        self.early: list[Call] = []  # to stand before the outermost loop open now
        self.blocks: dict[Axis, tuple[Loop | None, int, int]] = {}  # loop, extent of a block, start

    def extent(self, a: Axis) -> int:
        """The extent of an axis in the block at hand."""
        found = self.blocks.get(a)
        return a.size if found is None else found[1]

    @property
    def loop(self) -> Loop | None:
        return self.loops[-1] if self.loops else None

    @contextmanager
    def looping(self, count: int) -> Iterator[Loop]:
        """Calls made inside stand in a loop."""
        loop = Loop(count, self.loop)
        loop.first = len(self.calls)
        self.loops.append(loop)
        self.all_loops.append(loop)
        try:
            yield loop
        finally:
            self.loops.pop()
            loop.last = len(self.calls) - 1
            if not self.loops and self.early:
                self._put_early(loop.first)

    def _put_early(self, at: int) -> None:
        n = len(self.early)
        self.calls[at:at] = self.early
        for k, call in enumerate(self.calls[at:], at):
            call.at = k
        for lp in self.all_loops:
            if lp.first >= at:
                lp.first, lp.last = lp.first + n, lp.last + n
        self.early = []

    @contextmanager
    def ahead(self, reads: Sequence[Operand | View]) -> Iterator[None]:
        """Calls made inside stand before the loop over blocks, if no pass of it changes what they read."""
        if not self.blocks or not self.loops or not all(map(self._fixed, reads)):
            yield
            return
        calls, loops = self.calls, self.loops
        self.calls, self.loops = self.early, []
        try:
            yield
        finally:
            self.calls, self.loops = calls, loops

    def _fixed(self, x: Operand | View) -> bool:
        """Whether all passes of the open loops find the same there."""
        if not isinstance(x, Shaped | View):
            return True
        if x.loops or x.first is not None or x.alternate is not None:
            return False
        return not any(
            written and isinstance(a, Shaped) and a.slot is x.slot
            for c in self.calls[self.loops[0].first :]
            for a, written in zip(c.args, c.writes, strict=True)
        )

    def scratch(self, axes: Sequence[Axis], dtype: str) -> View:
        """New memory over axes, row-major in the order given."""
        own = [a for a in axes if self.extent(a) != 1]
        strides, _ = contiguous(own, self.extent)
        return View(Slot(dtype, tuple(self.extent(a) for a in own)), 0, strides)

    def view(self, buf: Buf, idx: Sequence[Aff]) -> View:
        """A buffer at affine positions, in the block at hand. The positions must lie inside."""
        base = self.places[buf]
        strides: dict[Axis, int] = {}
        loops = dict(base.loops)
        offset = base.offset
        for form, step in zip(idx, buf.strides, strict=True):
            offset += form.const * step
            for a, c in form.terms:
                block = self.blocks.get(a)
                if block is not None:
                    loop, extent, start = block
                    offset += start * c * step
                    if loop is not None:
                        loops[loop] = loops.get(loop, 0) + c * step * extent
                    if extent == 1:
                        continue
                strides[a] = strides.get(a, 0) + c * step
        first = None
        if base.first is not None:
            saved = self.places[buf]
            self.places[buf] = base.first
            first = self.view(buf, idx)
            self.places[buf] = saved
        return View(base.slot, offset, strides, loops, base.alternate, first)

    def standing(self, buf: Buf) -> View:
        """The place of a whole buffer; a carry is copied (see `settled`)."""
        place = self.places[buf]
        if place.first is None:
            return place
        whole = [Axis(f"w{k}", n) for k, n in enumerate(buf.shape)]
        start = self.view(buf, [axis_aff(a) for a in whole])
        return View(self.settled(start, whole).slot, 0, {})

    def settled(self, x: View, axes: Sequence[Axis]) -> View:
        """A carry, which is elsewhere in the first pass of its loop, copied to where it can be walked."""
        if x.first is None:
            return x
        out = self.scratch(axes, x.slot.dtype)
        self.copy(out, x, axes)
        return out

    def call(
        self, text: str, args: Sequence[Operand], writes: Sequence[int], same: bool = False
    ) -> None:
        """One line, unless it writes nothing; `writes`: the positions of the arguments that it writes."""
        if any(isinstance(args[k], Shaped) and 0 in args[k].shape for k in writes):  # type: ignore[union-attr]
            return
        flags = tuple(k in writes for k in range(len(args)))
        self.calls.append(Call(text, tuple(args), flags, same, self.loop, len(self.calls)))

    def map(
        self, text: str, out: View, ins: Sequence[Tile], axes: Sequence[Axis], same: bool = True
    ) -> None:
        """An elementwise call: {0} is the result, {1}.. the operands, over `axes`."""
        if any(self.extent(a) == 0 for a in axes):
            return
        self.call(text, aligned([out, *ins], axes, self.extent), [0], same)

    def copy(self, out: View, x: Tile, axes: Sequence[Axis]) -> None:
        """out = x, with repetition along axes that x does not have, and a cast where dtypes differ."""
        if isinstance(x, Const):
            self.map("{0}.fill({1})", out, [x], axes)
            return
        cast = "" if x.slot.dtype == out.slot.dtype else ', casting="unsafe"'
        self.map(f"copyto({{0}}, {{1}}{cast})", out, [x], axes)

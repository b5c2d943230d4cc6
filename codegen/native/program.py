"""A fused graph as a native program: C functions for what C can say, NumPy calls for the rest.

Each region becomes calls of C functions, of products and convolutions with what follows them, of loops, or in parts; what none of
these can say NumPy runs. Refuses to hold what a function computes (`render`, `blocks`) and how calls are printed (`source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codegen.loops import Axis, Buf, E, Region, Schedule, Store, axis_aff, load
from codegen.native import (
    atoms,
    blocks,
    contract,
    convolution,
    lines,
    scatter,
    ways,
)
from codegen.native.apart import apart
from codegen.native.calls import called, place_key
from codegen.native.halves import widened
from codegen.native.render import Kernel
from codegen.native.resolve import Unprintable
from codegen.native.rows import rows
from codegen.native.scan import Alone
from codegen.native.source import NativeSource
from codegen.native.stages import kernels
from codegen.native.values import Aliased
from codegen.numpy.emit import Emitter
from codegen.numpy.program import Writer, written
from codegen.numpy.views import Loop, Slot, View
from codegen.program import Program
from ir.graph import Graph, Node, Value

PRODUCTS: tuple[Callable[[E, ways.Way], atoms.Atom | None], ...] = (
    convolution.product,
    contract.product,
)  # what makes an atom of an expression


@dataclass
class _Mark:
    """What to go back to when a scan turns out to need NumPy."""

    calls: int
    loops: list[Loop]
    all_loops: int
    places: dict[Buf, View] = field(default_factory=dict)


class NativeWriter(Writer):
    """Emits regions as C where that is possible; inside a scan, all of it or nothing."""

    plain = False  # inside a scan that NumPy runs
    way = ways.RULE  # of the kernel that is being emitted
    alone: Alone | None = None  # how a scan is cut into blocks of rows, where it is
    asked: Mapping[
        str, Mapping[str, Any]
    ] = {}  # ways of kernels by name, where they are not the rules'

    def __init__(self, em: Emitter, depth: int = 0):
        super().__init__(em, depth)
        self.kinds: list[str] = []  # of the atoms of the kernel

    def node(self, node: Node, targets: dict[Value, View]) -> None:
        self.kinds = []
        self.way = ways.asked(self.asked, f"k{len(self.kernels)}")
        super().node(node, targets)

    def kernel(self, node: Node, start: int, schedule: Schedule) -> None:
        super().kernel(node, start, schedule)
        start, made = self.kernels.pop()
        way = {"way": self.way.laid()} if self.way != ways.RULE else {}
        others = tuple({"way": w.laid()} for w in ways.others(self.kinds)) if not self.depth else ()
        made = replace(made, schedule=made.schedule | way, candidates=others)
        self.kernels.append((start, made))

    def draw(self, region: Region) -> Schedule:
        if self.plain:
            return super().draw(region)
        try:
            return self.native(region)
        except Unprintable:
            if self.depth:
                raise
            return super().draw(region)

    def transfer(self, region: Region) -> None:
        if self.plain:
            super().transfer(region)
            return
        try:
            self.native(region)
        except Unprintable:
            if self.depth:
                raise
            super().transfer(region)

    def scan(self, node: Node, targets: dict[Value, View]) -> Schedule:
        em = self.em
        if self.plain:
            return super().scan(node, targets)
        if self.depth:
            return super().scan(node, targets)
        mark = _Mark(len(em.calls), list(em.loops), len(em.all_loops), dict(em.places))
        bufs = dict(self.bufs)
        found = rows(node.attrs[0], node.attrs[1])
        for self.alone in (None,) if found is None else (Alone(em, found), None):
            try:
                schedule = super().scan(node, targets)
                more = {} if self.alone is None else self.alone.notes
                return Schedule((), {**schedule.notes, **more})
            except Unprintable:
                del em.calls[mark.calls :], em.all_loops[mark.all_loops :]
                em.loops[:] = mark.loops
                em.places.clear()
                em.places.update(mark.places)
                self.bufs = dict(bufs)
        NativeWriter.plain = True
        try:
            return super().scan(node, targets)
        finally:
            NativeWriter.plain = False

    def within(self) -> Writer:
        made = NativeWriter(self.em, self.depth + 1)
        made.alone = self.alone
        return made

    def buf(self, v: Value, place: View) -> Buf:
        made = super().buf(v, place)
        if self.alone is not None and self.depth:
            self.alone.name(v, made)
        return made

    def looped(self, loop: Loop) -> None:
        if self.alone is not None:
            self.alone.compose(loop)

    def native(self, region: Region) -> Schedule:
        """Emit the C calls of a region. Raises Unprintable, then with nothing emitted."""
        if self.alone is not None and self.depth:
            for kernel in self.alone.kernels(region):
                self.emit(kernel)
            return Schedule()
        start = len(self.em.calls)
        why = Unprintable("")
        for way in (self.products, self.whole, self.apart):
            try:
                found = way(region)
            except Unprintable as e:
                del self.em.calls[start:]
                why = e
            else:
                if found is not None:
                    return found
        raise why

    def apart(self, region: Region) -> Schedule | None:
        """Emit what no single function holds in parts; None where it has none."""
        done = [self.native(part) for part in apart(region, self.fresh)]
        return done[-1] if done else None

    def whole(self, region: Region) -> Schedule:
        """Emit the C calls of a region that is one function or loops. Raises Unprintable."""
        try:
            alone = scatter.scattered(region, self.place_key)
            alone = alone or lines.lined(region, self.place_key, self.scratch)
            if alone is not None:
                return self.every([alone])
            return self.every(kernels(region, self.place_key, self.scratch))
        except Aliased:
            return self.aside(region)

    def every(self, drawn: Sequence[Kernel]) -> Schedule:
        """Emit calls of kernels, the last of which says what there is to know."""
        for kernel in drawn:
            self.emit(kernel)
        return Schedule((), drawn[-1].notes)

    def products(self, region: Region) -> Schedule | None:
        """Emit a region around products; None, with nothing emitted, where it has none or loops must do."""
        start, kinds = len(self.em.calls), list(self.kinds)
        try:
            notes: dict[str, Any] = {}
            region = widened(region)
            found: Sequence[Kernel | Region] | None = convolution.summed(region, self, self.way)
            if found is not None:
                self.kinds.append("convolution")
            elif (parts := contract.summed(region, self)) is not None:
                found, notes = parts, {"sums": parts[0].stores[0].buf.shape[0]}
            for part in blocks.parts(region, self, self.atom) if found is None else found:
                if isinstance(part, Kernel):
                    self.emit(part)
                    notes |= part.notes
                else:
                    self.native(part)
        except Unprintable:
            del self.em.calls[start:]
            self.kinds = kinds
        return Schedule((), notes) if len(self.em.calls) > start else None

    def atom(self, e: E) -> atoms.Atom | None:
        """The product or convolution that an expression is, laid out as its kernel is to be. Raises Unprintable."""
        made = next((a for make in PRODUCTS if (a := make(e, self.way)) is not None), None)
        self.kinds += [] if made is None else [made.kind]
        return made

    def aside(self, region: Region) -> Schedule:
        """Results that overwrite what is still read go to memory of their own first."""
        stores, copies = [], []
        for s in region.stores:
            t = self.fresh(s.buf.shape, s.buf.dtype)
            stores.append(Store(t, s.idx, s.value))
            axes = tuple(Axis("c", n) for n in s.buf.shape)
            idx = tuple(axis_aff(a) for a in axes)
            value: E = load(t, idx)
            copies.append(Region([Store(s.buf, idx, value)], axes))
        drawn = self.whole(Region(stores, region.order))
        for copy in copies:
            self.whole(copy)
        return drawn

    def place_key(self, buf: Buf) -> Any:
        return place_key(self.em.places[buf])

    def fresh(self, shape: Sequence[int], dtype: str) -> Buf:
        """Memory for a value between kernels."""
        made = Buf("", tuple(shape), dtype)
        self.em.places[made] = View(Slot(dtype, made.shape), 0, {})
        return made

    def scratch(self, n: int, dtype: str = "u32") -> Buf:
        return self.fresh((n,), dtype)

    def folds(self, body: Graph) -> bool:
        return True

    def emit(self, kernel: Kernel) -> None:
        em = self.em
        em.calls.append(called(kernel, [em.places[b] for b in kernel.bufs], em.loop, len(em.calls)))


def native_program(
    graph: Any, key: str, asked: Mapping[str, Mapping[str, Any]] | None = None
) -> Program:
    """The program of a fused step graph with static extents. asked: ways of kernels by name, where they are not the rules'."""
    writer = NativeWriter(Emitter())
    writer.asked = asked or {}
    return written(graph, key, writer, "native", NativeSource)

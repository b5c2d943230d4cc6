"""A fused graph as a native program: C functions for what C can say, NumPy calls for the rest.

Calls of C functions that follow one another, time loops of scans included, become one C function that takes no arguments but
a table of addresses; `step` calls those and, between them, NumPy. The C text stands in the program's source, which asks
`tools.native` to compile it. Refuses to hold what a function computes (`render`) and how C is compiled (`runtime.native`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from codegen.loops import Axis, Buf, E, Region, Schedule, Store, axis_aff, load
from codegen.native import (
    atoms,
    blocks,
    contract,
    convolution,
    gemm,
    lines,
    scatter,
    threads,
    tiles,
)
from codegen.native.apart import apart
from codegen.native.calls import NativeCall, called, place_key
from codegen.native.panels import PANELS
from codegen.native.prelude import prelude
from codegen.native.render import Kernel
from codegen.native.resolve import Unprintable
from codegen.native.rows import rows
from codegen.native.scan import Alone
from codegen.native.stages import kernels
from codegen.native.values import Aliased, element
from codegen.numpy.emit import Emitter
from codegen.numpy.program import Writer, written
from codegen.numpy.text import Source
from codegen.numpy.views import Call, Loop, Operand, Shaped, Slot, View
from codegen.program import Program
from ir.graph import Graph, Node, Value

PRODUCTS: tuple[atoms.Maker, ...] = (
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
    alone: Alone | None = None  # how a scan is cut into blocks of rows, where it is

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
        start = len(self.em.calls)
        try:
            notes: dict[str, Any] = {}
            found = convolution.summed(region, self)
            for part in blocks.parts(region, self, PRODUCTS) if found is None else found:
                if isinstance(part, Kernel):
                    self.emit(part)
                    notes |= part.notes
                else:
                    self.native(part)
        except Unprintable:
            del self.em.calls[start:]
        return Schedule((), notes) if len(self.em.calls) > start else None

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


class NativeSource(Source):
    """The source of a native program: runs of C calls are printed as C functions, in one string."""

    def __init__(self, calls: Sequence[Call], slots: Sequence[Slot]):
        self.every = calls
        self.number = {s: k for k, s in enumerate(slots)}
        self.functions: dict[str, str] = {}  # text of a function without its name: its name
        self.texts: list[str] = []
        self.segments: dict[str, str] = {}  # name of a function for `step`: its text
        self.shares: dict[str, str] = {}  # function that threads share: the text of a part
        self.own = 0  # bytes of scratch of a thread
        self.of_call: dict[int, int] = {}  # call: index of the text it is in
        kept: list[Call] = []
        new_at: dict[int, int] = {}
        at = 0
        while at < len(calls):
            end = at
            while end < len(calls) and (stop := _native_until(calls, end)) is not None:
                end = stop
            if end > at:
                name = self._segment(at, end)
                kept.append(Call(f"{name}()", (), (), False, None, kernel=calls[at].kernel))
                for k in range(at, end):
                    new_at[k] = len(kept) - 1
                at = end
                continue
            new_at[at] = len(kept)
            kept.append(calls[at])
            at += 1
        for lp in {lp for c in kept for lp in _loops(c)}:
            lp.first, lp.last = new_at[lp.first], new_at[lp.last]
        self.new_at = new_at
        super().__init__(kept, slots)
        if self.segments:
            names = list(self.segments)
            self.made.append(f"{', '.join(names)}, = tools.native(C, {names!r}, buffers)")

    # -- C ----------------------------------------------------------------------------------------

    def _function(self, at: int, call: NativeCall) -> str:
        """The name of the C function of a call, printed once for equal ones."""
        kernel = call.function
        assert kernel is not None
        slots = [a.slot for a in call.args if isinstance(a, Shaped)]
        params = []
        for k, b in enumerate(kernel.bufs):
            alone = sum(slots[k] is s for s in slots) == 1
            params.append(
                f"{'' if k in kernel.written else 'const '}{element(b.dtype)} *{'restrict ' if alone else ''}p{k}"
            )
        if kernel.units:
            params += ["long lo", "long hi"]
        if kernel.per_thread:
            params.append("char *own")
            self.own = max(self.own, kernel.per_thread)
        body = f"({', '.join(params)}) {{\n" + "\n".join(kernel.body) + "\n}\n"
        name = self.functions.get(body)
        if name is None:
            name = self.functions[body] = f"k{len(self.functions)}"
            self.texts.append(f"APART void {name}{body}")
        self.of_call[at] = int(name[1:])
        return name

    def _called(self, at: int, call: NativeCall, open_: list[Loop]) -> str:
        """The text of a call."""
        kernel, name = call.function, self._function(at, call)
        assert kernel is not None
        args = [self._address(a, open_) for a in call.args]
        if threads.shared(kernel):
            self.shares[name] = threads.part(name, kernel)
            table = f"(void *[]){{{', '.join(args)}}}"
            return f"each({name}_part, {table}, {kernel.units}, {round(kernel.cost)})"
        args += ["0", str(kernel.units)] if kernel.units else []
        args += ["own"] if kernel.per_thread else []
        return f"{name}({', '.join(args)})"

    def _segment(self, at: int, end: int) -> str:
        lines: list[str] = []
        self._statements(at, end, None, [], lines, 1)
        name = f"s{at}"
        self.segments[name] = f"void {name}(char **b) {{\n" + "\n".join(lines) + "\n}\n"
        return name

    def _statements(
        self, at: int, end: int, loop: Loop | None, open_: list[Loop], lines: list[str], depth: int
    ) -> None:
        pad = "  " * depth
        while at < end:
            call = self.every[at]
            if call.loop is loop:
                assert isinstance(call, NativeCall)
                lines.append(f"{pad}{self._called(at, call, open_)};  // k{call.kernel}")
                at += 1
                continue
            assert call.loop is not None
            inner = call.loop.child_of(loop)
            t = f"t{len(open_)}"
            lines.append(f"{pad}for (long {t} = 0; {t} < {inner.count}; {t}++) {{")
            self._statements(at, inner.last + 1, inner, [*open_, inner], lines, depth + 1)
            lines.append(f"{pad}}}")
            at = inner.last + 1

    def _address(self, a: Operand, open_: list[Loop]) -> str:
        assert isinstance(a, Shaped)
        text = str(a.offset)
        for lp, step in a.loops:
            text += f" + {step}L * t{open_.index(lp)}"
        if a.alternate is not None:
            lp, step = a.alternate
            text += f" + {abs(step)}L * ((t{open_.index(lp)} + {1 if step < 0 else 0}) % 2)"
        text = f"({element(a.slot.dtype)} *)b[{self.number[a.slot]}] + {text}".replace(
            " + 0 +", " +"
        ).removesuffix(" + 0")
        if a.first is not None:
            t = open_.index(a.alternate[0] if a.alternate is not None else a.loops[0][0])
            return f"t{t} == 0 ? {self._address(a.first, open_)} : {text}"
        return text

    # -- Python -----------------------------------------------------------------------------------

    def text(self) -> str:
        plain = super().text()
        at_of = [self.lines[self.new_at[k]] for k in range(len(self.every))]
        if not self.segments:
            self.lines = at_of
            return plain
        out = plain.splitlines()
        at = next(k for k, line in enumerate(out) if line.startswith("def "))
        if len(self.calls) == len(self.segments) == 1:  # all of it is C
            (name,) = self.segments
            out = [out[0], "", *_ALONE.format(name=name).splitlines()]
            at = 2
        body = "\n".join([*self.texts, *self.segments.values()])
        texts = (*gemm.TEXTS, *tiles.TEXTS, PANELS, lines.TEXT)
        head = ['C = r"""', *prelude(body, texts)]
        starts = []
        for t in self.texts:
            starts.append(at + len(head) + 1)
            head += t.splitlines()
        if self.own:
            head.append(f"static __thread char own[{self.own}] __attribute__((aligned(64)));")
        if self.shares:
            head += threads.EACH.splitlines()
        for t in (*self.shares.values(), *self.segments.values()):
            head += t.splitlines()
        head += ['"""', "", ""]
        self.lines = [
            starts[self.of_call[k]] if k in self.of_call else line + len(head)
            for k, line in enumerate(at_of)
        ]
        return "\n".join([*out[:at], *head, *out[at:], ""])


_ALONE = """
def build(buffers, tools):
    step, = tools.native(C, ["{name}"], buffers)
    return step
"""


def _loops(c: Call) -> list[Loop]:
    out, lp = [], c.loop
    while lp is not None:
        out.append(lp)
        lp = lp.parent
    return out


def _native_until(calls: Sequence[Call], at: int) -> int | None:
    """Where the native stretch that begins with call `at` at the top ends; None if it is not native."""
    loops = _loops(calls[at])
    end = loops[-1].last + 1 if loops else at + 1
    return end if all(isinstance(c, NativeCall) for c in calls[at:end]) else None


def native_program(graph: Any, key: str) -> Program:
    """The program of a fused step graph with static extents."""
    return written(graph, key, NativeWriter(Emitter()), "native", NativeSource)

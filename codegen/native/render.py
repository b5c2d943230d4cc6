"""A resolved region as one C function: a loop nest from `codegen.lower`, one axis of it in vector lanes.

Each axis is a loop of single positions but one, which goes W lanes at a time with a masked tail. A sum along the vector
axis keeps W partial sums. Refuses to choose that axis and the order of the loops (`order`), to hold the text of a value (`values`), the spelling of ops (`table`), C's preamble (`prelude`) and memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codegen.loops import Axis, Buf, E, Group, Region, Schedule, Store, compared
from codegen.lower import Acc, Fin, For, Init, Let, Put, Stmt, lower
from codegen.native.forms import form_key, real_axes
from codegen.native.order import lanes_axis, nested
from codegen.native.resolve import Resolver, Unprintable
from codegen.native.table import SLOW, spelled
from codegen.native.values import (
    HALVES,
    Aliased,
    Frame,
    Span,
    Values,
    counter,
    lane,
    literal,
    rounded,
    stored,
    written,
)
from ir.types import FLOATS

ROW = 48 * 1024  # bytes of values that a loop over lanes keeps for the next
WORDS = 2048  # random words of a unit

FEW = 3  # positions that a loop is written out for: taps of a small window


@dataclass
class Kernel:
    """A C function: its body, the buffers of its parameters, and which of those it writes.

    units: where it is not 0, the body computes the units lo <= u < hi of that many (`long lo, long hi`, two more
    parameters), which do not depend on each other: every cut of the range gives the same bits. cost: about the
    nanoseconds that one core takes for all of it. per_thread: bytes of scratch that belong to the calling
    thread, at `own` (`char *`, the last parameter, aligned to 64 bytes), where it is not 0.
    """

    body: list[str]
    bufs: list[Buf]
    written: set[int]
    notes: dict[str, Any] = field(default_factory=dict)
    units: int = 0
    cost: float = 0.0
    per_thread: int = 0


def render(
    region: Region,
    places: Callable[[Buf], Any],
    scratch: Callable[[int], Buf],
    rows: Axis | None = None,
) -> Kernel:
    """The function of a region. `places`: equal for buffers in the same memory. Raises Unprintable.

    rows: the axis whose positions are the function's units; every store must have it, and no sum may be over it.
    """
    frame = Frame(places)
    spans = {} if rows is None else {rows: Span("lo", "hi", rows.size, lanes=False)}
    resolver = Resolver(scratch)
    flat = resolver.run(region, spans)
    lines, notes = _Renderer(flat, resolver.streams, frame, spans, rows).run()
    return Kernel(lines, frame.bufs, frame.written, notes, 0 if rows is None else rows.size)


def nest(
    region: Region,
    frame: Frame,
    scratch: Callable[[int], Buf],
    spans: Mapping[Axis, Span],
    adds: Container[Buf] = (),
) -> list[str]:
    """The loops of a region over parts of some of its axes, for a function of several. Raises Unprintable.

    adds: float buffers to whose elements stores add, at every position of the value.
    """
    resolver = Resolver(scratch)
    renderer = _Renderer(resolver.run(region, spans), resolver.streams, frame, spans)
    renderer.adds = adds
    return renderer.run()[0]


@dataclass(frozen=True)
class Block:
    """The axis that units cut, `rows` positions of it each; `count`, an axis too, is the unit."""

    axis: Axis
    rows: int
    count: Axis


def drawn(region: Region, places: Callable[[Buf], Any], block: Block | None = None) -> Kernel:
    """The function of a resolved region, in units where a block is given. Raises Unprintable.

    With a block, every loop over its axis runs over the positions of the unit alone, and so do sums.
    """
    frame = Frame(places)
    if block is None:
        lines, notes = _Renderer(region, (), frame, {}).run()
        return Kernel(lines, frame.bufs, frame.written, notes)
    rows, n = block.rows, block.axis.size
    whole = rows % 16 == 0 and n % 16 == 0
    spans = {block.axis: Span("from", "to", rows, whole=whole)}
    lines, notes = _Renderer(region, (), frame, spans, block=block).run()
    return Kernel(lines, frame.bufs, frame.written, notes, block.count.size)


def words(stream: tuple[Buf, int, E, E, int], places: Callable[[Buf], Any]) -> Kernel:
    """The function that fills a buffer with random words (`resolve.Resolver.streams`). Raises Unprintable."""
    frame = Frame(places)
    text = _words(Values(frame), stream, f"lo * {WORDS}L", f"hi * {WORDS}L")
    n = stream[4]
    return Kernel([text], frame.bufs, frame.written, {"words": n}, -(-n // WORDS), n * 0.6)


def _words(values: Values, stream: tuple[Buf, int, E, E, int], low: str, high: str = "") -> str:
    """The call that makes random words, all four of each counter at once."""
    buf, number, seed, step, n = stream
    keys = []
    for e in (seed, step):
        if e.op != "load":
            raise Unprintable("a key that is computed")
        keys.append(f"{values.frame.param(e.attr[0])}[{values.form(e.attr[1])}]")
    k0 = f"{keys[0]} + {number * 0x9E3779B9 & 0xFFFFFFFF}u"
    end = f"{high} < {n} ? {high} : {n}" if high else str(n)
    return f"  philox({k0}, {keys[1]}, {values.frame.param(buf, True)}, {low}, {end});"


class _Renderer(Values):
    def __init__(
        self,
        region: Region,
        streams: Sequence[tuple[Buf, int, E, E, int]],
        frame: Frame,
        spans: Mapping[Axis, Span],
        rows: Axis | None = None,
        block: Block | None = None,
    ):
        super().__init__(frame)
        self.region, self.streams, self.spans, self.rows = region, streams, spans, rows
        self.cut = block
        self.nodes = region.nodes()
        self.compared = compared(self.nodes)
        self.lines: list[str] = []
        self.adds: Container[Buf] = ()
        self.row: dict[E, tuple[str, int]] = {}  # array of a value, and the loop that fills it
        self.phase = -1  # number of the loop over lanes among its neighbours
        self.scopes: list[set[E]] = []
        for e in self.nodes:
            if e.op not in ("load", "const", "iota", "red", "inside") and not spelled(e.op):
                raise Unprintable(e.op)

    def run(self) -> tuple[list[str], dict[str, Any]]:
        """The lines, and what there is to know about the loops."""
        axes = list(dict.fromkeys([*(a for e in self.nodes for a in e.axes),
                                   *(a for s in self.region.stores for a in real_axes(s.idx[0]))]))  # fmt: skip
        axes = [a for a in axes if self.cut is None or a is not self.cut.count]
        if any(a.size == 0 for a in axes):
            raise Unprintable("axes of nothing")
        if self.spans and self.streams:
            raise Unprintable("random words of a part")
        if any(self.rows not in real_axes(s.idx[0]) for s in self.region.stores if self.rows):
            raise Unprintable("units that depend on each other")
        self.vars = {a: s.low for a, s in self.spans.items() if s.even and s.most == 1}
        axes = [a for a in axes if a not in self.vars]
        self.vector = lanes_axis(self.region, axes, self.spans)
        order = nested(self.region, axes, self.vector, self.rows)
        self.vars |= {a: counter(k) for k, a in enumerate(order)}
        groups = tuple(Group((a,), "loop") for a in order)
        try:
            tree = lower(self.region, Schedule(groups))
        except ValueError as e:
            raise Unprintable(str(e)) from e
        for stream in self.streams:
            self.lines.append(_words(self, stream, "0"))
        notes: dict[str, Any] = {
            "loops": [a.size for a in order],
            "lanes": self.vars.get(self.vector) if self.vector else None,
        }
        cut = self.cut
        if cut is None:
            self.block(tree, 1)
            return self.lines, notes
        self.vars[cut.count] = "u"
        self.scopes.append(set())
        first = next((k for k, stmt in enumerate(tree) if not _scalar(stmt)), len(tree))
        self.statements(tree[:first], 1)
        self.put(1, "for (long u = lo; u < hi; u++) {")
        end = f"from + {cut.rows} < {cut.axis.size} ? from + {cut.rows} : {cut.axis.size}"
        self.put(2, f"const long from = u * {cut.rows}, to = {end};")
        self.block(tree[first:], 2)
        self.put(1, "}")
        notes["block"] = [self.vars[cut.axis], cut.rows]
        return self.lines, notes

    # -- statements -------------------------------------------------------------------------------

    def put(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def block(self, tree: Sequence[Stmt], depth: int) -> None:
        self.scopes.append(set())
        self.statements(tree, depth)
        self.scopes.pop()

    def need(self, e: E, depth: int) -> None:
        """See to it that a value has its name in this scope: what another loop computed is computed again."""
        if e.op == "const" or any(e in scope for scope in self.scopes):
            return
        if e.op == "red":
            raise Unprintable("a sum that is out of reach")
        row = self.row.get(e)
        made = row is not None and row[1] < self.phase
        if not made:
            for a in e.args:
                self.need(a, depth)
        at = f"{row[0]} + {self.vars[self.vector]}" if row is not None and self.vector else ""
        value = f"ldw_{lane(e.dtype)}({at})" if made else self.value(e)
        self.put(depth, f"const {self.type(e)} {self.name(e)} = {value};")
        if row is not None and row[1] == self.phase:
            self.put(depth, f"stw_{lane(e.dtype)}({at}, {self.name(e)});")
        self.scopes[-1].add(e)

    def keep(self, tree: Sequence[Stmt], depth: int) -> None:
        """Make room for what a loop over lanes computes with effort and a later one needs again."""
        loops = [s for s in tree if isinstance(s, For) and s.group.axes[0] is self.vector]
        self.row, self.phase, left = {}, -1, ROW
        n_lanes = self.vector.size if self.vector is not None else 0
        seen: dict[E, int] = {}
        for n, loop in enumerate(loops if self.vector not in self.spans else ()):
            for stmt in loop.body:
                e = stmt.e if isinstance(stmt, Let) else None
                if (
                    e is None
                    or SLOW.get(e.op, 0) < 6
                    or e.dtype not in FLOATS
                    or not self.is_wide(e)
                ):
                    continue
                size = (n_lanes + 16) * int(lane(e.dtype)[1:]) // 8
                if seen.setdefault(e, n) < n and e not in self.row and size <= left:
                    left -= size
                    self.row[e] = (f"r{self.number(e)}", seen[e])
                    self.put(depth, f"{lane(e.dtype)} r{self.number(e)}[{n_lanes} + W];")

    def statements(self, tree: Sequence[Stmt], depth: int) -> None:
        outside = self.row, self.phase
        if sum(isinstance(s, For) and s.group.axes[0] is self.vector for s in tree) > 1:
            self.keep(tree, depth)
        for stmt in tree:
            if isinstance(stmt, For):
                self.phase += stmt.group.axes[0] is self.vector
                self.loop(stmt, depth)
            elif isinstance(stmt, Let):
                self.need(stmt.e, depth)
            elif isinstance(stmt, Init):
                e = stmt.e
                wide = self.is_wide(e) or self.vector in e.attr[1]
                unit = _unit(e)
                text = f"splat_{lane(e.dtype)}({unit})" if wide else unit
                self.put(depth, f"{'v' if wide else ''}{lane(e.dtype)} a{self.number(e)} = {text};")
            elif isinstance(stmt, Acc):
                self.need(stmt.e.args[0], depth)
                self.accumulate(stmt.e, depth)
            elif isinstance(stmt, Fin):
                e = stmt.e
                text = f"a{self.number(e)}"
                if self.vector in e.attr[1]:
                    text = f"whole_{e.attr[0]}_{lane(e.dtype)}({text})"
                if e.dtype in HALVES and e.attr[0] in ("sum", "prod"):
                    text = rounded(text, e.dtype, self.is_wide(e))
                self.put(depth, f"const {self.type(e)} {self.name(e)} = {text};")
                self.scopes[-1].add(e)
            elif isinstance(stmt, Put):
                self.need(stmt.store.value, depth)
                self.store(stmt.store, depth)
        self.row, self.phase = outside  # arrays made here are known here alone

    def loop(self, stmt: For, depth: int) -> None:
        (a,) = stmt.group.axes
        i = self.vars[a]
        if a is not self.vector:
            span = self.spans.get(a)
            low, high = ("0", str(a.size)) if span is None else (span.low, span.high)
            whole = "UNROLL " if a.size <= FEW and span is None else ""
            self.put(depth, f"{whole}for (long {i} = {low}; {i} < {high}; {i}++) {{")
            self.block(stmt.body, depth + 1)
            self.put(depth, "}")
            return
        if a in self.spans:
            self.part(stmt, self.spans[a], depth)
            return
        n = a.size
        if n >= 4:
            self.put(depth, f"for (long {i} = 0; {i} + W <= {n}; {i} += W) {{")
            self.lane_block(stmt.body, "W", depth + 1, known=n % 16 == 0)
            self.put(depth, "}")
        if n % 16:
            self.put(depth, f"if ({n} % W) {{")
            self.put(depth + 1, f"const long {i} = {n} / W * W;")
            self.lane_block(stmt.body, f"{n} % W", depth + 1)
            self.put(depth, "}")

    def lane_block(self, body: Sequence[Stmt], lanes: str, depth: int, known: bool = True) -> None:
        """The body for so many lanes. known: whether what it reads and writes is to be kept; of whole vectors and the rest one is enough."""
        reads, puts = list(self.reads), list(self.puts)
        self.lanes = lanes
        self.block(body, depth)
        self.lanes = ""
        if not known:
            self.reads, self.puts = reads, puts

    def part(self, stmt: For, span: Span, depth: int) -> None:
        """The vector loop over a part of its axis."""
        i = self.vars[stmt.group.axes[0]]
        whole = span.whole or (span.even and span.most % 16 == 0)
        self.put(depth, f"for (long {i} = {span.low}; {i} + W <= {span.high}; {i} += W) {{")
        self.lane_block(stmt.body, "W", depth + 1, known=whole)
        self.put(depth, "}")
        if whole:
            return
        rest = f"{span.count} % W"
        self.put(depth, f"if ({rest}) {{")
        self.put(depth + 1, f"const long {i} = {span.high} - {rest};")
        self.lane_block(stmt.body, rest, depth + 1)
        self.put(depth, "}")

    def accumulate(self, e: E, depth: int) -> None:
        fn, over = e.attr
        x, t = e.args[0], lane(e.dtype)
        wide = self.is_wide(e) or self.vector in over
        text = self.wide(x) if wide else self.name(x)
        if self.vector in over and self.lanes != "W":
            text = f"select_v{t}(lanes({self.lanes}), {text}, splat_{t}({_unit(e)}))"
        a = f"a{self.number(e)}"
        if e.dtype == "bool":
            self.put(depth, f"{a} = {a} {'|' if fn == 'max' else '&'} {text};")
            return
        name = {"max": "maximum", "min": "minimum"}.get(fn, fn)
        self.put(depth, f"{a} = {name}_{'v' if wide else ''}{t}({a}, {text});")

    def store(self, s: Store, depth: int) -> None:
        flat = s.idx[0]
        p = self.frame.param(s.buf, True)
        key = self.frame.places(s.buf)
        for k, form in [*self.reads]:
            if k == key and form != form_key(flat):
                raise Aliased
        self.puts.append((key, form_key(flat)))
        step = dict(flat.terms).get(self.vector, 0) if self.vector else 0
        at = f"{p} + {self.form(flat)}"
        if not step:
            value = self.name(s.value)
            if self.is_wide(s.value):
                raise Unprintable("lanes without a place")
            sign = "+=" if s.buf in self.adds else "="
            self.put(depth, f"*({at}) {sign} {written(value, s.buf.dtype)};")
            return
        value = self.wide(s.value)
        if s.buf in self.adds:
            gather = "ld" if step == 1 else "ldg"
            at_step = "" if step == 1 else f"{step}, "
            value = f"{gather}_{stored(s.buf.dtype)}({at}, {at_step}{self.lanes}) + {value}"
        value = f"tobytes({value})" if s.buf.dtype == "bool" else value
        kind = stored(s.buf.dtype)
        if step == 1:
            self.put(depth, f"st_{kind}({at}, {value}, {self.lanes});")
        else:
            self.put(depth, f"stg_{kind}({at}, {step}, {value}, {self.lanes});")


def _scalar(stmt: Stmt) -> bool:
    """Whether a statement is a value without axes: the same for all units."""
    return isinstance(stmt, Let) and not stmt.e.axes


def _unit(e: E) -> str:
    fn, t = e.attr[0], e.dtype
    if fn in ("sum", "prod"):
        return literal(0 if fn == "sum" else 1, t)
    if t == "bool":
        return literal(fn == "min", t)
    if t in FLOATS:
        return literal(-math.inf if fn == "max" else math.inf, t)
    bits, signed = int(t[1:]), t[0] == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return literal(low if fn == "max" else high, t)

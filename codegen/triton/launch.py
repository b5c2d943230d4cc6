"""Kernels to be, and the memory they touch: what is launched, and where its buffers lie.

Refuses to hold how a kernel is written and which there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from codegen.loops import Buf, Region, Schedule, Store, below, union_axes
from codegen.triton.render import render
from codegen.triton.schedule import size
from ir.graph import Graph, Node
from ir.types import Type

ALIGN = 64
_MOVES = frozenset({"load", "const", "iota", "at", "spread", "concat", "fold"})


@dataclass(eq=False)
class Place:
    """One buffer of the program, and the kernels that touch it first and last. whole: of the buffer of one step of a loop, that of
    all steps, in which it lies."""

    dtype: str
    shape: tuple[int, ...]
    role: str
    path: str = ""
    first: int = -1
    last: int = -1
    offset: int = -1
    name: str = ""
    whole: Place | None = None

    @property
    def home(self) -> Place:
        """The buffer whose memory this is."""
        return self.whole or self

    @property
    def nbytes(self) -> int:
        return int(Type(self.dtype, self.shape).nbytes)


Write: TypeAlias = Callable[[str, Mapping[Buf, str], bool], str]


@dataclass(eq=False)
class Launch:
    """A kernel to be: what it reads and writes, its schedule, and the node it came from.

    write(name, names, barrier) is its text. A kernel of a region has that too; others are written as a whole, and bring the
    `ways` to write them otherwise.
    """

    reads: list[Buf]
    writes: list[Buf]
    schedule: Schedule
    node: Node | None
    write: Write
    region: Region | None = None
    barrier: bool = False
    part: bool = False  # of the work of its node, of which other launches do the rest
    parts: list[Launch] = field(default_factory=list)
    loop: Any = None  # the loop over time of which this is one step (`codegen.triton.steps.Loop`)
    places: list[Place] = field(default_factory=list)
    ways: Sequence[tuple[Schedule, Write]] = ()

    @property
    def stores(self) -> Sequence[Store]:
        return self.region.stores if self.region is not None else ()

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes of the graph whose work it does."""
        if self.parts:
            return [n for p in self.parts for n in p.nodes]
        if self.node is None:
            return ()
        own = self.node.attrs[0].nodes
        return [m for n in own for m in (n.attrs[0].nodes if n.op.name == "fused" else [n])]

    @property
    def precision(self) -> str:
        """The precision of its matrix product: "ieee", "tf32" or "bf16" for f32, else the dtype; "" without one."""
        for n in self.nodes:
            if n.op.name == "contract":
                of = n.inputs[0].dtype
                return str(n.attr("precision")) if of == "f32" else of
        return ""

    @property
    def why(self) -> tuple[str, ...]:
        """What kept its neighbours out."""
        if self.parts:
            return tuple(dict.fromkeys(w for p in self.parts for w in p.why))
        fused = self.node is not None and self.node.op.name == "fused"
        return tuple(self.node.attrs[1]) if self.node is not None and fused else ()

    @property
    def flops(self) -> int:
        """Floating point operations."""
        if self.parts:
            return sum(p.flops for p in self.parts)
        if self.part:
            if self.region is None:
                return int(self.schedule.notes.get("flops", 0))
            return _flops(self.region, self.schedule)
        again = 0 if self.region is None else _again(self.region, self.schedule)
        loop = self.node is not None and self.node.op.name == "scan"
        times = int(self.node.attr("length")) if self.node is not None and loop else 1
        return again + times * sum(
            int(n.op.flops(*n.op.args(tuple(v.type for v in n.inputs)), *n.attrs))
            for n in self.nodes
            if n.op.flops
        )

    def traffic(self, place_of: Mapping[Buf, Place]) -> int:
        """Bytes read and bytes written, of each buffer once; where computed indices look into one, no more than they reach."""
        reads: dict[Place, int] = {}
        for x in self.parts or [self]:
            reached = {} if x.region is None else _reached(x.region)
            for b in x.reads:
                p = place_of[b]
                reads[p] = max(reads.get(p, 0), min(p.nbytes, reached.get(b, p.nbytes)))
        return sum(reads.values()) + sum(p.nbytes for p in {place_of[b] for b in self.writes})


def _reached(region: Region) -> dict[Buf, int]:
    """Bytes of the buffers that are read at computed indices alone."""
    found: dict[Buf, int] = {}
    for e in region.nodes():
        if e.op == "load":
            buf = e.attr[0]
            elements = size(e.axes) if e.args else size_of(buf)
            found[buf] = found.get(buf, 0) + int(Type(buf.dtype, (elements,)).nbytes)
    return found


def _flops(region: Region, plan: Schedule) -> int:
    """Floating point operations of a region: its product's, and one for each position of all else."""
    rest = (e for e in region.nodes() if e.op not in _MOVES and e.op != "dot")
    own = int(plan.notes.get("flops", 0))
    once = sum(max(size(e.axes), size(union_axes(e.args))) for e in rest)
    return own + once + _again(region, plan)


def _again(region: Region, plan: Schedule) -> int:
    """Operations before a product that its tiles repeat: each makes its own rows or columns, a window's at each tap."""
    out = 0
    for dot in (e for e in region.nodes() if e.op == "dot"):
        rows, depth, columns = plan.groups[-3:]
        batch = math.prod(size(g.axes) for g in plan.groups[:-3])
        for x, own, other in zip(dot.args, (rows, columns), (columns, rows), strict=True):
            made = batch * size((*own.axes, *depth.axes)) * -(-size(other.axes) // other.tile)
            x = x.args[0] if x.op == "at" else x
            steps = sum(size(e.axes) for e in (x, *below(x)) if e.op not in _MOVES)
            out += steps * max(0, made - size(x.axes)) // max(1, size(x.axes))
    return out


def written(
    region: Region, plan: Schedule, name: str, names: Mapping[Buf, str], barrier: bool
) -> str:
    """The text of a region's kernel."""
    return render(name, region, plan, names, barrier=barrier)


def uniform(node: Node | None) -> Any:
    """The number that a kernel writes everywhere, where it writes but one; else None."""
    if node is None or node.op.name != "fused" or len(node.outs) != 1:
        return None
    body: Graph = node.attrs[0]
    return body.nodes[0].attrs[0] if [n.op.name for n in body.nodes] == ["full"] else None


def loads(region: Region) -> list[Buf]:
    """The buffers a region reads, each once."""
    return list(dict.fromkeys(e.attr[0] for e in region.nodes() if e.op == "load"))


def size_of(buf: Buf) -> int:
    """Elements of a buffer."""
    n = 1
    for d in buf.shape:
        n *= d
    return n


def repr_of(idx: Any) -> list[Any]:
    """An index in a form that compares."""
    return [(frozenset(i.terms), i.const) if not isinstance(i, int) else i for i in idx]


def plan(places: list[Place]) -> int:
    """Give temps and results their offsets; those whose lives meet do not overlap. Returns the arena's bytes."""
    live: list[Place] = []
    total = 0
    wanted = [p for p in places if p.role in ("temp", "result") and p.first >= 0]
    for p in sorted(wanted, key=lambda p: (p.first, -p.nbytes)):
        live = [q for q in live if q.last >= p.first]
        at = 0
        for q in sorted(live, key=lambda q: q.offset):
            if q.offset - at >= p.nbytes:
                break
            at = max(at, -(-(q.offset + q.nbytes) // ALIGN) * ALIGN)
        p.offset = at
        live.append(p)
        total = max(total, at + p.nbytes)
    for p in places:
        if p.role == "result" and p.offset < 0:
            p.offset, total = -(-total // ALIGN) * ALIGN, -(-total // ALIGN) * ALIGN + p.nbytes
    return -(-total // ALIGN) * ALIGN

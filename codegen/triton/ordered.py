"""Lines in order, and a lookup's gradient's first kernels: positions in the order of their indices, and where each row begins there.

Runs of positions are sorted by counting: a position's place is the number of those before it in its run. Then runs are merged, many at once:
its place is the number of those before it in each, found by halving. No program waits for another, equal values keep their order (NaN
is behind all others), and the sum over a row's positions is the same every time. A row that no index names has a beginning that
is not its own, by which it is known. Refuses to sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from codegen.loops import Axis, Buf, Group, Schedule
from codegen.triton.positions import is_large
from codegen.triton.schedule import power_of_two

ROWS, COLUMNS = 32, 64  # positions of a program, and how many it is compared with at once
WHOLE = 2048  # positions that are one run
RUN = 1024  # positions of a run where there are more
WAYS = 32  # runs merged at once


@dataclass(frozen=True)
class Order:
    """The buffers: indices [n]; order [n], positions sorted; keys [n], their indices; first, last [rows]; and the kernels that
    fill them, in order."""

    indices: Buf
    order: Buf
    keys: Buf
    first: Buf
    last: Buf
    passes: tuple[Pass, ...]

    @staticmethod
    def of(indices: Buf, rows: int) -> Order:
        """New buffers for the order of `indices` into `rows` rows."""
        n = math.prod(indices.shape)
        first, last = (Buf("", (rows,), "i32") for _ in range(2))
        order, keys = (Buf("", (n,), "i32") for _ in range(2))
        made = _passes(indices, Line(n), order, keys, (first, last))
        return Order(indices, order, keys, first, last, made)

    @property
    def count(self) -> int:
        """How many positions there are."""
        return self.order.shape[0]

    def reads(self) -> list[Buf]:
        """What the kernel that sums reads."""
        return [self.order, self.keys, self.first, self.last]


def in_order(values: Buf, out: Buf, positions: bool) -> tuple[Pass, ...]:
    """Kernels that sort the lines of `values` [lines, n] into `out`: themselves, or the positions (i32) that sort them."""
    lines, n = values.shape
    order, keys = (out, None) if positions else (None, out)
    return _passes(values, Line(n, lines), order, keys, None)


def _passes(
    values: Buf, line: Line, order: Buf | None, keys: Buf | None, ends: tuple[Buf, Buf] | None
) -> tuple[Pass, ...]:
    """Kernels that fill what there is of order and keys, the last of them the ends of rows."""
    length = line.n if line.n <= WHOLE else RUN
    extent = ends[0].shape[0] if ends is not None else 0
    if length == line.n:
        return (Pass(None, values, order, keys, ends, line, length, extent),)
    dtype, shape = ("i32" if extent else values.dtype), (line.count * line.n,)

    def between() -> tuple[Buf | None, Buf]:
        return None if order is None else Buf("", shape, "i32"), Buf("", shape, dtype)

    made = between()
    passes = [Pass(None, values, *made, None, line, length, extent)]
    while length * WAYS < line.n:
        before, made = made, between()
        passes.append(Pass(*before, *made, None, line, length, merges=True))
        length *= WAYS
    last = Pass(*made, order, keys, ends, line, length, merges=True)
    return (*passes, replace(last, warps=2) if last.ways * ROWS <= 512 else last)


@dataclass(frozen=True)
class Line:
    """n positions, and how many such lines lie side by side."""

    n: int
    count: int = 1


@dataclass(frozen=True)
class Pass:
    """A kernel that brings runs of `length` keys into order, or merges such runs, `WAYS` at once.

    given: where the keys come from, None if from their own places; order, keys: what is wanted of both, sorted. ends: where
    rows begin and end, where one run is left and they are wanted. extent: keys are clipped to it, if it is not 0. block: positions of a
    program; across: keys that they are compared with at once.
    """

    given: Buf | None
    values: Buf
    order: Buf | None
    keys: Buf | None
    ends: tuple[Buf, Buf] | None
    line: Line
    length: int
    extent: int = 0
    merges: bool = False
    block: int = ROWS
    across: int = COLUMNS
    warps: int = 4

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return _some(self.given, self.values)

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return _some(self.order, self.keys, *(self.ends or ()))

    def schedule(self) -> Schedule:
        """What a launch needs to know."""
        n, length, walked = self.line.n, self.length, self.ways if self.merges else self.across
        compared = (
            self.ways * length.bit_length() * (2 if self.ends else 1) if self.merges else length
        )
        groups = (
            Group((Axis("p", n),), "grid", self.block),
            Group((Axis("q", length),), "loop", walked),
        )
        notes = {"kind": "order", "grid": self.line.count, "warps": self.warps, "stages": 2,
                 "flops": 8 * n * self.line.count * compared}  # fmt: skip
        return Schedule(groups, notes)

    def others(self) -> Iterator[Pass]:
        """Other ways to do the same."""
        for block, across, warps in (
            (16, 64, 4),
            (64, 64, 4),
            (32, 128, 4),
            (32, 32, 2),
            (64, 32, 8),
        ):
            if (
                block <= self.length or self.length == self.line.n
            ):  # a program's positions are of one run
                across = self.across if self.merges else across
                yield replace(self, block=block, across=across, warps=warps)

    @property
    def ways(self) -> int:
        """Runs that are merged at once."""
        return min(WAYS, power_of_two(-(-self.line.n // self.length)))

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, block = self.line.n, self.block
        head, program, line = self._start()
        values = names[self.values] + line
        lines = [
            *head,
            f"p = {program} * {block} + tl.arange(0, {block})",
            *self._read("own", values, "p", f"p < {n}"),
            *(self._merged(values, program) if self.merges else self._counted(values, program)),
        ]
        if self.order is not None:
            place = "p"
            if self.given is not None:
                place = f"tl.load({names[self.given]}{line} + p, mask=p < {n}, other=0)"
            lines.append(f"tl.store({names[self.order]}{line} + at, {place}, mask=p < {n})")
        if self.keys is not None:
            lines.append(f"tl.store({names[self.keys]}{line} + at, own, mask=p < {n})")
        if self.ends is not None:
            lines.append(f"head = (p < {n}) & (at == first)")
            for b, end in zip(self.ends, ("first", "last"), strict=True):
                lines.append(f"tl.store({names[b]} + own, {end}, mask=head)")
        params = ", ".join(dict.fromkeys(names.values()))
        return "\n".join(["@triton.jit", f"def {name}({params}):", *(f"    {x}" for x in lines)])

    def _start(self) -> tuple[list[str], str, str]:
        """Lines of a kernel's beginning; which of its line's programs it is; how far its line begins behind the first."""
        if self.line.count == 1:
            return [], "tl.program_id(0)", ""
        each = -(-self.line.n // self.block)
        wide = ".to(tl.int64)" if is_large(self.values) else ""
        lines = [
            f"program = tl.program_id(0) % {each}",
            f"line = (tl.program_id(0) // {each}){wide} * {self.line.n}",
        ]
        return lines, "program", " + line"

    def _read(self, name: str, values: str, at: str, mask: str) -> list[str]:
        """Lines that read keys, ready to be compared."""
        ready = "{0}.to(tl.float32)" if self.values.dtype in ("f16", "bf16") else ""
        if self.extent:
            top = self.extent - 1
            ready = f"tl.minimum(tl.maximum({{0}}.to(tl.int64), 0), {top}).to(tl.int32)"
        lines = [f"{name} = tl.load({values} + {at}, mask={mask}, other=0)"]
        return [*lines, f"{name} = {ready.format(name)}"] if ready else lines

    def _counted(self, values: str, program: str) -> list[str]:
        """Lines that find places by comparing each key with all of its run."""
        n, dtype = self.line.n, self.values.dtype
        wide = min(self.across, power_of_two(self.length))
        start = f"{program} * {self.block} // {self.length} * {self.length}"
        before = _before("other[None, :]", "own[:, None]", dtype)
        alike = _alike("other[None, :]", "own[:, None]", dtype)
        zeros = f"tl.zeros(({self.block}, {wide}), tl.int32)"
        return [
            f"start = {'0' if self.length == n else start}",
            f"below = {zeros}",
            f"ahead = {zeros}",
            *([f"equal = {zeros}"] if self.ends else ()),
            f"for k in range(0, {self.length}, {wide}):",
            f"    q = start + k + tl.arange(0, {wide})",
            *(f"    {x}" for x in self._read("other", values, "q", f"q < {n}")),
            f"    real = (q < {n})[None, :]",
            f"    same = {alike} & real",
            f"    below += ({before} & real).to(tl.int32)",
            "    ahead += (same & (q[None, :] < p[:, None])).to(tl.int32)",
            *(["    equal += same.to(tl.int32)"] if self.ends else ()),
            "first = tl.sum(below, 1)",
            "at = start + first + tl.sum(ahead, 1)",
            *(["last = first + tl.sum(equal, 1)"] if self.ends else ()),
        ]

    def _merged(self, values: str, program: str) -> list[str]:
        """Lines that find places by halving each of the runs that are merged."""
        n, length, ways = self.line.n, self.length, self.ways
        span, dtype = length * WAYS, self.values.dtype
        below, upto = _before("x", "own[:, None]", dtype), _upto("x", "own[:, None]", dtype)
        lines = [
            f"start = {program} * {self.block} // {span} * {span}",
            f"run = tl.minimum(start + tl.arange(0, {ways}) * {length}, {n})",
            f"stop = tl.minimum(run + {length}, {n})",
            f"mine = start + (p - start) // {length} * {length}",
            "earlier = run[None, :] < mine[:, None]",
        ]
        own = "tl.where(run[None, :] == mine[:, None], (p - mine)[:, None], {0})"
        if not self.ends:
            there = f"tl.where(earlier, {upto}, {below})"
            lines += self._halved("there", there, values)
            return [*lines, f"at = start + tl.sum({own.format('there')}, 1)"]
        return [
            *lines,
            *self._halved("below", below, values),
            "first = tl.sum(below, 1)",
            f"at = start + tl.sum(tl.where(earlier, 0, {own.format('below')}), 1)",
            *self._halved("upto", upto, values),
            "last = tl.sum(upto, 1)",
            "at += tl.sum(tl.where(earlier, upto, 0), 1)",
        ]

    def _halved(self, name: str, test: str, values: str) -> list[str]:
        """Lines that count, for each position and run, the run's keys that a test holds for."""
        zeros = f"tl.zeros(({self.block}, {self.ways}), tl.int32)"
        return [
            f"low = {zeros} + run[None, :]",
            f"high = {zeros} + stop[None, :]",
            f"for k in range({self.length.bit_length()}):",
            "    left = low < high",
            "    middle = (low + high) // 2",
            *(f"    {x}" for x in self._read("x", values, "middle", "left")),
            f"    right = left & {test}",
            "    low = tl.where(right, middle + 1, low)",
            "    high = tl.where(left & (right == 0), middle, high)",
            f"{name} = low - run[None, :]",
        ]


def _some(*bufs: Buf | None) -> list[Buf]:
    return [b for b in bufs if b is not None]


# -- comparisons: NaN is behind all others, and like NaN -----------------------------------------


def _float(dtype: str) -> bool:
    return dtype in ("f16", "bf16", "f32", "f64")


def _before(x: str, y: str, dtype: str) -> str:
    return f"(({x} < {y}) | (({y} != {y}) & ({x} == {x})))" if _float(dtype) else f"({x} < {y})"


def _alike(x: str, y: str, dtype: str) -> str:
    return f"(({x} == {y}) | (({x} != {x}) & ({y} != {y})))" if _float(dtype) else f"({x} == {y})"


def _upto(x: str, y: str, dtype: str) -> str:
    return f"(({x} <= {y}) | ({y} != {y}))" if _float(dtype) else f"({x} <= {y})"

"""Lines in order, and a lookup's gradient's first kernels: positions in the order of their indices, and where each row begins there.

Runs of positions are sorted by counting: a position's place is the number of those before it in its run. Then runs are merged, many at once:
its place is the number of those before it in each, found by halving. No program waits for another, equal values keep their order (NaN
is behind all others), and the sum over a row's positions is the same every time. A row that no index names has a beginning that
is not its own, by which it is known. Refuses to sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from codegen.loops import Buf, Schedule
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
    rows = ends[0].shape[0] if ends is not None else 0
    if length == line.n:
        return (Counted(values, order, keys, ends, line, length, rows),)
    dtype, shape = ("i32" if rows else values.dtype), (line.count * line.n,)

    def between() -> tuple[Buf | None, Buf]:
        return None if order is None else Buf("", shape, "i32"), Buf("", shape, dtype)

    made = between()
    passes: list[Pass] = [Counted(values, *made, None, line, length, rows)]
    while length * WAYS < line.n:
        before, made = made, between()
        passes.append(Merged(*before, *made, None, line, length))
        length *= WAYS
    return (*passes, Merged(*made, order, keys, ends, line, length))


@dataclass(frozen=True)
class Line:
    """n positions, and how many such lines lie side by side."""

    n: int
    count: int = 1

    def schedule(self) -> Schedule:
        """What a launch needs to know."""
        grid = -(-self.n // ROWS) * self.count
        return Schedule((), {"kind": "order", "grid": grid, "warps": 4, "stages": 2})

    def start(self, like: Buf) -> tuple[list[str], str, str]:
        """Lines of a kernel's beginning; which of its line's programs it is; how far its line begins behind the first."""
        if self.count == 1:
            return [], "tl.program_id(0)", ""
        each = -(-self.n // ROWS)
        wide = ".to(tl.int64)" if is_large(like) else ""
        lines = [
            f"program = tl.program_id(0) % {each}",
            f"line = (tl.program_id(0) // {each}){wide} * {self.n}",
        ]
        return lines, "program", " + line"


@dataclass(frozen=True)
class Counted:
    """Runs of `length` values, each sorted, inside `rows` if that is not 0. ends: where rows begin and end; None where there are none, or
    more than one run."""

    values: Buf
    order: Buf | None
    keys: Buf | None
    ends: tuple[Buf, Buf] | None
    line: Line
    length: int
    rows: int

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return [self.values]

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return _some(self.order, self.keys, *(self.ends or ()))

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, dtype = self.line.n, self.values.dtype
        wide = min(COLUMNS, power_of_two(self.length))
        head, program, line = self.line.start(self.values)
        start = "0" if self.length == n else f"{program} * {ROWS} // {self.length} * {self.length}"
        values, top = names[self.values] + line, self.rows - 1
        clip = f"tl.minimum(tl.maximum({{0}}.to(tl.int64), 0), {top}).to(tl.int32)"
        ready = clip if self.rows else _wide(dtype)
        before = _before("other[None, :]", "own[:, None]", dtype)
        alike = _alike("other[None, :]", "own[:, None]", dtype)
        lines = [
            *head,
            f"p = {program} * {ROWS} + tl.arange(0, {ROWS})",
            f"own = tl.load({values} + p, mask=p < {n}, other=0)",
            *([f"own = {ready.format('own')}"] if ready else ()),
            f"start = {start}",
            f"below = tl.zeros(({ROWS},), tl.int32)",
            f"before = tl.zeros(({ROWS},), tl.int32)",
            *([f"alike = tl.zeros(({ROWS},), tl.int32)"] if self.ends else ()),
            f"for k in range(0, {self.length}, {wide}):",
            f"    q = start + k + tl.arange(0, {wide})",
            f"    other = tl.load({values} + q, mask=q < {n}, other=0)",
            *([f"    other = {ready.format('other')}"] if ready else ()),
            f"    real = (q < {n})[None, :]",
            f"    same = {alike} & real",
            f"    below += tl.sum(({before} & real).to(tl.int32), 1)",
            "    before += tl.sum((same & (q[None, :] < p[:, None])).to(tl.int32), 1)",
            *(["    alike += tl.sum(same.to(tl.int32), 1)"] if self.ends else ()),
            "at = start + below + before",
        ]
        if self.order is not None:
            lines.append(f"tl.store({names[self.order]}{line} + at, p, mask=p < {n})")
        if self.keys is not None:
            lines.append(f"tl.store({names[self.keys]}{line} + at, own, mask=p < {n})")
        if self.ends is not None:
            first, last = (names[b] for b in self.ends)
            lines += [
                f"tl.store({first} + own, below, mask=(p < {n}) & (before == 0))",
                f"tl.store({last} + own, below + alike, mask=(p < {n}) & (before == 0))",
            ]
        return _function(name, names, lines)


@dataclass(frozen=True)
class Merged:
    """Runs of `length` merged, `WAYS` at once. ends: as in `Counted`; None where more than one run is left."""

    given: Buf | None
    given_keys: Buf
    order: Buf | None
    keys: Buf | None
    ends: tuple[Buf, Buf] | None
    line: Line
    length: int

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return _some(self.given, self.given_keys)

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return _some(self.order, self.keys, *(self.ends or ()))

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, span, dtype = self.line.n, self.length * WAYS, self.given_keys.dtype
        ways = min(WAYS, power_of_two(-(-n // self.length)))
        head, program, line = self.line.start(self.given_keys)
        given_keys = names[self.given_keys] + line
        own, ready = "own[:, None]", _wide(dtype)
        lines = [
            *head,
            f"p = {program} * {ROWS} + tl.arange(0, {ROWS})",
            f"own = tl.load({given_keys} + p, mask=p < {n}, other=0)",
            *([f"own = {ready.format('own')}"] if ready else ()),
            f"start = {program} * {ROWS} // {span} * {span}",
            f"run = start + tl.arange(0, {ways}) * {self.length}",
            f"stop = tl.minimum(run + {self.length}, {n})",
            f"mine = start + (p - start) // {self.length} * {self.length}",
            *self._halved("below", _before("x", own, dtype), given_keys, ways),
            *self._halved("upto", _upto("x", own, dtype), given_keys, ways),
            "there = tl.where(run[None, :] < mine[:, None], upto, below)",
            "there = tl.where(run[None, :] == mine[:, None], (p - mine)[:, None], there)",
            "at = start + tl.sum(there, 1)",
        ]
        if self.order is not None and self.given is not None:
            place = f"tl.load({names[self.given]}{line} + p, mask=p < {n}, other=0)"
            lines.append(f"tl.store({names[self.order]}{line} + at, {place}, mask=p < {n})")
        if self.keys is not None:
            lines.append(f"tl.store({names[self.keys]}{line} + at, own, mask=p < {n})")
        if self.ends is not None:
            first, last = (names[b] for b in self.ends)
            lines += [
                "first = tl.sum(below, 1)",
                "head = at == first",
                f"tl.store({first} + own, first, mask=(p < {n}) & head)",
                f"tl.store({last} + own, tl.sum(upto, 1), mask=(p < {n}) & head)",
            ]
        return _function(name, names, lines)

    def _halved(self, name: str, test: str, keys: str, ways: int) -> list[str]:
        """Lines that count, for each position and run, the run's keys that a test holds for."""
        ready = _wide(self.given_keys.dtype)
        return [
            f"low = tl.zeros(({ROWS}, {ways}), tl.int32) + tl.minimum(run, stop)[None, :]",
            f"high = tl.zeros(({ROWS}, {ways}), tl.int32) + stop[None, :]",
            f"for k in range({self.length.bit_length()}):",
            "    left = low < high",
            "    middle = (low + high) // 2",
            f"    x = tl.load({keys} + middle, mask=left, other=0)",
            *([f"    x = {ready.format('x')}"] if ready else ()),
            f"    right = left & {test}",
            "    low = tl.where(right, middle + 1, low)",
            "    high = tl.where(left & (right == 0), middle, high)",
            f"{name} = low - tl.minimum(run, stop)[None, :]",
        ]


Pass: TypeAlias = Counted | Merged


def _some(*bufs: Buf | None) -> list[Buf]:
    return [b for b in bufs if b is not None]


# -- comparisons: NaN is behind all others, and like NaN -----------------------------------------


def _float(dtype: str) -> bool:
    return dtype in ("f16", "bf16", "f32", "f64")


def _wide(dtype: str) -> str:
    """How a value is made ready to be compared; empty where it is."""
    return "{0}.to(tl.float32)" if dtype in ("f16", "bf16") else ""


def _before(x: str, y: str, dtype: str) -> str:
    return f"(({x} < {y}) | (({y} != {y}) & ({x} == {x})))" if _float(dtype) else f"({x} < {y})"


def _alike(x: str, y: str, dtype: str) -> str:
    return f"(({x} == {y}) | (({x} != {x}) & ({y} != {y})))" if _float(dtype) else f"({x} == {y})"


def _upto(x: str, y: str, dtype: str) -> str:
    return f"(({x} <= {y}) | ({y} != {y}))" if _float(dtype) else f"({x} <= {y})"


def _function(name: str, names: Mapping[Buf, str], lines: list[str]) -> str:
    params = ", ".join(dict.fromkeys(names.values()))
    body = [f"    {line}" for line in lines]
    return "\n".join(["@triton.jit", f"def {name}({params}):", *body])

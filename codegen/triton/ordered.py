"""The gradient of a lookup, first kernels: positions in the order of their indices, and where each row of the table begins there.

Runs of positions are sorted by counting: a position's place is the number of those before it in its run. Then runs are merged, many at once:
its place is the number of those before it in each, found by halving. No program waits for another, equal indices keep their order,
and the sum over a row's positions is the same every time. A row that no index names has a beginning that is not its own, by
which it is known. Refuses to sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.loops import Buf, Schedule
from codegen.triton.schedule import power_of_two

ROWS, COLUMNS = 32, 256  # positions of a program, and how many it is compared with at once
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
    passes: tuple[Counted | Merged, ...]

    @staticmethod
    def of(indices: Buf, rows: int) -> Order:
        """New buffers for the order of `indices` into `rows` rows."""
        n = 1
        for d in indices.shape:
            n *= d
        first, last = (Buf("", (rows,), "i32") for _ in range(2))
        length = n if n <= WHOLE else RUN
        made = Buf("", (n,), "i32"), Buf("", (n,), "i32")
        passes: list[Counted | Merged] = [
            Counted(indices, *made, first if n <= WHOLE else None, last, rows, length)
        ]
        while length < n:
            before, made = made, (Buf("", (n,), "i32"), Buf("", (n,), "i32"))
            end = length * WAYS >= n
            passes.append(Merged(*before, *made, first if end else None, last, length))
            length *= WAYS
        return Order(indices, *made, first, last, tuple(passes))

    def reads(self) -> list[Buf]:
        """What the kernel that sums reads."""
        return [self.order, self.keys, self.first, self.last]


@dataclass(frozen=True)
class Counted:
    """Runs of `length` indices, each sorted. first, last: where rows begin and end; None where there is more than one run."""

    indices: Buf
    order: Buf
    keys: Buf
    first: Buf | None
    last: Buf
    rows: int
    length: int

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return [self.indices]

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return [self.order, self.keys, *((self.first, self.last) if self.first else ())]

    def schedule(self) -> Schedule:
        """What the launch needs to know."""
        return _schedule(self.order)

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, top = self.order.shape[0], self.rows - 1
        wide = min(COLUMNS, power_of_two(self.length))
        whole = self.length == n
        start = "0" if whole else f"tl.program_id(0) * {ROWS} // {self.length} * {self.length}"
        indices, order, keys = (names[b] for b in (self.indices, self.order, self.keys))
        clip = f"tl.minimum(tl.maximum({{}}.to(tl.int64), 0), {top}).to(tl.int32)"
        lines = [
            f"p = tl.program_id(0) * {ROWS} + tl.arange(0, {ROWS})",
            f"own = tl.load({indices} + p, mask=p < {n}, other=0)",
            f"own = {clip.format('own')}",
            f"start = {start}",
            f"below = tl.zeros(({ROWS},), tl.int32)",
            f"before = tl.zeros(({ROWS},), tl.int32)",
            *([f"alike = tl.zeros(({ROWS},), tl.int32)"] if self.first else ()),
            f"for k in range(0, {self.length}, {wide}):",
            f"    q = start + k + tl.arange(0, {wide})",
            f"    other = tl.load({indices} + q, mask=q < {n}, other=0)",
            f"    other = {clip.format('other')}",
            f"    real = (q < {n})[None, :]",
            "    same = (other[None, :] == own[:, None]) & real",
            "    below += tl.sum(((other[None, :] < own[:, None]) & real).to(tl.int32), 1)",
            "    before += tl.sum((same & (q[None, :] < p[:, None])).to(tl.int32), 1)",
            *(["    alike += tl.sum(same.to(tl.int32), 1)"] if self.first else ()),
            "at = start + below + before",
            f"tl.store({order} + at, p, mask=p < {n})",
            f"tl.store({keys} + at, own, mask=p < {n})",
        ]
        if self.first is not None:
            lines += [
                f"tl.store({names[self.first]} + own, below, mask=(p < {n}) & (before == 0))",
                f"tl.store({names[self.last]} + own, below + alike, mask=(p < {n}) & (before == 0))",
            ]
        return _function(name, names, lines)


@dataclass(frozen=True)
class Merged:
    """Runs of `length` merged, `WAYS` at once. first, last: as in `Counted`; None where more than one run is left."""

    given: Buf
    given_keys: Buf
    order: Buf
    keys: Buf
    first: Buf | None
    last: Buf
    length: int

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return [self.given, self.given_keys]

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return [self.order, self.keys, *((self.first, self.last) if self.first else ())]

    def schedule(self) -> Schedule:
        """What the launch needs to know."""
        return _schedule(self.order)

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, span = self.order.shape[0], self.length * WAYS
        ways = min(WAYS, power_of_two(-(-n // self.length)))
        given, given_keys, order, keys = (
            names[b] for b in (self.given, self.given_keys, self.order, self.keys)
        )
        lines = [
            f"p = tl.program_id(0) * {ROWS} + tl.arange(0, {ROWS})",
            f"own = tl.load({given_keys} + p, mask=p < {n}, other=0)",
            f"start = tl.program_id(0) * {ROWS} // {span} * {span}",
            f"run = start + tl.arange(0, {ways}) * {self.length}",
            f"stop = tl.minimum(run + {self.length}, {n})",
            f"mine = start + (p - start) // {self.length} * {self.length}",
            *self._halved("below", "x < own[:, None]", given_keys, ways),
            *self._halved("upto", "x <= own[:, None]", given_keys, ways),
            "there = tl.where(run[None, :] < mine[:, None], upto, below)",
            "there = tl.where(run[None, :] == mine[:, None], (p - mine)[:, None], there)",
            "at = start + tl.sum(there, 1)",
            f"tl.store({order} + at, tl.load({given} + p, mask=p < {n}, other=0), mask=p < {n})",
            f"tl.store({keys} + at, own, mask=p < {n})",
        ]
        if self.first is not None:
            lines += [
                "first = tl.sum(below, 1)",
                "head = at == first",
                f"tl.store({names[self.first]} + own, first, mask=(p < {n}) & head)",
                f"tl.store({names[self.last]} + own, tl.sum(upto, 1), mask=(p < {n}) & head)",
            ]
        return _function(name, names, lines)

    def _halved(self, name: str, test: str, keys: str, ways: int) -> list[str]:
        """Lines that count, for each position and run, the run's keys that a test holds for."""
        return [
            f"low = tl.zeros(({ROWS}, {ways}), tl.int32) + tl.minimum(run, stop)[None, :]",
            f"high = tl.zeros(({ROWS}, {ways}), tl.int32) + stop[None, :]",
            f"for k in range({self.length.bit_length()}):",
            "    left = low < high",
            "    middle = (low + high) // 2",
            f"    x = tl.load({keys} + middle, mask=left, other=0)",
            f"    right = left & ({test})",
            "    low = tl.where(right, middle + 1, low)",
            "    high = tl.where(left & (right == 0), middle, high)",
            f"{name} = low - tl.minimum(run, stop)[None, :]",
        ]


def _schedule(order: Buf) -> Schedule:
    grid = -(-order.shape[0] // ROWS)
    return Schedule((), {"kind": "order", "grid": grid, "warps": 4, "stages": 2})


def _function(name: str, names: Mapping[Buf, str], lines: list[str]) -> str:
    params = ", ".join(dict.fromkeys(names.values()))
    body = [f"    {line}" for line in lines]
    return "\n".join(["@triton.jit", f"def {name}({params}):", *body])

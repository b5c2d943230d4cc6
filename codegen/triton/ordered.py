"""The gradient of a lookup, first kernel: positions in the order of their indices, and where each row of the table begins there.

A position's place is the number of those before it, counted against all others: no program waits for another, equal indices keep their
order, and the sum over a row's positions is the same every time. A row that no index names has a beginning that is not its
own, by which it is known. Refuses to sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.loops import Buf, Schedule
from codegen.triton.schedule import power_of_two

ROWS, COLUMNS = 32, 256  # positions of a program, and how many it is compared with at once


@dataclass(frozen=True)
class Order:
    """The buffers: indices [n]; order [n], positions sorted; keys [n], their indices; first, last [rows]."""

    indices: Buf
    order: Buf
    keys: Buf
    first: Buf
    last: Buf

    @staticmethod
    def of(indices: Buf, rows: int) -> Order:
        """New buffers for the order of `indices` into `rows` rows."""
        n = 1
        for d in indices.shape:
            n *= d
        made = [Buf("", (k,), "i32") for k in (n, n, rows, rows)]
        return Order(indices, *made)

    def reads(self) -> list[Buf]:
        """What the kernel that sums reads."""
        return [self.order, self.keys, self.first, self.last]

    def schedule(self) -> Schedule:
        """What the launch needs to know."""
        n = self.order.shape[0]
        return Schedule((), {"kind": "order", "grid": -(-n // ROWS), "warps": 4, "stages": 2})

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        n, top = self.order.shape[0], self.first.shape[0] - 1
        wide = min(COLUMNS, power_of_two(n))
        indices, order, keys, first, last = (
            names[b] for b in (self.indices, self.order, self.keys, self.first, self.last)
        )
        clip = f"tl.minimum(tl.maximum({{}}.to(tl.int64), 0), {top}).to(tl.int32)"
        if self.indices.dtype[0] == "u":
            clip = f"tl.minimum({{}}.to(tl.uint64), {top}).to(tl.int32)"
        params = ", ".join(dict.fromkeys(names.values()))
        return f"""@triton.jit
def {name}({params}):
    p = tl.program_id(0) * {ROWS} + tl.arange(0, {ROWS})
    own = tl.load({indices} + p, mask=p < {n}, other=0)
    own = {clip.format("own")}
    below = tl.zeros(({ROWS},), tl.int32)
    before = tl.zeros(({ROWS},), tl.int32)
    alike = tl.zeros(({ROWS},), tl.int32)
    for k in range(0, {n}, {wide}):
        q = k + tl.arange(0, {wide})
        other = tl.load({indices} + q, mask=q < {n}, other=0)
        other = {clip.format("other")}
        real = (q < {n})[None, :]
        same = (other[None, :] == own[:, None]) & real
        below += tl.sum(((other[None, :] < own[:, None]) & real).to(tl.int32), 1)
        before += tl.sum((same & (q[None, :] < p[:, None])).to(tl.int32), 1)
        alike += tl.sum(same.to(tl.int32), 1)
    at = below + before
    tl.store({order} + at, p, mask=p < {n})
    tl.store({keys} + at, own, mask=p < {n})
    tl.store({first} + own, below, mask=(p < {n}) & (before == 0))
    tl.store({last} + own, below + alike, mask=(p < {n}) & (before == 0))"""

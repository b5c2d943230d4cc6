"""Tiles of rows and columns in a kernel that is written node by node: where they are in memory, how they are read and written.

A tile has a segment of a value's columns (`codegen.triton.columns`) at a block of rows; what does not change is written before
the loop. Refuses to hold what is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codegen.loops import Buf, Region, Schedule
from codegen.triton.columns import Columns, Segment
from codegen.triton.positions import Val, is_large
from codegen.triton.reductions import Reductions
from codegen.triton.schedule import power_of_two
from codegen.triton.spelling import DTYPES, literal
from ir.graph import Value

Constant = float | int | bool


class Tiles(Reductions):
    """The lines before, in and after the loop, and the tiles written so far."""

    rows = 1  # of a program
    n_rows = 1
    dot = False  # whether products are of matrix units
    resident = True

    def __init__(self, plan: Columns):
        super().__init__(Region([]), Schedule(), {}, False)
        self.plan = plan
        self.ins: dict[Value, Buf | Constant] = {}
        self.width = 1
        self.done: dict[Any, Val] = {}
        self.head: list[str] = []
        self.step: list[str] = []
        self.last: list[str] = []

    def padded(self, s: Segment) -> int:
        """The columns of a segment's tile."""
        n = s[1] - s[0]
        return 1 if n == 1 else max(16 if self.dot else 2, power_of_two(n))

    def block(self, dims: Iterable[int]) -> str:
        sizes = [str(self.rows if d == 0 else self.width) for d in dims]
        return f"({', '.join(sizes)},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def inside(self, s: Segment) -> Val | None:
        """The condition for a column of a tile to be one of the segment."""
        n, width = s[1] - s[0], self.padded(s)
        return (
            None
            if n == width
            else Val(self.once(f"cols_{width} < {n}", ("m", n, width)), (1,), "bool")
        )

    def once(self, text: str, key: Any) -> str:
        """A position or a condition, written once before the loop."""
        if key not in self.done:
            lines, self.lines, depth, self.depth = self.lines, self.head, self.depth, 1
            self.done[key] = Val(self.name(text, "m" if key[0] == "m" else "a"), (), "")
            self.lines, self.depth = lines, depth
        return self.done[key].text

    def address(
        self, v: Value, s: Segment, buf: Buf, time: str
    ) -> tuple[str, tuple[int, ...], list[Val]]:
        """Where the segment of a value is in memory: offset, dimensions, conditions."""
        steps = self.plan.steps(v)
        wide_ = ".to(tl.int64)" if is_large(buf) else ""
        out, dims, conditions = "", [], []
        if time:
            per_step = 1
            for n in v.shape:
                per_step *= n
            out += f" + {time}{wide_} * {per_step}"
        if self.plan.has_rows(v):
            text = f"rows{wide_}"
            if self.rows > 1:
                dims.append(0)
                text = text + ("[:, None]" if s[1] - s[0] > 1 else "")
                if self.n_rows % self.rows:
                    conditions.append(Val("rm", (0,), "bool"))
            out += f" + {text} * {steps[self.plan.row]}"
        e = self.plan.column(v)
        if e is not None:
            step = steps[e]
            if s[0]:
                out += f" + {s[0] * step}"
            if s[1] - s[0] > 1:
                dims.append(1)
                text = f"cols_{self.padded(s)}"
                text = text if len(dims) == 1 else f"{text}[None, :]"
                out += f" + {text}" if step == 1 else f" + {text} * {step}"
                test = self.inside(s)
                if test is not None:
                    conditions.append(test)
        return out, tuple(dims), conditions

    def loaded(self, v: Value, s: Segment, time: str = "") -> Val:
        """A segment of an operand, read."""
        buf = self.ins[v]
        if not isinstance(buf, Buf):
            return Val(literal(buf, v.dtype), (), v.dtype, True)
        offset, dims, conditions = self.address(v, s, buf, time)
        mask = self.joined(conditions)
        more = (
            ""
            if mask is None
            else f", mask={self.shown(f'({mask.text})', mask.dims, dims)}, other=0"
        )
        return Val(self.name(f"tl.load({self.names[buf]}{offset}{more})"), dims, v.dtype)

    def stored(self, v: Value, s: Segment, x: Val, buf: Buf, time: str) -> None:
        """Write the line that stores a segment."""
        offset, dims, conditions = self.address(v, s, buf, time)
        if not self.plan.has_rows(v) and self.n_rows > self.rows:  # the same in all programs
            conditions.append(Val("(tl.program_id(0) == 0)", (), "bool"))
        x = self.across(x, dims, s)
        mask = self.joined(conditions)
        more = "" if mask is None else f", mask={self.shown(f'({mask.text})', mask.dims, dims)}"
        self.line(f"tl.store({self.names[buf]}{offset}, {x.text}{more})")

    def across(self, x: Val, dims: tuple[int, ...], s: Segment) -> Val:
        """A value over these dimensions, all of them."""
        self.width = self.padded(s)
        if x.dims == dims and not x.const:
            return x
        text = x.text if not x.const else f"tl.full((), {x.text}, {DTYPES[x.dtype]})"
        if not dims:
            return Val(self.name(text), (), x.dtype)
        return Val(
            self.name(f"tl.broadcast_to({self.shown(text, x.dims, dims)}, {self.block(dims)})"),
            dims,
            x.dtype,
        )

    def dims_of(self, v: Value, s: Segment) -> tuple[int, ...]:
        """The dimensions that a segment of a value has at most."""
        rows = self.plan.has_rows(v) and self.rows > 1
        return (*((0,) if rows else ()), *((1,) if s[1] - s[0] > 1 else ()))

    def columns_of(self, width: int) -> None:
        """See to it that the positions of a tile of this width are written."""
        line = f"    cols_{width} = tl.arange(0, {width})"
        if line not in self.head:
            self.head.insert(0, line)

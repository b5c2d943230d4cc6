"""A lookup's gradient over sorted indices: each row of the table sums the updates whose positions the order has for it.

A row that many positions name (the word that pads) would keep one program busy while others are done: where positions are many, the
sums of stretches of the order that are one row's alone are taken first, each by a program of its own. What is left of a
row is its two ends, and the sums of the stretches between them. Refuses to sort (`ordered`), and sums in any order (`atomic`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from codegen.loops import Axis, Buf, E, Group, Region, Schedule, Store, axis_aff
from codegen.triton.ordered import Order
from codegen.triton.positions import Index, Val
from codegen.triton.reductions import Reductions, wide
from codegen.triton.schedule import power_of_two, size
from codegen.triton.spelling import DTYPES, literal

FEW = 128  # positions that a row sums by itself


def stretch_of(n: int) -> int:
    """Positions of a stretch of n; 0 where there are none."""
    return 0 if n <= FEW else min(512, max(32, power_of_two(math.isqrt(n)) // 2))


def stretched(scatter: E, made: Schedule, order: Order) -> tuple[Region, Schedule]:
    """What sums the stretches of a lookup's gradient laid out as `made`; those that have more than one row get 0."""
    _, over, _ = scatter.attr
    length = stretch_of(order.count)
    number = Axis("s", -(-order.count // length))
    own = _own(scatter)
    dtype = wide(scatter.dtype)
    sums = Buf("", (number.size, *(a.size for a in own)), dtype)
    axes = (number, *own)
    value = E("scatter", scatter.args, (number, over, False), dtype, axes)
    walked = next(g for g in made.groups if g.role == "loop")
    groups = [Group((number,), "grid", 1), Group(walked.axes, "loop", min(32, length))]
    if own:
        groups.append(Group(tuple(own), "grid", min(power_of_two(size(own)), 128)))
    notes = {"kind": "stretches", "warps": 4, "order": order, "stretch": length}
    store = Store(sums, tuple(map(axis_aff, axes)), value)
    return Region([store], (number, *own, *walked.axes)), Schedule(tuple(groups), notes)


class Lookups(Reductions):
    """Writes the loops over the positions of rows, which are the first group, or of stretches likewise."""

    def summed(self, k: int, e: E) -> None:
        """Sum what the positions of group k send to this program's rows."""
        order: Order = self.schedule.notes["order"]
        sums: Buf | None = self.schedule.notes.get("sums")
        row = self.index(e.attr[0], self.env)
        start, stop = self.span(order, row)
        end, head, tail = stop, "", ""
        if sums is not None:
            length = stretch_of(order.count)
            head = self.name(
                f"tl.minimum(({start} + {length - 1}) // {length} * {length}, {stop})", "s"
            )
            tail = self.name(f"tl.maximum({stop} // {length} * {length}, {head})", "s")
            end = self.name(f"{stop} - ({tail} - {head})", "s")
        at, acc = len(self.lines), f"acc{self.count}"
        self.count += 1
        with self.walk(k, start, end, row.dims) as here:
            where = here.text
            if head:
                before, skip = (
                    self.shown(t, row.dims, here.dims) for t in (head, f"({tail} - {head})")
                )
                where = f"{where} + tl.where({where} < {before}, 0, {skip})"
            mask = self.masks[k]
            assert mask is not None
            text = f"tl.load({self.names[order.order]} + {where}, mask={mask.text}, other=0)"
            self.axes_of(k, self.name(text, "p"), here.dims)
            own = self.over(e)
            v = self.widened(self.value(e.args[1], self.home(self.env, own)))
            v = self.masked(self.spread_over(v, here.dims), [k], 0)
            made = self.into(acc, "sum", v)
        if sums is not None:
            start, end = (self.name(f"{x} // {length}", "s") for x in (head, tail))
            with self.walk(k, start, end, row.dims) as here:
                self.into(acc, "sum", self.part_of(sums, e, here))
        zero = literal(0, made.dtype)
        fresh = f"{acc} = tl.full({self.block(made.dims)}, {zero}, {DTYPES[made.dtype]})"
        self.lines.insert(at, "    " * self.depth + fresh)
        if k in made.dims:
            made = self.reduce(made, "sum", k)
        self.keep(("done", e), self.cast(made, e.dtype))

    def span(self, order: Order, row: Index) -> tuple[str, str]:
        """The first position of each row, or of this stretch, and the one behind its last."""
        n, keys = order.count, self.names[order.keys]
        length = self.schedule.notes.get("stretch")
        if length:
            start = self.name(f"{row.text} * {length}", "s")
            stop = self.name(f"tl.minimum({start} + {length}, {n})", "s")
            one = self.name(f"tl.load({keys} + {start}) == tl.load({keys} + {stop} - 1)", "m")
            return start, self.name(f"tl.where({one}, {stop}, {start})", "s")
        mask = self.joined(self.tails(row.dims))
        end = f", mask={mask.text}, other=0)" if mask is not None else ")"
        first, last = (
            f"tl.load({self.names[b]} + {row.text}{end}" for b in (order.first, order.last)
        )
        start = self.name(f"tl.minimum(tl.maximum({first}, 0), {n - 1})", "s")
        found = self.name(f"tl.load({keys} + {start}) == {row.text}", "m")
        return start, self.name(f"tl.where({found}, {last}, {start})", "s")

    @contextmanager
    def walk(self, k: int, start: str, stop: str, dims: tuple[int, ...]) -> Iterator[Index]:
        """A loop from start to stop, which have `dims`; inside it, where group k is."""
        tile, most = self.groups[k].tile, f"{stop} - {start}"
        self.line(f"for k in range(0, {f'tl.max({most}, 0)' if dims else most}, {tile}):")
        with self.scope():
            over = (*dims, k)
            first, last = (self.shown(x, dims, over) for x in (start, stop))
            text = self.name(
                f"{first} + k + {self.shown(f'tl.arange(0, {tile})', (k,), over)}", "i"
            )
            self.masks[k] = Val(self.name(f"{text} < {last}", "m"), over, "bool")
            yield Index(text, over, 0, size(self.groups[k].axes) - 1)

    def part_of(self, sums: Buf, e: E, here: Index) -> Val:
        """The sums of the stretches at a position."""
        found = [
            (self.index(a, self.env), n) for a, n in zip(_own(e), sums.strides[1:], strict=True)
        ]
        found.insert(0, (here, sums.strides[0]))
        dims = tuple(sorted({d for i, _ in found for d in i.dims}))
        mask = self.joined(self.tails(dims))
        assert mask is not None
        shown = self.shown(f"({mask.text})", mask.dims, dims)
        offset = self.offset(found, dims, sums)
        other = literal(0, sums.dtype)
        text = f"tl.load({self.names[sums]}{offset}, mask={shown}, other={other})"
        return Val(self.name(text), dims, sums.dtype)


def _own(scatter: E) -> list[Axis]:
    """The axes of a lookup's gradient beside the table's rows that its updates have."""
    return [a for a in scatter.args[1].axes if a not in scatter.attr[1] and a.size > 1]

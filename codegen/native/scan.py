"""A loop over time in blocks of rows: each block runs through all of the loop alone, the blocks at the same time.

The kernels of a body whose rows never meet (`rows`) are rendered for a range of rows and become one C function: for
each block, for each step, kernel after kernel, so that what a step hands to the next stays in the nearest cache. Products with
matrices that no step changes read them packed, once a call (`panels`). Refuses to hold which values are rows, and memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region, Store, axis_aff, load
from codegen.native.calls import NativeCall, called, place_key
from codegen.native.panels import packed_size
from codegen.native.render import Kernel, render
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.values import Aliased, element
from codegen.numpy.emit import Emitter
from codegen.numpy.views import Loop, Shaped, Slot, View
from ir.graph import Value

FEW, MANY = (
    8,
    16,
)  # rows of a block: as many as a tile of registers, or two where there are blocks enough
ENOUGH = 64


def block(rows: int) -> int:
    """Rows of one block. Does not depend on threads: how a program is cut is part of it."""
    return FEW if rows < ENOUGH else MANY


def by_rows(region: Region, rows: Mapping[Buf, int]) -> list[tuple[Axis, Region]]:
    """The region in parts whose stores walk the same axes, each with the one that is its rows: lanes go along one axis.

    Raises Unprintable where rows are not one axis.
    """
    out: list[tuple[Axis, set[Axis], list[Store]]] = []
    for s in sorted(region.stores, key=lambda s: -len(_walked(s))):
        seen = [(s.buf, s.idx), *((e.attr[0], e.attr[1]) for e in Region([s]).nodes() if e.op == "load")]  # fmt: skip
        forms = [idx[rows[buf]] for buf, idx in seen if buf in rows]
        axes = {f.terms[0][0] for f in forms if isinstance(f, Aff) and f.terms}
        if len(axes) != 1 or any(repr(f) != repr(axis_aff(*axes)) for f in forms):
            raise Unprintable("rows at other places")
        (axis,) = axes
        found = next((p for p in out if p[0] is axis and _walked(s) <= p[1]), None)
        if found is None:
            out.append((axis, _walked(s), [s]))
        else:
            found[2].append(s)
    return [(axis, Region(stores, region.order)) for axis, _, stores in out]


def _walked(s: Store) -> set[Axis]:
    return {a for i in s.idx for a, _ in i.terms}


def stages(
    region: Region, rows: Axis, scratch: Callable[[tuple[int, ...], str], Buf]
) -> list[Region]:
    """The region as several, one after another: each product alone, from memory into memory."""
    dots = [e for e in region.nodes() if e.op == "dot"]
    if not dots or (len(dots) == 1 and plain_product(region)):
        return [region]
    out: list[Region] = []
    known: dict[E, E] = {}

    def stored(e: E) -> E:
        """A value in memory: what reads it there."""
        if rows not in e.axes:
            raise Unprintable("a product of what all rows share")
        axes = [rows, *(a for a in e.axes if a is not rows)]
        buf = scratch(tuple(a.size for a in axes), e.dtype)
        idx = tuple(axis_aff(a) for a in axes)
        out.append(Region([Store(buf, idx, e)], tuple(axes)))
        return load(buf, idx)

    for e in region.nodes():
        new = E(e.op, tuple(known[a] for a in e.args), e.attr, e.dtype, e.axes)
        if e.op == "dot":
            args = tuple(a if plain(a) else stored(a) for a in new.args)
            new = stored(E("dot", args, e.attr, e.dtype, e.axes))
        known[e] = new
    last = [Store(s.buf, s.idx, known[s.value]) for s in region.stores]
    return [*out, Region(last, region.order)]


def plain(e: E) -> bool:
    """Whether a value is memory as it stands."""
    buf, idx, fill = e.attr if e.op == "load" else (None, (), None)
    return buf is not None and not e.args and fill is None and all(isinstance(i, Aff) for i in idx)


def line(
    axes: Sequence[Axis], forms: Sequence[dict[Axis, int]]
) -> tuple[int, tuple[int, ...]] | None:
    """The extent and the strides of axes taken as one; None where the strides forbid it."""
    real = sorted(axes, key=lambda a: -abs(forms[0][a]))
    if any(f[a] != f[b] * b.size for a, b in itertools.pairwise(real) for f in forms):
        return None
    return math.prod(a.size for a in real), tuple(f[real[-1]] if real else 0 for f in forms)


def plain_product(region: Region) -> bool:
    """Whether a region is one product of memory."""
    e = region.stores[0].value
    return len(region.stores) == 1 and e.op == "dot" and all(map(plain, e.args))


def product(
    region: Region, rows: Axis, packed: Callable[[Buf, int, int, int, int, int], Buf]
) -> Kernel:
    """The product of rows with a matrix that all share.

    packed: the panels of a matrix from its buffer, its offset there, k, n and their strides. Raises Unprintable.
    """
    store = region.stores[0]
    e = store.value
    x, y = e.args if rows in e.args[0].axes else e.args[::-1]
    if e.dtype not in ("f32", "f64") or e.attr[0] not in ("ieee", None, ""):
        raise Unprintable(f"a product of {e.dtype}, {e.attr[0]}")
    if rows in y.axes or x.dtype != e.dtype or y.dtype != e.dtype:
        raise Unprintable("a product in each row")
    fx, fy, fo = (flat_form(b, i) for b, i in ((x.attr[0], x.attr[1]), (y.attr[0], y.attr[1]), (store.buf, store.idx)))  # fmt: skip
    sx, sy, so = dict(fx.terms), dict(fy.terms), dict(fo.terms)
    over = [a for a in e.attr[1] if a.size > 1]
    deep = line(over, [sx, sy]) if all(a in sx and a in sy for a in over) else None
    kept = [a for a in so if a in sx and a is not rows]
    cols = line([a for a in so if a in sy], [sy, so])
    if deep is None or cols is None or any(a in sy for a in kept) or any(a not in so and a not in over for a in (*sx, *sy)):  # fmt: skip
        raise Unprintable("a product whose axes do not merge")
    (k, (xk, yk)), (n, (yn, on)) = deep, cols
    if on != 1 and n > 1:
        raise Unprintable("a product into columns apart")
    panels = packed(y.attr[0], fy.const, k, n, yk, yn)
    left, out = f"p0 + {fx.const} + {sx[rows]} * lo", f"p2 + {fo.const} + {so[rows]} * lo"
    body = []
    for j, a in enumerate(kept):
        body.append("  " * (j + 1) + f"for (long i{j} = 0; i{j} < {a.size}; i{j}++)")
        left, out = f"{left} + {sx[a]} * i{j}", f"{out} + {so[a]} * i{j}"
    call = f"under_{e.dtype}(hi - lo, {n}, {k}, {left}, {sx[rows]}, {xk}, p1, {out}, {so[rows]});"
    body.append("  " * (len(kept) + 1) + call)
    times = math.prod(a.size for a in kept)
    cost = 2 * rows.size * n * k * times / 80
    return Kernel(body, [x.attr[0], panels, store.buf], {2}, {}, rows.size, cost)


class Alone:
    """A loop on its way to blocks of rows. `rows`: which dimension of the body's values they are."""

    def __init__(self, em: Emitter, rows: Mapping[Value, int]):
        self.em, self.rows = em, rows
        self.row_of: dict[Buf, int] = {}
        self.packed: dict[Any, Buf] = {}
        self.before: list[Kernel] = []
        self.notes: dict[str, Any] = {}

    def name(self, v: Value, buf: Buf) -> None:
        """Say that a buffer holds a value of the body."""
        if v in self.rows:
            self.row_of[buf] = self.rows[v]

    def kernels(self, region: Region) -> list[Kernel]:
        """The functions of a region of the body, whose units are rows. Raises Unprintable."""
        read = {self.place(e.attr[0]) for e in region.nodes() if e.op == "load"}
        if any(self.place(s.buf) in read for s in region.stores):
            raise Unprintable("rows that are written are still read")
        return [
            self.kernel(stage, axis)
            for axis, part in by_rows(region, self.row_of)
            for stage in stages(part, axis, self.scratch)
        ]

    def kernel(self, region: Region, axis: Axis) -> Kernel:
        if plain_product(region) and not all(axis in x.axes for x in region.stores[0].value.args):
            return product(region, axis, self.panels)
        try:
            return render(region, self.place, self.words, axis)
        except Aliased as e:
            raise Unprintable("rows that are written are still read") from e

    def place(self, buf: Buf) -> Any:
        return place_key(self.em.places[buf])

    def words(self, n: int) -> Buf:
        return self.scratch((n,), "u32")

    def scratch(self, shape: tuple[int, ...], dtype: str) -> Buf:
        made = Buf("", shape, dtype)
        self.em.places[made] = View(Slot(dtype, shape), 0, {})
        return made

    def panels(self, matrix: Buf, offset: int, k: int, n: int, bk: int, bn: int) -> Buf:
        """The panels of a matrix, packed once before the loop."""
        place = self.em.places[matrix]
        if place.loops or place.alternate is not None or place.first is not None:
            raise Unprintable("a matrix that changes")
        key = (self.place(matrix), offset, k, n, bk, bn)
        found = self.packed.get(key)
        if found is None:
            found = self.packed[key] = self.scratch((packed_size(k, n),), matrix.dtype)
            call = f"  panels_{matrix.dtype}({k}, {n}, p0 + {offset}, {bk}, {bn}, p1);"
            self.before.append(Kernel([call], [matrix, found], {1}, {}, 0, 1.0 * k * n))
        return found

    def compose(self, loop: Loop) -> None:
        """Put one call in the place of all calls in the loop."""
        em = self.em
        calls = em.calls[loop.first :]
        if not calls:
            return
        del em.calls[loop.first :]
        em.all_loops.remove(loop)
        for kernel in self.before:
            places = [em.places[b] for b in kernel.bufs]
            em.calls.append(called(kernel, places, None, len(em.calls)))
        slots: list[Slot] = []
        written: set[int] = set()
        lines: list[str] = []
        cost, count = 0.0, 0

        def at(a: Shaped, writes: bool) -> str:
            """Where an operand is in pass t."""
            if a.slot not in slots:
                slots.append(a.slot)
            k = slots.index(a.slot)
            if writes:
                written.add(k)
            text = f"q{k} + {a.offset}" + "".join(f" + {step}L * t" for _, step in a.loops)
            if a.alternate is not None:
                step = a.alternate[1]
                text += f" + {abs(step)}L * ({'(t + 1)' if step < 0 else 't'} % 2)"
            return text if a.first is None else f"t == 0 ? {at(a.first, False)} : {text}"

        for call in calls:
            assert isinstance(call, NativeCall) and call.function is not None
            kernel, count, cost = call.function, call.function.units, cost + call.function.cost
            lines.append("      {")
            for k, (a, buf) in enumerate(zip(call.args, kernel.bufs, strict=True)):
                assert isinstance(a, Shaped)
                kind = f"{'' if call.writes[k] else 'const '}{element(buf.dtype)}"
                lines.append(f"        {kind} *p{k} = {at(a, call.writes[k])};")
            lines += [f"      {text}" for text in kernel.body]
            lines.append("      }")
        size = block(count)
        head = [f"  {'' if k in written else 'const '}{element(s.dtype)} *q{k} = p{k};" for k, s in enumerate(slots)]  # fmt: skip
        body = [
            *head,
            "  for (long unit = lo; unit < hi; unit++) {",
            f"    const long lo = unit * {size}, hi = lo + {size} < {count} ? lo + {size} : {count};",
            f"    for (long t = 0; t < {loop.count}; t++) {{",
            *lines,
            "    }",
            "  }",
        ]
        self.notes = {"rows": size, "blocks": -(-count // size)}
        bufs = [Buf("", s.shape, s.dtype) for s in slots]
        whole = Kernel(body, bufs, written, self.notes, -(-count // size), loop.count * cost)
        em.calls.append(called(whole, [View(s, 0, {}) for s in slots], None, len(em.calls)))

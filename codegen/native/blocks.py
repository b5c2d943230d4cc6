"""Regions around products as C functions: one block of a product after another, each with the pointwise work that belongs to it.

A block of the product goes to scratch that stays in the cache (or to the result, where it is one), then the loops of the region run
over the block: biases, activations, gradients and optimizer updates read the product where it is hot. An operand that is computed is
computed by blocks too. Sums over what is cut become one partial sum a block, added up in a second region. Blocks are the units of the function.
Where a cut is not legal, or nothing is worth cutting, the same parts are handed out one by one: `parts` never fails to say a region, the
host may. Refuses to know what a product is: an `Atom` says how it is cut and prints the lines of a block (`contract`, `convolution`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region, Store, axis_aff, load
from codegen.native.align import aligned
from codegen.native.atoms import (
    Atom,
    Cut,
    Host,
    Maker,
    atoms_of,
    fits,
    is_memory,
    moved_axes,
    stored_order,
)
from codegen.native.forms import form_key
from codegen.native.render import Kernel, nest
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.steps import Step, crossed, home, sums_below, together
from codegen.native.values import Aliased, Frame, Span, element
from codegen.schedule import size_of

BIG = 4_000_000  # operations that are worth several threads
OWN = 512 * 1024  # bytes of scratch of a block at most


class _Illegal(Exception):
    """A cut of this axis is not legal."""

    def __init__(self, axis: Axis):
        self.axis = axis


def parts(region: Region, host: Host, maker: Maker) -> list[Kernel | Region]:
    """The functions that compute a region, and regions for the host to print, in order.

    Empty where the region has no product. Raises Unprintable.
    """
    atoms = atoms_of(region, maker)
    if not atoms:
        return []
    if len(atoms) > 1:
        region = aligned(region)
        atoms = atoms_of(region, maker)
    first = max(atoms.values(), key=lambda a: math.prod(x.size for x in a.e.axes))  # fills a block
    order = first.order(stored_order(region, first.e))
    banned = moved_axes(region, atoms)
    alone = (
        len(region.stores) == 1
        and all(map(is_memory, first.operands))
        and fits(region, host, region.stores[0], first.e, [a for a in order if a.size > 1])
    )
    big = sum(a.flops for a in atoms.values()) > BIG
    while True:
        cuts = first.cuts(order, lambda a: a not in banned)
        if not cuts and big and not alone:  # each part may be cut, all of them together cannot
            return _Plan(region, host, atoms, None).all()
        try:
            return _Plan(region, host, atoms, cuts).all()
        except _Illegal as e:
            banned.add(e.axis)
        except (Aliased, Unprintable):
            if not cuts and alone:
                raise
            if not cuts:
                return _Plan(region, host, atoms, None).all()
            banned.update(c.axis for c in cuts)


class _Plan:
    """A region as steps over blocks (`cuts`; empty: one block), or all of it one after another (None)."""

    def __init__(self, region: Region, host: Host, atoms: Mapping[E, Atom], cuts: Sequence[Cut] | None):  # fmt: skip
        self.region, self.host, self.atoms = region, host, atoms
        self.apart, self.cuts = cuts is None, list(cuts or ())
        self.cut = {c.axis for c in self.cuts}
        self.units = {c.axis: Axis("u", c.parts) for c in self.cuts}
        self.made: dict[E, E] = {}
        self.hot: set[E] = set()  # depends on what the function computes
        self.cold: dict[E, Axis] = {}  # waits for the sums over all blocks
        self.inner: dict[Buf, tuple[Axis, ...]] = {}  # scratch of a block
        self.direct: set[Store] = set()  # stores that a step of their own makes
        self.before: list[Kernel | Region] = []
        self.steps: list[Step] = []
        self.partial: list[Store] = []  # sums over a block
        self.adding: list[Store] = []  # where numbers are added up row by row: zero before
        self.late: list[Store] = []
        self.split = {e for e in region.nodes() if e.op == "red" and crossed([e], sums_below(e.args[0]))}  # fmt: skip
        for e in (
            region.nodes()
        ):  # products and what they read first: the rest then finds them in memory
            if e in atoms or e in self.split:
                self.value(e)
        last: list[Store] = []
        values = [self.value(s.value) for s in region.stores]
        for s, e in zip(region.stores, values, strict=True):
            if s in self.direct:
                continue
            lacks = self.cut - {a for i in s.idx for a, _ in i.terms}
            if lacks and e in self.hot:
                raise _Illegal(lacks.pop())
            (self.late if lacks or e in self.cold else last).append(Store(s.buf, s.idx, e))
        rest: list[Store] = []
        more = [*last, *self.partial]
        for s in more:
            step = home(s, more, self.steps, self.memory_of)
            (rest if step is None else step.stores).append(s)
        alike = {*self.cut, *self.units.values()}
        self.steps[:0] = map(Step, together(self.adding, alike, self.memory_of))
        self.steps += map(Step, together(rest, alike, self.memory_of))

    def all(self) -> list[Kernel | Region]:
        """What to print, in order."""
        if self.apart:
            return [*self.before, *(Region(s.stores, self.region.order) for s in self.steps)]
        self.check()
        after = [Region(self.late, self.region.order)] if self.late else []
        return [*self.before, self.kernel(), *after]

    # -- steps ------------------------------------------------------------------------------------

    def value(self, e: E) -> E:
        """`e` with what other steps compute read from memory."""
        found = self.made.get(e)
        if found is not None:
            return found
        atom = self.atoms.get(e)
        if atom is not None:
            out = self.product(atom)
        elif e.op == "red" and self.cut & set(e.attr[1]):
            out = self.summed(e)
        elif e in self.split:  # no order of loops does both sums
            out = self.rebuilt(e, [self.memory(e.args[0])])
        else:
            out = self.rebuilt(e, [self.value(a) for a in e.args])
            if e.op == "random" and self.cut:  # made for all blocks at once
                out = self.ahead(out)
        self.made[e] = out
        return out

    def rebuilt(self, e: E, args: Sequence[E]) -> E:
        out = e if all(map(_same, args, e.args)) else E(e.op, tuple(args), e.attr, e.dtype, e.axes)
        if any(a in self.hot for a in args):
            self.hot.add(out)
        for a in args:
            if a in self.cold:
                self.cold[out] = self.cold[a]
        if out in self.hot and out in self.cold:
            raise _Illegal(self.cold[out])
        return out

    def product(self, atom: Atom) -> E:
        operands = tuple(self.memory(x) for x in atom.operands)
        order = atom.order(stored_order(self.region, atom.e))
        if self.apart or not self.within(atom.e, operands):
            return self.ahead(atom.over(operands), order, atom.e)
        store = self.place(atom.e, order)
        self.steps.append(Step([store], atom, operands))
        return self.written(store)

    def memory(self, x: E) -> E:
        """The operand of a product as a load."""
        e = self.value(x)
        if is_memory(e):
            return e
        if e.op == "load" and not e.args and all(isinstance(i, Aff) for i in e.attr[1]):
            raise Unprintable("an operand read outside its array")
        order = [*(a for a in x.axes if a in self.cut), *(a for a in x.axes if a not in self.cut)]
        if any(s.value is x for s in self.region.stores):
            order = stored_order(self.region, x)
        if self.apart or not self.within(e, (e,)):
            return self.ahead(e, order, x)
        store = self.place(x, order, e)
        self.steps.append(Step([store]))
        self.made[x] = self.written(store)
        return self.made[x]

    def within(self, e: E, reads: Sequence[E]) -> bool:
        """Whether a value is computed by blocks: where it has all the axes that are cut."""
        for x in reads:
            if x in self.cold:
                raise _Illegal(self.cold[x])
        lacks = self.cut - set(e.axes)
        if lacks and any(x in self.hot for x in reads):
            raise _Illegal(lacks.pop())
        return not lacks

    def place(self, e: E, order: Sequence[Axis], value: E | None = None) -> Store:
        """Where the block of a value goes: to its store in the region, or to scratch."""
        own = [a for a in order if a.size > 1]
        found = self.taken(e, own)
        sizes = {c.axis: c.size for c in self.cuts}
        if found is None:
            buf = Buf("", tuple(sizes.get(a, a.size) for a in own), e.dtype)
            self.inner[buf] = tuple(own)
            found = Store(buf, tuple(map(axis_aff, own)), e)
        return Store(found.buf, found.idx, e if value is None else value)

    def memory_of(self, buf: Buf) -> Any:
        """Equal for buffers in the same memory."""
        return buf if buf in self.inner else self.host.place_key(buf)

    def taken(self, e: E, own: Sequence[Axis]) -> Store | None:
        """The store of a value as it is, if that lies as the value shall; it is made where the value is."""
        for s in self.region.stores:
            if s not in self.direct and fits(self.region, self.host, s, e, own):
                self.direct.add(s)
                return s
        return None

    def written(self, store: Store) -> E:
        """A load of what a step wrote."""
        out = load(store.buf, store.idx)
        self.hot.add(out)
        return out

    def ahead(self, e: E, order: Sequence[Axis] = (), old: E | None = None) -> E:
        """A load of `e`, which is computed for all blocks before them. old: what it is in the region."""
        own = [a for a in order or e.axes if a.size > 1]
        found = self.taken(old, own) if old is not None and self.apart else None
        if found is None:
            buf, idx = self.host.fresh([a.size for a in own], e.dtype), tuple(map(axis_aff, own))
        else:
            buf, idx = found.buf, found.idx
        self.before.append(Region([Store(buf, idx, e)], self.region.order))
        return load(buf, idx)

    def summed(self, e: E) -> E:
        """A sum over what is cut: one for each block, added up when all are there."""
        fn, over = e.attr
        x = self.value(e.args[0])
        if x in self.hot and self.folded(e.args[0]):
            x = self.memory(e.args[0])
        mine = [c for c in self.cuts if c.axis in over]
        if x not in self.hot:
            return self.ahead(self.rebuilt(e, [x]))
        lacks = self.cut - set(x.axes)
        if x in self.cold or lacks:
            raise _Illegal(mine[0].axis)
        kept = [a for a in e.axes if a.size > 1]
        buf = self.host.fresh([*(c.parts for c in mine), *(a.size for a in kept)], e.dtype)
        at = [axis_aff(self.units[c.axis]) for c in mine]
        idx = tuple(map(axis_aff, kept))
        one = len(mine) == len(over) and all(c.size == 1 for c in mine)
        if fn == "sum" and kept and e.dtype in ("f32", "f64"):
            self.partial.append(Store(buf, (*at, *idx), x))
            self.adding.append(Store(buf, (*at, *idx), E("const", (), (0,), e.dtype, ())))
        else:
            self.partial.append(Store(buf, (*at, *idx), x if one else self.rebuilt(e, [x])))
        again = tuple(Axis("u", c.parts) for c in mine)
        sums = load(buf, (*map(axis_aff, again), *idx))
        out = E("red", (sums,), (fn, again), e.dtype, e.axes)
        self.cold[sums] = self.cold[out] = mine[0].axis
        return out

    def folded(self, e: E) -> bool:
        """Whether a value gathers what windows scatter: then it is better read again than computed again."""
        return e not in self.atoms and (e.op == "fold" or any(map(self.folded, e.args)))

    def check(self) -> None:
        """No block may read what another one writes."""
        if not self.cut:
            return
        axis = self.cuts[0].axis
        put: dict[Any, Any] = {}
        for step in self.steps:
            for s in step.stores:
                if s.buf not in self.inner:
                    put[self.host.place_key(s.buf)] = form_key(flat_form(s.buf, s.idx))
        within = [
            e for step in self.steps for e in Region(step.stores).nodes() if step.atom is None
        ]
        for e in within:
            if e.op == "load" and e not in self.hot:
                form = form_key(flat_form(e.attr[0], e.attr[1]))
                if put.get(self.host.place_key(e.attr[0]), form) != form or (e.args and self.host.place_key(e.attr[0]) in put):  # fmt: skip
                    raise _Illegal(axis)
        others = [x for step in self.steps for x in step.operands if x not in self.hot]
        others += [e for e in Region(self.late).nodes() if e.op == "load"]
        if any(self.host.place_key(e.attr[0]) in put for e in others if e not in self.cold):
            raise _Illegal(axis)

    # -- text -------------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """The function over blocks."""
        frame = Frame(self.host.place_key)
        spans: dict[Axis, Span] = {}
        head: list[str] = []
        left = math.prod(c.parts for c in self.cuts)
        for k, c in enumerate(self.cuts):
            units, n, even = c.parts, c.axis.size, c.axis.size % c.size == 0
            left //= units
            head.append(f"const long u{k} = u / {left} % {units}, l{k} = u{k} * {c.size};")
            stop = f"l{k} + {c.size}"
            head.append(
                f"const long h{k} = " + (f"{stop};" if even else f"{stop} < {n} ? {stop} : {n};")
            )
            spans[c.axis] = Span(f"l{k}", f"h{k}", c.size, c.size >= 8, even)
            spans[self.units[c.axis]] = Span(f"u{k}", f"u{k} + 1", 1, False, True)
        own = 0
        for buf, axes in self.inner.items():
            name, t = frame.own(buf), element(buf.dtype)
            low = "".join(f" - {step} * {spans[a].low}" for a, step in zip(axes, buf.strides, strict=True) if a in spans)  # fmt: skip
            head.append(f"{t} *{name} = ({t} *)(own + {own}){low};")
            own += -(-math.prod(buf.shape) * _itemsize(buf) // 64) * 64
        body: list[str] = []
        for step in self.steps:
            body += [
                "{",
                *("  " + line.removeprefix("  ") for line in self.step(step, frame, spans)),
                "}",
            ]
        for k, size in enumerate(frame.rooms):
            head.append(f"char *t{k} = own + {own};")
            own += -(-size // 64) * 64
        if own > OWN:
            raise Unprintable("a block that is too large")
        flops = sum(step.atom.flops for step in self.steps if step.atom is not None)
        moved = sum(math.prod(b.shape) * _itemsize(b) for b in frame.bufs)
        units = math.prod(c.parts for c in self.cuts) if self.cuts else 0
        if units:
            lines = [
                "  for (long u = lo; u < hi; u++) {",
                *("    " + t for t in (*head, *body)),
                "  }",
            ]
        else:
            lines = ["  " + t for t in (*head, *body)]
        notes = {
            "products": sum(step.atom is not None for step in self.steps),
            "blocks": [[c.axis.size, c.size] for c in self.cuts],
        }
        return Kernel(lines, frame.bufs, frame.written, notes, units, flops / 80 + moved / 15, own)

    def step(self, step: Step, frame: Frame, spans: Mapping[Axis, Span]) -> list[str]:
        if step.atom is None:
            region = Region(step.stores, self.region.order)
            adds = {s.buf for s in self.adding} if step.stores[0] not in self.adding else set()
            return nest(region, frame, self.host.scratch, spans, adds)
        (s,) = step.stores
        form = flat_form(s.buf, s.idx)
        out = frame.param(s.buf, True) + (f" + {form.const}" if form.const else "")
        return step.atom.lines(frame, step.operands, out, dict(form.terms), spans)


def _same(a: E, b: E) -> bool:
    return a is b


def _itemsize(buf: Buf) -> int:
    return size_of(E("const", (), (), buf.dtype, ()))

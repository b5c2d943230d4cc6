"""The statement tree of a region as NumPy calls: every axis a tile, but for blocks of rows. Values go
into the buffer they are stored to, or scratch. Refuses to hold the spelling of ops (`pointwise`,
`contract`, `movement`) and the memory plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codegen.loops import Axis, E, Region, Schedule, Store
from codegen.lower import Acc, For, Init, Let, Put, Stmt, lower, reduced
from codegen.numpy import contract, indexing, movement, pointwise
from codegen.numpy.emit import Emitter
from codegen.numpy.states import at_place
from codegen.numpy.views import Const, Extra, Shaped, Tile, View, aligned, exact, merged


def render(em: Emitter, region: Region, schedule: Schedule) -> None:
    """Emit the calls of one region."""
    _Renderer(em, region).run(lower(region, schedule))


class _Renderer:
    def __init__(self, em: Emitter, region: Region):
        self.em, self.region = em, region
        self.rank = {a: k for k, a in enumerate(region.order)}
        self.known: dict[E, Tile] = {}
        self.stores: dict[E, list[Store]] = {}
        self.sums: dict[E, View] = {}
        self.done: set[Store] = set()
        self.reads: dict[E, int] = {}
        for s in region.stores:
            self.stores.setdefault(s.value, []).append(s)
        for e in region.nodes():
            for a in e.args:
                self.reads[a] = self.reads.get(a, 0) + 1

    def run(self, tree: Sequence[Stmt]) -> None:
        for stmt in tree:
            if isinstance(stmt, For):
                self.loop(stmt)
            elif isinstance(stmt, Let):
                self.known[stmt.e] = self.let(stmt.e)
            elif isinstance(stmt, Init):
                axes = self.ordered(stmt.e.axes)
                self.sums[stmt.e] = out = self.target(stmt.e, axes)
                self.em.map("{0}.fill({1})", out, [Const(_zero(stmt.e), stmt.e.dtype)], axes)
            elif isinstance(stmt, Acc):
                axes = self.ordered(stmt.e.axes)
                part = self.em.scratch(axes, stmt.e.dtype)
                self.compute(stmt.e, part, axes)
                fn = _COMBINE[stmt.e.attr[0]] if stmt.e.op == "red" else "add"
                self.em.map(f"{fn}({{0}}, {{1}}, out={{0}})", self.sums[stmt.e], [part], axes)
            elif isinstance(stmt, Put):
                self.put(stmt.store)
            else:
                self.known[stmt.e] = self.sums[stmt.e]

    def loop(self, stmt: For) -> None:
        (axis,) = stmt.group.axes
        tile = max(1, min(stmt.group.tile or 1, axis.size))
        count, rest = divmod(axis.size, tile)
        before = dict(self.known)
        done = set(self.done)
        with self.em.looping(count) as loop:
            loop.apart = True
            self.em.blocks[axis] = (loop, tile, 0)
            self.run(stmt.body)
        if rest:
            self.known, self.done = before, done
            self.em.blocks[axis] = (None, rest, count * tile)
            self.run(stmt.body)
        del self.em.blocks[axis]

    def ordered(self, axes: Sequence[Axis]) -> list[Axis]:
        return sorted(axes, key=self.rank.__getitem__)

    # -- places -----------------------------------------------------------------------------------

    def place(self, s: Store) -> View:
        return self.em.view(s.buf, s.idx)

    def target(self, e: E, axes: list[Axis]) -> View:
        """Where to compute e: the first buffer it is stored to, or scratch."""
        for s in self.stores.get(e, ()):
            own = {a for i in s.idx for a, _ in i.terms}
            if s not in self.done and own == {a for a in e.axes if a.size > 1}:
                if self.em.places[s.buf].slot.role == "state" and not self.free(e, s):
                    continue
                self.done.add(s)
                return self.place(s)
        return self.em.scratch(axes, e.dtype)

    def free(self, e: E, s: Store) -> bool:
        """Whether a state may be overwritten by e now: nothing still to be computed reads its old value."""
        slot = self.em.places[s.buf].slot
        readers = [x for x in self.region.nodes() if any(self.touches(a, slot) for a in x.args)]
        later = [x for x in readers if x is not e and x not in self.known]
        if later or any(self.touches(t.value, slot) for t in self.region.stores):
            return False
        reads = [a for x in readers for a in x.args if self.touches(a, slot)]
        if self.em.blocks and not all(at_place(a, s) for a in reads):
            return False
        mine = [a for a in e.args if self.touches(a, slot)]
        return not mine or (e.op in _ONE_CALL and all(at_place(a, s) for a in mine))

    def touches(self, e: E, slot: object) -> bool:
        """Whether e is the memory of `slot` itself, seen through a load."""
        if e.op == "at":
            return self.touches(e.args[0], slot)
        return e.op == "load" and self.em.places[e.attr[0]].slot is slot

    def put(self, s: Store) -> None:
        if s in self.done:
            return
        axes = self.ordered([a for i in s.idx for a, _ in i.terms])
        self.em.copy(self.place(s), self.known[s.value], axes)

    # -- values -----------------------------------------------------------------------------------

    def let(self, e: E) -> Tile:
        if e.op == "const":
            return Const(e.attr[0], e.dtype)
        axes = self.ordered(e.axes)
        if e.op == "load":
            return movement.load(self.em, e, [self.known[a] for a in e.args], axes)
        if e.op == "at":
            return movement.at(self.em, e, self.known[e.args[0]], axes)
        if e.op == "iota":
            return indexing.iota(self.em, e, axes)
        out = self.target(e, axes)
        if any(a.size == 0 for x in e.args for a in x.axes):
            if not any(a.size == 0 for a in axes):  # a sum of nothing
                unit = 1 if e.op == "red" and e.attr[0] == "prod" else 0
                value = e.attr[1] if e.op == "spread" else unit
                em_value = exact(value, e.dtype)
                if e.op != "concat":
                    self.em.map("{0}.fill({1})", out, [Const(em_value, e.dtype)], axes)
                    return out
            else:
                return out
        self.compute(e, out, axes)
        return out

    def solid(self, x: E) -> View:
        """The value of x as memory over its axes."""
        v = self.known[x]
        if isinstance(v, View):
            return v
        axes = self.ordered(x.axes)
        t = self.em.scratch(axes, x.dtype)
        self.em.copy(t, v, axes)
        return t

    def compute(self, e: E, out: View, axes: list[Axis]) -> None:
        """out = e."""
        em = self.em
        args = [self.known[a] for a in e.args]
        if e.op == "dot":
            contract.dot(em, e, out, args[0], args[1], axes)
        elif e.op == "red":
            self.reduce(e, out, axes)
        elif e.op == "first":
            self.first(e, out, axes)
        elif e.op == "argred":
            self.position(e, out, axes)
        elif e.op == "cum":
            self.running(e, out, axes)
        elif e.op in ("sort", "argsort"):
            self.sorted(e, out, axes)
        elif e.op == "spread":
            movement.spread(em, e, out, args[0], axes)
        elif e.op == "concat":
            movement.concat(em, e, out, args, axes)
        elif e.op == "fold":
            movement.fold(em, e, out, self.solid(e.args[0]), axes)
        elif e.op == "scatter":
            indexing.scatter(em, e, out, args[0], self.solid(e.args[1]), axes)
        elif e.op == "random":
            self.random(e, out, axes)
        elif e.op == "select" and any(isinstance(a, View) and a.slot is out.slot for a in args):
            t = em.scratch(axes, e.dtype)
            pointwise.pointwise(em, e, t, args, axes)
            em.copy(out, t, axes)
        else:
            pointwise.pointwise(em, e, out, args, axes)
        if e.dtype == "bf16" and e.op in ("dot", "red", "cum", "fold", "scatter"):
            pointwise.round_bf16(em, out, out, axes)

    def reduce(self, e: E, out: View, axes: list[Axis]) -> None:
        em, (fn, over) = self.em, e.attr
        x = self.solid(e.args[0])
        over = [a for a in over if em.extent(a) > 1]
        if not over:
            em.copy(out, x, axes)
            return
        if fn == "sum" and (len(over) == 1 or not self.by_taps(x, axes, over)):
            contract.sum_over(em, out, x, axes, over)
            return
        if e.dtype != "bool" and self.by_taps(x, axes, over):
            self.running_best(fn, out, x, axes, over)
            return
        flat, dims = self.lined(x, axes, over)
        name = {"max": "maximum", "min": "minimum", "prod": "multiply"}[fn]
        if e.dtype == "bool":
            name = {"max": "logical_or", "min": "logical_and"}[fn]
        dst = self.lined(out, axes, [])[0]
        em.call(f"{name}.reduce({{1}}, {dims}, None, {{0}})", [dst, flat], [0])

    def by_taps(self, x: View, axes: Sequence[Axis], over: Sequence[Axis]) -> bool:
        """Whether a reduction is best taken position by position: few of them, and long runs of the rest."""
        em = self.em
        taps, rest = math.prod(em.extent(a) for a in over), math.prod(em.extent(a) for a in axes)
        inner = min(
            (abs(s) for a, s in x.strides.items() if a in axes and s and em.extent(a) > 1),
            default=0,
        )
        outer = min((abs(x.strides.get(a, 0)) for a in over), default=0)
        return 1 < taps <= 32 and rest >= 8 * taps and 0 < inner <= outer

    def running_best(
        self, fn: str, out: View, x: View, axes: Sequence[Axis], over: Sequence[Axis]
    ) -> None:
        """out = x reduced over a few positions, one call each.

        Windows side by side are reduced over their rows first: those calls run along whole rows of x.
        """
        em, name = self.em, _COMBINE[fn]
        wide = [a for a in over if em.extent(a) > 1]
        tap = min(wide, key=lambda a: abs(x.strides.get(a, 0)))
        beside = x.strides.get(tap, 0) * em.extent(tap)
        row = next((a for a in axes if em.extent(a) > 1 and x.strides.get(a) == beside), None)
        if len(wide) > 1 and row is not None:
            kept = sorted([*axes, tap], key=lambda a: -abs(x.strides.get(a, 0)))
            part = em.scratch(kept, x.slot.dtype)
            self.running_best(fn, part, x, kept, [a for a in wide if a is not tap])
            x, wide = part, [tap]
        taps = [v for (v,) in contract.positions(em, wide, [x])]
        em.map(f"{name}({{1}}, {{2}}, out={{0}})", out, taps[:2], axes)
        for v in taps[2:]:
            em.map(f"{name}({{0}}, {{1}}, out={{0}})", out, [v], axes)

    def first(self, e: E, out: View, axes: list[Axis]) -> None:
        """out = whether a position is the first to hold the extreme: equal to it, and none before is."""
        em, (fn, over) = self.em, e.attr
        x = self.solid(e.args[0])
        kept = [a for a in axes if a not in over]
        best, taken = em.scratch(kept, e.args[0].dtype), em.scratch(kept, "bool")
        pairs = contract.positions(em, over, [x, out])
        if len(pairs) == 1:
            em.map("{0}.fill({1})", out, [Const(True, "bool")], axes)
            return
        self.running_best(fn, best, x, kept, over)
        for k, (v, hit) in enumerate(pairs):
            em.map("equal({1}, {2}, {0})", hit, [v, best], kept)
            if k == 1:
                em.map("greater({0}, {1}, {0})", hit, [pairs[0][1]], kept)
                em.map("logical_or({1}, {2}, {0})", taken, [pairs[0][1], hit], kept)
            elif k:
                em.map("greater({0}, {1}, {0})", hit, [taken], kept)
                if k + 1 < len(pairs):
                    em.map("logical_or({0}, {1}, {0})", taken, [hit], kept)

    def lined(self, x: View, kept: Sequence[Axis], over: Sequence[Axis]) -> tuple[Shaped, object]:
        """x as [kept.., over], the last in one dimension where strides allow; and the axis to give."""
        em = self.em
        kept = [a for a in kept if em.extent(a) > 1]
        if not over:
            flat = merged(x, [[a] for a in kept], em.extent)
            assert flat is not None
            return flat, None
        flat = merged(x, [*([a] for a in kept), over], em.extent)
        if flat is not None:
            return flat, len(kept)
        flat = merged(x, [[a] for a in (*kept, *over)], em.extent)
        assert flat is not None
        return flat, tuple(range(len(kept), len(kept) + len(over)))

    def position(self, e: E, out: View, axes: list[Axis]) -> None:
        em, (fn, over) = self.em, e.attr
        x = self.solid(e.args[0])
        flat, dims = self.lined(x, axes, over)
        if isinstance(dims, tuple) or not flat.shape:
            t = em.scratch([*axes, *over], x.slot.dtype)
            em.copy(t, x, [*axes, *over])
            flat, dims = self.lined(t, axes, over)
        pos = em.scratch(axes, "i64")
        dst = self.lined(pos, axes, [])[0]
        em.call(f"arg{fn}({{1}}, {dims}, {{0}})", [dst, flat], [0])
        em.copy(out, pos, axes)

    def running(self, e: E, out: View, axes: list[Axis]) -> None:
        em, (fn, axis, reverse, exclusive) = self.em, e.attr
        x = self.solid(e.args[0])
        x = em.settled(x, list(x.strides))
        x = View(
            x.slot, x.offset, {**x.strides, axis: x.strides.get(axis, 0)}, x.loops, x.alternate
        )
        if axis.size == 1:
            em.copy(out, Const(_unit(fn, e.dtype), e.dtype) if exclusive else x, axes)
            return
        own = [a for a in axes if a is not axis and em.extent(a) > 1]
        n = axis.size - 1 if exclusive else axis.size
        sx, so = x.strides.get(axis, 0), out.strides[axis]
        ox = x.offset + ((axis.size - 1) * sx if reverse else 0)
        oo = out.offset + ((axis.size - 1) * so if reverse else 0)
        sign = -1 if reverse else 1
        lead = tuple(em.extent(a) for a in own)
        if exclusive:
            first = View(out.slot, oo, {a: out.strides[a] for a in own}, out.loops, out.alternate)
            em.map("{0}.fill({1})", first, [Const(_unit(fn, e.dtype), e.dtype)], own)
            oo += sign * so
        src = Shaped(
            x.slot,
            ox,
            (*lead, n),
            (*(x.strides.get(a, 0) for a in own), sign * sx),
            tuple(x.loops.items()),
            "",
            x.alternate,
        )
        dst = Shaped(out.slot, oo, (*lead, n), (*(out.strides[a] for a in own), sign * so),
                     tuple(out.loops.items()), "", out.alternate)  # fmt: skip
        em.call(
            f"{'add' if fn == 'sum' else 'multiply'}.accumulate({{1}}, {len(own)}, None, {{0}})",
            [dst, src],
            [0],
        )

    def sorted(self, e: E, out: View, axes: list[Axis]) -> None:
        em, (axis,) = self.em, e.attr
        x = self.known[e.args[0]]
        if e.op == "sort":
            em.copy(out, x, axes)
            if axis.size > 1:
                flat, dims = self.lined(out, [a for a in axes if a is not axis], [axis])
                em.call(f'{{0}}.sort({dims}, "stable")', [flat], [0])
        elif axis.size == 1:
            em.copy(out, Const(0, "i32"), axes)
        else:
            t = em.scratch(axes, e.args[0].dtype)
            em.copy(t, x, axes)
            whole = [a for a in axes if em.extent(a) > 1]
            src, dst = (
                merged(t, [[a] for a in whole], em.extent),
                merged(out, [[a] for a in whole], em.extent),
            )
            assert src is not None and dst is not None
            em.call(
                f'copyto({{0}}, {{1}}.argsort({whole.index(axis)}, "stable"), casting="unsafe")',
                [dst, src],
                [0],
            )

    def random(self, e: E, out: View, axes: list[Axis]) -> None:
        em, (stream, form) = self.em, e.attr
        seed, step = (self.solid(a) for a in e.args)
        order = [a for a, _ in sorted(form.terms, key=lambda t: -t[1])]
        n = math.prod(a.size for a in order)
        where = dict(form.terms)
        direct = out.offset == 0 and not out.loops and out.strides == where
        t = out if direct else em.scratch(order, "u32")
        (flat,) = aligned([t], order, em.extent)
        keys = [aligned([v], [], em.extent)[0] for v in (seed, step)]
        em.call(
            f"{{3}}.fill({{1}}, {{2}}, {stream}, {{0}})",
            [flat, *keys, Extra(f"tools.philox({n})")],
            [0],
        )
        if not direct:
            em.copy(out, t, axes)


_ONE_CALL = frozenset(set(pointwise.UNARY) | set(pointwise.BINARY) | {"rsqrt", "sigmoid", "cast"})
_COMBINE = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "multiply"}


def _unit(fn: str, dtype: str) -> float | int:
    unit = 0 if fn == "sum" else 1
    return float(unit) if dtype.startswith(("f", "b")) else unit


def _zero(e: E) -> float | int | bool:
    fn = e.attr[0] if e.op == "red" else "sum"
    if fn in ("sum", "prod"):
        return _unit(fn, e.dtype)
    low = -math.inf if fn == "max" else math.inf
    if e.dtype == "bool":
        return fn == "min"
    if not e.dtype.startswith(("f", "b")):
        raise ValueError(f"no start for {fn} of {e.dtype} in parts")
    return low


__all__ = ["render", "reduced"]

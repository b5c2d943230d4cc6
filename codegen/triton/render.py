"""A region under a schedule as one readable `@triton.jit` function.

Values are pulled: `_Printer.value` writes an expression where the index of each axis is known, so that shifts,
windows, concatenation and strided gradients are nothing but other indices. Reductions over a looped group are
written as loops first, those of one depth sharing one. Masks follow from the groups' extents and from
the intervals of indices. Refuses to choose schedules and to know a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.loops import Axis, Buf, E, Region, Schedule, Store
from codegen.triton.lookup import Lookups
from codegen.triton.positions import Index, Val
from codegen.triton.reductions import neutral, wide
from codegen.triton.schedule import size
from codegen.triton.spelling import DTYPES, Unsupported, literal


class _Printer(Lookups):
    """One kernel: its loops, then its stores."""

    # -- loops and stores -------------------------------------------------------------------------

    def loops(self) -> None:
        """Write the loops over groups of role loop or split, one for each depth of reductions."""
        walked = [k for k, g in enumerate(self.groups) if g.role in ("loop", "split")]
        if not walked:
            return
        (k,) = walked
        axes = set(self.groups[k].axes)
        level: dict[E, int] = {}
        nodes = self.region.nodes()
        phases: dict[int, list[E]] = {}
        for e in nodes:
            below = max((level[a] for a in e.args), default=0)
            if axes & set(self.over(e)) and e.op in ("red", "dot", "scatter"):
                phases.setdefault(below, []).append(e)
                below += 1
            level[e] = below
        inside = [s for s in self.region.stores if axes & {a for i in s.idx for a, _ in i.terms}]
        last = max([*phases, *(level[s.value] for s in inside)], default=-1)
        for phase in range(last + 1):
            reductions = phases.get(phase, [])
            stores = [s for s in inside if level[s.value] == phase]
            if "order" in self.schedule.notes:
                self.summed(k, *reductions)
            elif reductions or stores:
                self.loop(k, reductions, stores)

    def loop(self, k: int, reductions: Sequence[E], stores: Sequence[Store]) -> None:
        g = self.groups[k]
        n = size(g.axes)
        start, stop = "0", str(n)
        if g.role == "split":
            stretch = self.schedule.notes["stretch"]
            start = self.name(f"{self.pids[k]} * {stretch}", "s")
            stop = self.name(f"tl.minimum({start} + {stretch}, {n})", "s")
        at = len(self.lines)
        accs: dict[E, tuple[str, Val]] = {}
        self.line("")
        with self.scope():
            self.depth -= 1
            each = "tl.static_range" if self.schedule.notes["kind"] == "taps" else "range"
            self.line(f"for k in {each}({start}, {stop}, {g.tile}):")
            self.depth += 1
            bounded = stop if g.role == "split" else ""
            self.place(k, "k + " if g.tile > 1 else "k", bounded)
            for e in reductions:
                acc = f"acc{self.count}"
                self.count += 1
                if e.op == "dot":
                    outer = next(
                        (f for f in self.region.nodes() if f.op == "fold" and f.args[0] is e), None
                    )
                    x, y = self.factors(e, self.env) if outer is None else self.fold_factors(outer)
                    self.line(f"{acc} = {self.product(e, x, y, acc)}")
                    made = Val(acc, (x.dims[0], y.dims[-1]), wide(e.dtype))
                elif e.op == "scatter":
                    own = self.over(e)
                    v = self.hits(e, self.env, own)
                    v = self.masked(self.spread_over(v, self.group_dims(own)), [k], 0)
                    made = self.into(acc, "sum", v)
                else:
                    own = self.over(e)
                    v = self.operand(e, self.env, own, self.group_dims(own))
                    made = self.into(acc, e.attr[0], v)
                accs[e] = (acc, made)
            for s in stores:
                self.store(s)
        fresh = []
        for e, (acc, made) in accs.items():
            fn = e.attr[0] if e.op == "red" else "sum"
            unit = literal(neutral(fn, made.dtype), made.dtype)
            fresh.append(
                "    " * self.depth
                + f"{acc} = tl.full({self.block(made.dims)}, {unit}, {DTYPES[made.dtype]})"
            )
        self.lines[at : at + 1] = fresh
        for e, (_, made) in accs.items():
            v = made
            if e.op != "dot":
                for d in reversed(
                    [d for d in self.group_dims(self.over(e)) if self.groups[d].tile > 1]
                ):
                    v = self.reduce(v, e.attr[0] if e.op == "red" else "sum", d)
            self.keep(("done", e), self.cast(v, e.dtype))

    def atomic(self, s: Store) -> None:
        """Add each update to the sum that its index names, wherever other programs are."""
        idx, x = s.value.args
        at = self.clipped(self.value(idx, self.env), s.value.attr[0].size)
        env = {**self.env, s.value.attr[0]: at}
        v = self.spread_over(self.cast(self.value(x, self.env), s.buf.dtype), [0])
        found = [(self.form(i, env), step) for i, step in zip(s.idx, s.buf.strides, strict=True)]
        mask = self.joined(self.tails([0]))
        end = f", mask={mask.text}" if mask is not None else ""
        offset = self.offset(found, (0,), s.buf)
        self.line(f'tl.atomic_add({self.names[s.buf]}{offset}, {v.text}{end}, sem="relaxed")')

    def store(self, s: Store) -> None:
        v = self.value(s.value, self.env)
        found = [
            (self.form(i, self.env), step) for i, step in zip(s.idx, s.buf.strides, strict=True)
        ]
        dims = tuple(sorted({*v.dims, *(d for i, _ in found for d in i.dims)}))
        conditions = self.tails(dims)
        conditions += [c for i, _ in found for c in i.guards]
        own = {a for i in s.idx for a, _ in i.terms}
        for new, x in self.schedule.notes.get("residues", {}).items():
            own |= {x.q, x.r} if new in own else set()
        part = set(self.over(s.value)) if s.buf.name == "partial" else set()
        for k, g in enumerate(self.groups):
            if part & set(g.axes):
                continue
            if k in dims or (g.role == "grid" and own & set(g.axes)):
                for a in g.axes:
                    if a not in own and a in self.env and a.size > 1:
                        test = self.name(f"{self.env[a].text} == 0", "m")
                        conditions.append(Val(test, self.env[a].dims, "bool"))
            elif g.role == "grid" and self.programs(k) > 1:
                conditions.append(Val(f"({self.pids[k]} == 0)", (), "bool"))
            elif g.role == "split" and self.programs(k) > 1 and s.buf.name != "partial":
                raise Unsupported("a store beside a split reduction")
        if part:
            found[0] = (self.part(part), found[0][1])
        dims = tuple(sorted({*dims, *(d for c in conditions for d in c.dims)}))
        offset = self.offset(found, dims, s.buf)
        mask = self.joined(conditions)
        text = v.text if not v.const else f"tl.full((), {v.text}, {DTYPES[v.dtype]})"
        value = self.shown(text, v.dims, dims)
        if dims and v.dims != dims:
            value = f"tl.broadcast_to({value}, {self.block(dims)})"
        end = (
            f", mask={self.shown(f'({mask.text})', mask.dims, dims)})" if mask is not None else ")"
        )
        self.line(f"tl.store({self.names[s.buf]}{offset}, {value}{end}")

    def part(self, over: set[Axis]) -> Index:
        """Which of the parts of a sum over some axes a program holds."""
        text = ""
        for k, g in enumerate(self.groups):
            if g.role in ("grid", "split") and over & set(g.axes) and self.programs(k) > 1:
                text = f"({text} * {self.programs(k)} + {self.pids[k]})" if text else self.pids[k]
        return Index(text, (), 0, 0)

    def run(self) -> list[str]:
        self.header()
        if self.schedule.notes["kind"] == "atomic":
            self.atomic(*self.region.stores)
            return self.lines
        self.loops()
        late = []
        walked = {a for g in self.groups if g.role in ("loop", "split") for a in g.axes}
        for s in self.region.stores:
            if not walked & {a for i in s.idx for a, _ in i.terms}:
                self.value(s.value, self.env)
                late.append(s)
        if self.barrier:
            self.line("tl.debug_barrier()")
        for s in late:
            self.store(s)
        return self.lines


def render(
    name: str,
    region: Region,
    schedule: Schedule,
    names: Mapping[Buf, str],
    *,
    barrier: bool = False,
) -> str:
    """The source of a kernel. `names`: the parameter of each buffer. barrier: wait for all reads before writing.

    Raises Unsupported, naming what has no expression.
    """
    lines = _Printer(region, schedule, names, barrier).run()
    params = ", ".join(dict.fromkeys(names.values()))
    return "\n".join(["@triton.jit", f"def {name}({params}):", *lines])

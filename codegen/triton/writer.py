"""From nodes to kernels to be: regions under a schedule, loops over time, attention, sorted lookups.

Refuses to hold where states live (`states`), and how a kernel is written.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region, Schedule, Store, axis_aff, load
from codegen.regions import region_of
from codegen.triton.apart import apart
from codegen.triton.atomic import Atomic
from codegen.triton.attention import Attention
from codegen.triton.candidates import neighbours
from codegen.triton.flash import Flash
from codegen.triton.late import late
from codegen.triton.launch import Launch, Place, loads, size_of, uniform, written
from codegen.triton.lookup import stretch_of, stretched
from codegen.triton.merge import joined, with_hosts
from codegen.triton.ordered import Order, Pass, in_order
from codegen.triton.prepare import Sorting
from codegen.triton.prologue import prologues
from codegen.triton.scan import Scan
from codegen.triton.schedule import schedule, size
from codegen.triton.spelling import UNSUPPORTED, Unsupported
from codegen.triton.split import split
from codegen.triton.states import States
from codegen.triton.steps import STREAMED, Loop, step_graph, streamed
from codegen.triton.vectors import plain
from ir.graph import Graph, Node, Value


class Writer(States):
    """Launches for the nodes of a fused graph. Raises Unsupported, naming the op."""

    def node(self, node: Node) -> None:
        name = node.op.name
        if name in ("reshape", "stop_gradient"):
            self.buf(node.outs[0], self.place_of[self.buf_of[node.inputs[0]]])
            return
        if name == "scan":
            self.scan(node)
            return
        if name != "fused":
            raise Unsupported(
                f"op {name!r} on the Triton target: {UNSUPPORTED.get(name, 'it has no kernel')}"
            )
        body: Graph = node.attrs[0]
        if isinstance(body, Attention):
            ins, outs = [self.buf_of[v] for v in node.inputs], [self.buf(v) for v in node.outs]
            made = Flash(body, ins, outs)
            ways = [(x.laid(), x.source) for x in made.others()]
            self.launches.append(Launch(ins, outs, made.laid(), node, made.source, ways=ways))
            return
        if isinstance(body, Sorting):
            (given,), (out,) = node.inputs, node.outs
            positions = body.nodes[0].op.name == "argsort"
            self.passes(in_order(self.buf_of[given], self.buf(out), positions), node)
            return
        readers = [n for v in node.outs for n in self.users.get(v, ())]
        if uniform(node) is not None and not self.results & set(node.outs):
            if all(
                n.op.name == "scan" and v in n.inputs[: n.attr("carries")]
                for v in node.outs
                for n in readers
            ):
                return  # a number that loops start from
        ins = [self.buf_of[v] for v in node.inputs]
        outs = [self.buf(v) for v in node.outs]
        region = plain(region_of(body, ins, outs, fold_gradients=False))
        try:
            self.add(region, node)
        except Unsupported as e:
            ops = ", ".join(dict.fromkeys(n.op.name for n in body.nodes))
            raise Unsupported(f"the kernel of {ops} ({node.at}): {e}") from e

    def scan(self, node: Node) -> None:
        """A loop over time: one kernel, or kernels of a step."""
        body, n = node.attr("body"), node.attr("carries")
        if streamed(body, set(body.inputs[n + node.attr("xs") :])) > STREAMED:
            self.steps(node)
            return
        ins: list[Any] = []
        for k, v in enumerate(node.inputs):
            number = uniform(v.node) if v.node is not None and k < n else None
            ins.append(self.buf_of[v] if number is None else number)
        outs = [self.buf(v) if v in self.users or v in self.results else None for v in node.outs]
        try:
            made = Scan(node, ins, outs)
        except Unsupported as why:
            self.steps(node, str(why))
            return
        ways = [(x.laid(), x.source) for x in made.others()]
        reads, writes = made.reads(), made.writes()
        self.launches.append(Launch(reads, writes, made.laid(), node, made.source, ways=ways))

    def steps(self, node: Node, why: str = "") -> None:
        """A loop over time by kernels of one step. why: what keeps it from being one kernel."""
        n, xs, length = node.attr("carries"), node.attr("xs"), int(node.attr("length"))
        graph, stacks, before = step_graph(node, {*self.users, *self.results})
        inner = Writer(with_hosts(prologues(late(joined(prologues(apart(graph)))))), turns=[])
        given = []
        for k, v in enumerate(inner.graph.inputs):
            role = "state" if k < n else "step" if k < n + xs else "data"
            whole = self.place_of[self.buf_of[node.inputs[k]]] if k >= n else None
            given.append(Place(v.dtype, tuple(int(d) for d in v.shape), role, whole=whole))
        try:
            inner.write(given)
        except Unsupported as e:
            reason = f"; it is not one kernel either: {why}" if why else ""
            raise Unsupported(f"a step of the loop over time of {node.at}: {e}{reason}") from e
        if any(x.loop is not None for x in inner.launches):
            raise Unsupported(f"a loop over time of launches inside another ({node.at})")
        made = []
        for v, k in zip(inner.graph.outputs[n:], stacks, strict=True):
            like = Value(v.type.with_shape((length, *v.shape))) if k < 0 else node.outs[k]
            made.append(self.buf(like))
            inner.stacked(v, self.place_of[made[-1]])
        loop = Loop(length, node.attr("reverse"))
        real = {p: p.home for p in given[n + xs :]}
        behind = dict(inner.turns or ())
        for v, out, own in zip(node.inputs, node.outs[:n], given, strict=False):
            last = first = self.place_of[self.buf(out)]  # where the last step leaves a carry
            if own in behind:
                other = Place(v.dtype, last.shape, "temp")
                loop.turns.append((other, last))
                real[behind[own]], real[own] = last, other
                first = last if length % 2 == 0 else other
            else:
                real[own] = last
            self.start(v, first)
        loop.kept = {*real.values(), *(p.home for p in inner.place_of.values() if p.whole)}
        self.place_of.update({b: real.get(p, p) for b, p in inner.place_of.items()})
        self.buf_of.update(inner.buf_of)
        for x in inner.launches if length else ():
            x.loop = loop
            self.launches.append(x)
        for k, carry, source in before:
            self.shifted(node.inputs[carry], made[source], self.buf(node.outs[k]), loop)

    def stacked(self, v: Value, whole: Place) -> None:
        """See to it that a result of a step is where that step has its part of `whole`."""
        place = self.place_of[self.buf_of[v]]
        if place.role == "result":
            place.role, place.whole = "step", whole
            return
        each = Buf("", tuple(int(d) for d in v.shape), v.dtype)
        self.place_of[each] = Place(v.dtype, each.shape, "step", whole=whole)
        self.copy([(self.buf_of[v], each)])

    def start(self, v: Value, place: Place) -> None:
        """Write the first value of a carry to its place."""
        to = Buf("", place.shape, place.dtype)
        self.place_of[to] = place
        axes = tuple(Axis(f"c{k}", n) for k, n in enumerate(to.shape))
        same = tuple(map(axis_aff, axes))
        self.add(Region([Store(to, same, self.first(v, same))], axes), None)

    def first(self, v: Value, idx: tuple[Aff, ...]) -> E:
        """The value that a carry starts from, at a position."""
        if v in self.buf_of:
            return load(self.buf_of[v], idx)
        return E("const", (), (uniform(v.node),), v.dtype, ())

    def shifted(self, v: Value, after: Buf, to: Buf, loop: Loop) -> None:
        """Write what a carry was before each step: what it was behind the one before, `v` before the first."""
        axes = tuple(Axis(f"c{k}", n) for k, n in enumerate(to.shape[1:]))
        same = tuple(map(axis_aff, axes))
        t = Axis("t", loop.length - 1)
        here, there = (axis_aff(t), axis_aff(t) + Aff((), 1))
        end = loop.length - 1
        if loop.reverse:
            here, there = there, here
        self.add(
            Region(
                [Store(to, (Aff((), end if loop.reverse else 0), *same), self.first(v, same))], axes
            ),
            None,
        )
        if end:
            self.add(
                Region([Store(to, (there, *same), load(after, (here, *same)))], (t, *axes)), None
            )

    def add(self, region: Region, node: Node | None, shared: bool = False) -> None:
        """shared: other launches do a part of the node's work."""
        if all(0 in s.buf.shape for s in region.stores):
            return
        made = schedule(region)
        extra: list[Buf] = []
        if "scatter" in made.notes and made.notes["scatter"].attr[2]:
            self.atomic(Atomic.of(region, made.notes["scatter"]), node)
            return
        if "scatter" in made.notes:
            made, extra = self.by_rows(made, node)
        parts = split(region, made)
        for part in parts:
            for s in part[0].stores:
                if s.buf not in self.place_of:
                    self.place_of[s.buf] = Place(s.buf.dtype, s.buf.shape, "temp")
            region, plan = part
            write = functools.partial(written, region, plan)
            stores = [s.buf for s in region.stores]
            reads = [*loads(region), *extra]
            shared = shared or len(parts) > 1 or bool(extra)
            self.launches.append(Launch(reads, stores, plan, node, write, region, part=shared))

    def atomic(self, made: Atomic, node: Node | None) -> None:
        """Launch sums in any order: zeros, what is added to them, what is made of them."""
        self.add(made.zeros, None)
        write = functools.partial(written, made.added, made.plan)
        reads, shared = loads(made.added), made.rest is not None
        launch = Launch(reads, [made.sums], made.plan, node, write, part=shared)
        launch.ways = [
            (plan, functools.partial(written, made.added, plan)) for plan in neighbours(made.plan)
        ]
        self.launches.append(launch)
        if made.rest is not None:
            self.add(made.rest, node, shared=True)

    def by_rows(self, made: Schedule, node: Node | None) -> tuple[Schedule, list[Buf]]:
        """Launch the sorting of a scatter's indices, and the sums of stretches of them; the schedule and what it reads then."""
        scatter: E = made.notes["scatter"]
        order = self.ordered(scatter, node)
        notes, extra = {**made.notes, "order": order}, order.reads()
        if stretch_of(order.count):
            region, plan = stretched(scatter, made, order)
            sums = region.stores[0].buf
            self.place_of[sums] = Place(sums.dtype, sums.shape, "temp")
            reads = [*loads(region), order.order, order.keys]
            write = functools.partial(written, region, plan)
            self.launches.append(Launch(reads, [sums], plan, node, write, region, part=True))
            notes["sums"] = sums
            extra.append(sums)
        return Schedule(made.groups, notes), extra

    def ordered(self, e: E, node: Node | None) -> Order:
        """Launch the sorting of a scatter's indices."""
        new, over, _ = e.attr
        axes = [a for a in over if a.size > 1]
        flat = Aff((a, size(axes[k + 1 :])) for k, a in enumerate(axes))
        idx = e.args[0]
        if idx.op != "load" or not whole(idx, axes):
            indices = Buf("", (size(axes),), idx.dtype)
            self.add(Region([Store(indices, (flat,), idx)], tuple(axes)), None)
        else:
            indices = idx.attr[0]
        order = Order.of(indices, new.size)
        self.passes(order.passes, node)
        return order

    def passes(self, made: Sequence[Pass], node: Node | None) -> None:
        """Launch kernels that sort, one after another."""
        for x in made:
            for b in x.writes():
                self.place_of.setdefault(b, Place(b.dtype, b.shape, "temp"))
            launch = Launch(x.reads(), x.writes(), x.schedule(), node, x.source, part=True)
            launch.ways = [(w.schedule(), w.source) for w in x.others()]
            self.launches.append(launch)


def whole(e: E, axes: Sequence[Axis]) -> bool:
    """Whether a load reads a buffer from end to end in the order of some axes."""
    buf, idx, _ = e.attr
    if e.args or size_of(buf) != size(axes):
        return False
    form = sum((i * step for i, step in zip(idx, buf.strides, strict=True)), Aff())
    want = {a: size(axes[k + 1 :]) for k, a in enumerate(axes)}
    return form.const == 0 and dict(form.terms) == want

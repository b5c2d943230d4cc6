"""A fused graph as a Triton program: kernels, their launches, and memory.

The source holds the kernels alone. What is launched is data: each `Kernel.schedule` has "grid" (programs), "args" (buffer
names, in the order of the kernel's parameters), "warps" and "stages". States are updated in place where nothing can
still read the old value, and copied at the end where something may. Refuses to hold how a kernel is written.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule, Store, axis_aff, load
from codegen.program import Buffer, Kernel, Program
from codegen.regions import region_of
from codegen.triton.attention import Attention
from codegen.triton.candidates import candidates, laid
from codegen.triton.flash import Flash
from codegen.triton.launch import Launch, Place, loads, plan, repr_of, size_of, uniform, written
from codegen.triton.library import library
from codegen.triton.merge import joined, with_hosts
from codegen.triton.ordered import Order
from codegen.triton.scan import Scan
from codegen.triton.schedule import programs, schedule, size
from codegen.triton.spelling import UNSUPPORTED, Unsupported, prelude
from codegen.triton.split import split
from codegen.triton.together import together
from codegen.triton.vectors import plain
from ir.graph import Graph, Node, Value


class _Writer:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.launches: list[Launch] = []
        self.users = graph.users()
        self.results = set(graph.outputs)
        self.place_of: dict[Buf, Place] = {}
        self.buf_of: dict[Value, Buf] = {}

    def buf(self, v: Value, place: Place | None = None) -> Buf:
        shape = tuple(int(d) for d in v.shape)
        made = Buf("", shape, v.dtype)
        self.buf_of[v] = made
        self.place_of[made] = place or Place(v.dtype, shape, "temp")
        return made

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
            self.launches.append(Launch(ins, outs, made.laid(), node, made.source))
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
        """A loop over time."""
        ins: list[Any] = []
        for k, v in enumerate(node.inputs):
            number = uniform(v.node) if v.node is not None and k < node.attr("carries") else None
            ins.append(self.buf_of[v] if number is None else number)
        outs = [self.buf(v) if v in self.users or v in self.results else None for v in node.outs]
        try:
            made = Scan(node, ins, outs)
        except Unsupported as e:
            raise Unsupported(f"op 'scan' on the Triton target ({node.at}): {e}") from e
        self.launches.append(Launch(made.reads(), made.writes(), made.laid(), node, made.source))

    def add(self, region: Region, node: Node | None) -> None:
        if all(0 in s.buf.shape for s in region.stores):
            return
        made = schedule(region)
        extra: list[Buf] = []
        if "scatter" in made.notes:
            order = self.ordered(made.notes["scatter"], node)
            extra = order.reads()
            made = Schedule(made.groups, {**made.notes, "order": order})
        for k, part in enumerate(split(region, made)):
            for s in part[0].stores:
                if s.buf not in self.place_of:
                    self.place_of[s.buf] = Place(s.buf.dtype, s.buf.shape, "temp")
            region, plan = part
            write = functools.partial(written, region, plan)
            stores = [s.buf for s in region.stores]
            reads = [*loads(region), *extra]
            second = k > 0 or bool(extra)
            self.launches.append(Launch(reads, stores, plan, node, write, region, second=second))

    def ordered(self, e: E, node: Node | None) -> Order:
        """Launch the sorting of a scatter's indices."""
        new, over = e.attr
        axes = [a for a in over if a.size > 1]
        flat = Aff((a, size(axes[k + 1 :])) for k, a in enumerate(axes))
        idx = e.args[0]
        if idx.op != "load" or not whole(idx, axes):
            indices = Buf("", (size(axes),), idx.dtype)
            self.add(Region([Store(indices, (flat,), idx)], tuple(axes)), None)
        else:
            indices = idx.attr[0]
        order = Order.of(indices, new.size)
        for b in order.reads():
            self.place_of[b] = Place(b.dtype, b.shape, "temp")
        self.launches.append(Launch([indices], order.reads(), order.schedule(), node, order.source))
        return order

    def copy(self, pairs: list[tuple[Buf, Buf]]) -> None:
        """Launch copies: (from, to). Single numbers share a kernel."""
        singles = [p for p in pairs if size_of(p[0]) == 1]
        for group in [singles, *([p] for p in pairs if size_of(p[0]) != 1)]:
            stores = []
            for source, to in group:
                axes = [Axis(f"c{k}", n) for k, n in enumerate(to.shape)]
                same = tuple(axis_aff(a) for a in axes)
                stores.append(Store(to, same, load(source, same)))
            if stores:
                order = tuple(a for s in stores for i in s.idx for a, _ in i.terms)
                self.add(Region(stores, order), None)

    # -- states -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Give next states and results their places; what cannot be in place is copied at the end."""
        g, n = self.graph, self.graph.n_states
        maker = {
            s.buf: (launch, s, k) for k, launch in enumerate(self.launches) for s in launch.stores
        }
        readers: dict[Place, int] = {}
        for k, launch in enumerate(self.launches):
            for b in launch.reads:
                readers[self.place_of[b]] = k
        late: list[tuple[Buf, Buf]] = []
        taken: set[Place] = set()
        results = {self.place_of[self.buf_of[v]] for v in g.outputs[n:]}
        for old, new in zip(g.inputs[:n], g.outputs[:n], strict=True):
            if new is old:
                continue
            source, target = self.buf_of[new], self.buf_of[old]
            to, have = self.place_of[target], self.place_of[source]
            found = maker.get(source)
            free = (
                found is not None
                and have.role == "temp"
                and have not in taken
                and to not in results
            )
            if free and found is not None:
                launch, store, k = found
                last = readers.get(to, -1)
                if last < k or (last == k and self.harmless(launch, store, to)):
                    for b, p in self.place_of.items():
                        if p is have:
                            self.place_of[b] = to
                    taken.add(to)
                    continue
            late.append((source, target))
        held = {self.place_of[t] for _, t in late}
        for k, (source, target) in enumerate(late):
            if self.place_of[source] in held:  # another state that will be overwritten
                aside = Buf("", source.shape, source.dtype)
                self.place_of[aside] = Place(source.dtype, source.shape, "temp")
                self.copy([(source, aside)])
                late[k] = (aside, target)
        for v in g.outputs[n:]:
            place = self.place_of[self.buf_of[v]]
            if place.shape != tuple(v.shape):  # another shape of the same memory
                held = {*held, place}
            if place.role == "temp" and place not in held:
                place.role = "result"
            elif place in held:
                aside = Buf("", tuple(v.shape), v.dtype)
                self.place_of[aside] = Place(v.dtype, aside.shape, "result")
                self.copy([(self.buf_of[v], aside)])
                self.buf_of[v] = aside
        self.copy(late)

    def harmless(self, launch: Launch, store: Store, to: Place) -> bool:
        """Whether a kernel may overwrite what it reads: only at the same place, by the same program."""
        if launch.schedule.notes["kind"] == "loop" or launch.region is None:
            return False  # it may read in a later loop what it wrote in one
        launch.barrier = True  # threads of one program may hold copies of what they read
        if programs(launch.schedule) == 1:
            return True
        own = {a for i in store.idx for a, _ in i.terms}
        gridded = {a for g in launch.schedule.groups if g.role in ("grid", "split") for a in g.axes}
        if gridded <= own:
            return all(
                repr_of(e.attr[1]) == repr_of(store.idx) and e.attr[2] is None and not e.args
                for e in launch.region.nodes()
                if e.op == "load" and self.place_of[e.attr[0]] is to
            )
        if store.idx and size_of(store.buf) != 1:
            return False
        # a single number that nothing but single numbers depend on: one program's affair
        return not any(
            size_of(s.buf) != 1 and to in {self.place_of[b] for b in loads(Region([s]))}
            for s in launch.stores
        )

    # -- the program ------------------------------------------------------------------------------

    def program(self, key: str) -> Program:
        g, n = self.graph, self.graph.n_states
        inputs = []
        for v, role in zip(g.inputs, g.roles, strict=True):
            kind = "state" if role.kind == "state" else "data"
            place = Place(v.dtype, tuple(int(d) for d in v.shape), kind, role.path)
            self.buf(v, place)
            inputs.append(place)
        for node in g.nodes:
            self.node(node)
        self.settle()
        self.launches = together(self.launches, self.place_of)
        results = [self.place_of[self.buf_of[v]] for v in g.outputs[n:]]
        for k, launch in enumerate(self.launches):
            launch.places = list(
                dict.fromkeys(self.place_of[b] for b in [*launch.reads, *launch.writes])
            )
            for p in launch.places:
                p.first = k if p.first < 0 else p.first
                p.last = k
        used = list(
            dict.fromkeys([*inputs, *results, *(p for x in self.launches for p in x.places)])
        )
        for k, p in enumerate(used):
            p.name = f"b{k}"
            if p.role == "result":
                p.last = len(self.launches)
        arena = plan(used)
        made = [self.kernel(f"k{k}", launch) for k, launch in enumerate(self.launches)]
        called = prelude("".join(source for _, source in made))
        text = f"import triton\nimport triton.language as tl\n{called}"
        kernels = []
        for kernel, source in made:
            first = text.count("\n") + 3
            kernels.append(replace(kernel, lines=(first, first + source.count("\n"))))
            text += f"\n\n{source}\n"
        buffers = tuple(
            Buffer(p.name, p.dtype, p.shape, p.role, p.path, p.offset, p.nbytes) for p in used
        )
        return Program(
            g.name, "triton", text, tuple(kernels), buffers, arena, tuple(p.name for p in inputs[:n]),
            tuple(p.name for p in inputs[n:]), tuple(p.name for p in results), key,
        )  # fmt: skip

    def kernel(self, name: str, launch: Launch) -> tuple[Kernel, str]:
        bufs = [*launch.reads, *launch.writes]
        names = {b: self.place_of[b].name for b in bufs}
        body = launch.nodes
        try:
            source = launch.write(name, names, launch.barrier)
        except Unsupported as e:
            raise Unsupported(
                f"the kernel of {', '.join(dict.fromkeys(n.op.name for n in body))}: {e}"
            ) from e
        reads = tuple(dict.fromkeys(names[b] for b in launch.reads))
        writes = tuple(dict.fromkeys(names[b] for b in launch.writes))
        ops = ", ".join(n.op.name for n in body if n.op.name not in ("full", "broadcast")) or "copy"
        at = tuple(dict.fromkeys(n.at for n in body if n.at))
        moved = sum({self.place_of[b]: self.place_of[b].nbytes for b in bufs}.values())
        plan = launch.schedule
        notes: dict[str, Any] = {
            **{k: v for k, v in plan.notes.items() if k in ("rows", "resident", "kinds")},
            "kind": plan.notes["kind"], "args": list(dict.fromkeys(names.values())), **laid(plan),
        }  # fmt: skip
        if launch.precision:
            notes["precision"] = launch.precision
        call = library(launch, lambda v: self.place_of[self.buf_of[v]].name)
        if call is not None:
            notes["library"] = call
        others = tuple(candidates(launch, name, names))
        return Kernel(
            name, reads, writes, at, ops, launch.flops, moved, launch.why, (0, 0), notes, others
        ), source


def triton_program(graph: Graph, key: str) -> Program:
    """The program of a fused step graph with static extents. Raises Unsupported, naming the op."""
    return _Writer(with_hosts(joined(graph))).program(key)


def whole(e: E, axes: Sequence[Axis]) -> bool:
    """Whether a load reads a buffer from end to end in the order of some axes."""
    buf, idx, _ = e.attr
    if e.args or size_of(buf) != size(axes):
        return False
    form = sum((i * step for i, step in zip(idx, buf.strides, strict=True)), Aff())
    want = {a: size(axes[k + 1 :]) for k, a in enumerate(axes)}
    return form.const == 0 and dict(form.terms) == want


__all__ = ["triton_program", "E", "Group"]

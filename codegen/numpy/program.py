"""A fused graph as a NumPy program: places for values, kernels in order, memory, source.

States are updated in place where nothing still reads the old value, and copied at the end where
something does. Refuses to hold what a kernel computes (`render`) and the front door's names.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from codegen.loops import Axis, Buf, E, Region, Schedule, axis_aff, load
from codegen.loops import Store as Put
from codegen.memory import lives, plan
from codegen.numpy.bound import bind, scaled_sums
from codegen.numpy.emit import Emitter
from codegen.numpy.parallel import split
from codegen.numpy.render import render
from codegen.numpy.states import crossed, in_step, states_last
from codegen.numpy.text import Source
from codegen.numpy.views import Call, Loop, Shaped, Slot, View
from codegen.program import Buffer, Kernel, Program
from codegen.regions import region_of
from codegen.schedule import Blocks, row_blocks
from ir.graph import Graph, Node, Value
from ir.ops.contract import letters

BLOCKS = Blocks()


class Writer:
    """Turns one graph (a step, or the body of a scan) into calls."""

    def __init__(self, em: Emitter, depth: int = 0):
        self.em, self.depth = em, depth
        self.bufs: dict[Value, Buf] = {}
        self.kernels: list[tuple[int, Kernel]] = []
        self.late: list[tuple[Value, View]] = []  # next states to be copied when all is done

    def buf(self, v: Value, place: View) -> Buf:
        """Say where a value is."""
        made = Buf("", tuple(int(d) for d in v.shape), v.dtype)
        self.bufs[v] = made
        self.em.places[made] = place
        return made

    def node(self, node: Node, targets: dict[Value, View]) -> None:
        """Emit one node; `targets`: where its results must be, if that is given."""
        if node.op.name in ("reshape", "stop_gradient"):
            (v,), place = node.outs, self.em.places[self.bufs[node.inputs[0]]]
            if v in targets:
                self.copy(v, targets[v], _buf_at(self.em, v, place))
            self.buf(v, targets.get(v, place))
            return
        start = len(self.em.calls)
        if node.op.name == "scan":
            schedule = self.scan(node, targets)
        else:
            schedule = self.region(node, targets)
        self.kernel(node, start, schedule)

    def place(self, v: Value, targets: dict[Value, View]) -> View:
        found = targets.get(v)
        return whole(Slot(v.dtype, tuple(int(d) for d in v.shape))) if found is None else found

    def region(self, node: Node, targets: dict[Value, View]) -> Schedule:
        body = node.attrs[0]
        ins = [self.bufs[v] for v in node.inputs]
        outs = [self.buf(v, self.place(v, targets)) for v in node.outs]
        region = region_of(body, ins, outs, self.folds(body))
        for k in crossed(self.em, region):
            v, place = node.outs[k], self.em.places[outs[k]]
            self.late.append((v, place))
            self.em.places[outs[k]] = whole(Slot(v.dtype, tuple(int(d) for d in v.shape)))
        states_last(self.em, region)
        return self.draw(region)

    def folds(self, body: Graph) -> bool:
        """Whether input gradients of convolutions add product taps up, or read shifted gradients.

        A copy of windows takes a fraction of the time of adding as many numbers up.
        """
        for n in body.nodes:
            if n.op.name == "contract" and n.attrs[1]:
                lx, ly, lr = letters(n.attrs[0])
                extents = dict(zip(lx + ly, (*n.inputs[0].shape, *n.inputs[1].shape), strict=True))
                if all(w[0] in lr and w[3] == 1 for w in n.attrs[1]):
                    read = math.prod(
                        n for c, n in extents.items() if c in ly and c in lx and c not in lr
                    )
                    made = math.prod(
                        n for c, n in extents.items() if c in ly and c not in lx and c in lr
                    )
                    return bool(read > FOLD * made)
        return True

    def draw(self, region: Region) -> Schedule:
        """Emit the calls of one region."""
        blocks = not self.depth and in_step(self.em, region)
        schedule = row_blocks(region, BLOCKS) if blocks else Schedule()
        render(self.em, region, schedule)
        return schedule

    def scan(self, node: Node, targets: dict[Value, View]) -> Schedule:
        body, carries, xs, length, reverse = node.attrs
        em = self.em
        stacks: dict[Value, Value] = {}
        for v, out in zip(body.outputs[carries:], node.outs[carries:], strict=True):
            stacks.setdefault(v, out)
        for v in node.outs[carries:]:
            self.buf(v, self.place(v, targets))
        inner = self.within()
        given = dict(zip(body.inputs, node.inputs, strict=True))
        inputs = set(body.inputs)
        own: dict[Value, View] = {}
        pending: list[tuple[Value, View]] = []
        double: dict[int, Slot] = {}
        with em.looping(int(length)) as loop:
            for k, v in enumerate(body.inputs):
                at = em.places[self.bufs[given[v]]]
                if k < carries:
                    out = body.outputs[k]
                    size = _elements(v)
                    if out in stacks and out not in inputs:  # the last step's result is the carry
                        stack = em.places[self.bufs[stacks[out]]]
                        base = _step(stack, size, loop, int(length), reverse)
                        step = base.loops[loop]
                        place = View(
                            base.slot, base.offset - step, {}, {**base.loops}, base.alternate, at
                        )
                    else:
                        slot = double[k] = Slot(v.dtype, (2, *(int(d) for d in v.shape)))
                        place = View(slot, 0, {}, {}, (loop, size), at)
                elif k < carries + xs:
                    place = _step(at, _elements(v), loop, int(length), reverse)
                else:
                    place = at
                inner.buf(v, place)
            for v, out in stacks.items():
                if v not in inputs:
                    own[v] = _step(
                        em.places[self.bufs[out]], _elements(v), loop, int(length), reverse
                    )
            for k in range(carries):
                out = body.outputs[k]
                if k in double and out not in inputs and out not in own:
                    own[out] = View(double[k], 0, {}, {}, (loop, -_elements(out)))
            for n in body.nodes:
                inner.node(n, own)
            for v, out in zip(body.outputs[carries:], node.outs[carries:], strict=True):
                if v in inputs or stacks[v] is not out:
                    to = _step(em.places[self.bufs[out]], _elements(v), loop, int(length), reverse)
                    pending.append((v, to))
            for k in range(carries):
                out = body.outputs[k]
                if k in double and (out in inputs or own[out].slot is not double[k]):
                    pending.append((out, View(double[k], 0, {}, {}, (loop, -_elements(out)))))
            for v, to in pending:
                inner.copy(v, to, inner.bufs[v])
            if len(em.calls) == loop.first:
                em.loops.pop()
                em.all_loops.remove(loop)
                em.loops.append(loop)
        self.looped(loop)
        for k in range(carries):
            v, out = node.outs[k], body.outputs[k]
            place = self.place(v, targets)
            size = _elements(v)
            if not int(length):
                self.copy(v, place, self.bufs[node.inputs[k]])
            elif k in double:
                last = View(double[k], (int(length) % 2) * size, {})
                self.copy(v, place, _buf_at(em, v, last))
            else:
                stack = em.places[self.bufs[stacks[out]]]
                at_end = 0 if reverse else (int(length) - 1) * size
                last = View(stack.slot, stack.offset + at_end, {}, stack.loops, stack.alternate)
                if v in targets:
                    self.copy(v, place, _buf_at(em, v, last))
                else:
                    place = last
            self.buf(v, place)
        return Schedule((), {"loop": "time", "steps": int(length), "kernels": len(inner.kernels)})

    def within(self) -> Writer:
        """The writer of a loop's body."""
        return type(self)(self.em, self.depth + 1)

    def looped(self, loop: Loop) -> None:
        """What is to be done when the calls of a loop are all there: nothing."""

    def copy(self, v: Value, to: View, source: Buf) -> None:
        """Emit a copy of a whole value."""
        target = _buf_at(self.em, v, to)
        axes = [Axis(f"c{k}", int(d)) for k, d in enumerate(v.shape)]
        idx = tuple(axis_aff(a) for a in axes)
        value: E = load(source, idx)
        self.transfer(Region([Put(target, idx, value)], tuple(axes)))

    def transfer(self, region: Region) -> None:
        """Emit the calls of a copy."""
        render(self.em, region, Schedule())

    def kernel(self, node: Node, start: int, schedule: Schedule) -> None:
        body: Graph = node.attrs[0]
        ops = ", ".join(n.op.name for n in body.nodes if n.op.name not in ("full", "broadcast"))
        at = tuple(dict.fromkeys(n.at for n in body.nodes if n.at)) or (
            (node.at,) if node.at else ()
        )
        flops = (
            node.op.flops(tuple(v.type for v in node.inputs), *node.attrs) if node.op.flops else 0
        )
        moved = sum(int(v.type.nbytes) for v in (*dict.fromkeys(node.inputs), *node.outs))
        why = node.attrs[1] if node.op.name == "fused" else ()
        kernel = Kernel(
            "", (), (), at, ops, int(flops), moved, tuple(why), (0, 0), dict(schedule.notes)
        )
        self.kernels.append((start, kernel))


def whole(slot: Slot) -> View:
    """A slot from its start; regions index it by the shape of the buffer."""
    return View(slot, 0, {})


def _elements(v: Value) -> int:
    return int(v.type.size)


def _step(at: View, size: int, loop: object, length: int, reverse: bool) -> View:
    """The place of one step of a stack."""
    start, step = ((length - 1) * size, -size) if reverse else (0, size)
    return View(at.slot, at.offset + start, {}, {**at.loops, loop: step}, at.alternate, at.first)  # type: ignore[dict-item]


def _buf_at(em: Emitter, v: Value, place: View) -> Buf:
    made = Buf("", tuple(int(d) for d in v.shape), v.dtype)
    em.places[made] = place
    return made


FOLD = 4  # times as many channels read as made, from which taps are added up


def numpy_program(graph: Graph, key: str) -> Program:
    """The program of a fused step graph with static extents."""
    return written(graph, key, Writer(Emitter()), "numpy", Source)


def written(
    graph: Graph, key: str, writer: Writer, target: str, printer: Callable[..., Source]
) -> Program:
    """The program of a fused step graph, its nodes emitted by `writer` and printed by `printer`."""
    em = writer.em
    states = graph.n_states
    for v, role in zip(graph.inputs, graph.roles, strict=True):
        kind = role.kind if role.kind == "state" else "data"
        writer.buf(v, whole(Slot(v.dtype, tuple(int(d) for d in v.shape), kind, role.path)))
    given = set(graph.inputs)
    root: dict[Value, Value] = {}
    for n in graph.nodes:
        if n.op.name in ("reshape", "stop_gradient"):
            root[n.outs[0]] = root.get(n.inputs[0], n.inputs[0])
    last_read: dict[Value, int] = {}
    for k, n in enumerate(graph.nodes):
        if n.op.name in ("reshape", "stop_gradient"):
            continue
        for v in n.inputs:
            last_read[root.get(v, v)] = k
    made_at = {v: k for k, n in enumerate(graph.nodes) for v in n.outs}
    targets: dict[Value, View] = {}
    late = writer.late
    read_after = {root.get(v, v) for v in graph.outputs[states:]}
    for old, new in zip(graph.inputs[:states], graph.outputs[:states], strict=True):
        if new is old:
            continue
        place = em.places[writer.bufs[old]]
        made = made_at.get(new, -1)
        # a kernel may read what it overwrites (see `states`), a loop over time may not
        read = made - 1 if made >= 0 and graph.nodes[made].op.name == "scan" else made
        free = last_read.get(old, -1) <= read and new not in given and new not in root
        others = [v for v, r in root.items() if r is old and v in graph.outputs]
        if (
            free
            and new not in targets
            and not others
            and old not in read_after
            and old not in graph.outputs
        ):
            targets[new] = place
        else:
            late.append((new, place))
    for v in graph.outputs[states:]:
        if v not in given and v not in targets and v not in root:
            targets[v] = whole(Slot(v.dtype, tuple(int(d) for d in v.shape), "result"))
    for n in graph.nodes:
        writer.node(n, targets)
    results: list[Slot] = []
    for v in graph.outputs[states:]:
        place = em.places[writer.bufs[v]]
        direct = (
            place.offset == 0 and place.slot.role in ("result", "state", "data") and not place.loops
        )
        if v in root or (v in given and any(place.slot is p.slot for _, p in late)) or not direct:
            slot = Slot(v.dtype, tuple(int(d) for d in v.shape), "result")
            writer.copy(v, whole(slot), writer.bufs[v])
            results.append(slot)
        else:
            results.append(place.slot)
    _copy_late(em, writer, late)
    return _assemble(graph, writer, results, key, target, printer)


def _copy_late(em: Emitter, writer: Writer, late: list[tuple[Value, View]]) -> None:
    """Next values that could not be computed in place; those that are other states first go aside."""
    taken = {id(place.slot) for _, place in late}
    sources: list[Buf] = []
    for v, _ in late:
        source = writer.bufs[v]
        if id(em.places[source].slot) in taken:
            aside = whole(Slot(v.dtype, tuple(int(d) for d in v.shape)))
            writer.copy(v, aside, source)
            source = _buf_at(em, v, aside)
        sources.append(source)
    for (v, place), source in zip(late, sources, strict=True):
        writer.copy(v, place, source)


def _assemble(
    graph: Graph,
    writer: Writer,
    results: list[Slot],
    key: str,
    target: str,
    printer: Callable[..., Source],
) -> Program:
    em = writer.em
    bounds = [start for start, _ in writer.kernels]
    for call in em.calls:
        call.kernel = bisect_right(bounds, call.at) - 1
    scaled_sums(em)
    split(em)
    bind(em)
    used = lives(em.calls, em.all_loops)
    arena = plan(em.calls, used)
    inputs = [em.places[writer.bufs[v]].slot for v in graph.inputs]
    slots = list(dict.fromkeys([*inputs, *results, *used]))
    for slot in results:
        if slot.role == "result" and slot.offset < 0:
            slot.offset, arena = arena, arena + -(-max(slot.nbytes, 1) // 64) * 64
    names = {s: f"b{k}" for k, s in enumerate(slots)}
    source = printer(em.calls, slots)
    text = source.text()
    kernels = []
    members: dict[int, list[Call]] = {}
    for call in em.calls:
        members.setdefault(call.kernel, []).append(call)
    for k, (_, kernel) in enumerate(writer.kernels):
        calls = members.get(k, [])
        lines = [source.lines[c.at] for c in calls] or [0]
        reads, writes = _touched(calls, names)
        kernels.append(
            replace(
                kernel, name=f"k{k}", reads=reads, writes=writes, lines=(min(lines), max(lines))
            )
        )
    buffers = tuple(
        Buffer(
            names[s],
            s.dtype,
            s.shape,
            s.role,
            s.path,
            s.offset if s.role in ("temp", "result") else -1,
            s.nbytes,
        )
        for s in slots
    )
    n = graph.n_states
    return Program(
        graph.name, target, text, tuple(kernels), buffers, arena, tuple(names[s] for s in inputs[:n]),
        tuple(names[s] for s in inputs[n:]), tuple(names[s] for s in results), key,
    )  # fmt: skip


def _touched(calls: list[Call], names: dict[Slot, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    for call in calls:
        for arg, written in zip(call.args, call.writes, strict=True):
            if isinstance(arg, Shaped):
                for slot in arg.slots:
                    (writes if written else reads).setdefault(names[slot])
    return tuple(r for r in reads if r not in writes), tuple(writes)

"""Kernels to be of a graph, and where its states live: updated in place where nothing can still read the old value, copied at the end
where something may; in one step of a loop, in two places in turn.

Refuses to hold how nodes become kernels (`writer`).
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.loops import Axis, Buf, Region, Store, axis_aff, below, load
from codegen.triton.launch import Launch, Place, loads, repr_of, size_of
from codegen.triton.schedule import MOVES, programs
from codegen.triton.together import together
from ir.graph import Graph, Node, Value


class States:
    """Launches so far, the places of buffers, the buffers of values.

    turns: of one step of a loop: where a state lies before and after it, in turn; None for a whole step.
    """

    def __init__(self, graph: Graph, turns: list[tuple[Place, Place]] | None = None):
        self.graph, self.turns = graph, turns
        self.launches: list[Launch] = []
        self.users = graph.users()
        self.results = set(graph.outputs)
        self.place_of: dict[Buf, Place] = {}
        self.buf_of: dict[Value, Buf] = {}

    def node(self, node: Node) -> None:
        """Launch what a node computes."""
        raise NotImplementedError

    def add(self, region: Region, node: Node | None) -> None:
        """Launch a region."""
        raise NotImplementedError

    def write(self, inputs: Sequence[Place]) -> None:
        """Launch what the nodes compute, from inputs in these places."""
        for v, place in zip(self.graph.inputs, inputs, strict=True):
            self.buf(v, place)
        for node in self.graph.nodes:
            self.node(node)
        self.settle()
        self.launches = together(self.launches, self.place_of)

    def buf(self, v: Value, place: Place | None = None) -> Buf:
        """A new buffer for a value, in a place (default: a new one)."""
        shape = tuple(int(d) for d in v.shape)
        made = Buf("", shape, v.dtype)
        self.buf_of[v] = made
        self.place_of[made] = place or Place(v.dtype, shape, "temp")
        return made

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

    def settle(self) -> None:
        """Give next states and results their places; what cannot be in place is copied at the end."""
        g, n = self.graph, self.graph.n_states
        maker = {
            s.buf: (launch, s, k) for k, launch in enumerate(self.launches) for s in launch.stores
        }
        readers: dict[Place, int] = {}
        for k, launch in enumerate(self.launches):
            for b in launch.reads:
                readers[self.place_of[b].home] = k
        for old, new in zip(g.inputs[:n], g.outputs[:n], strict=True):
            have = self.place_of[self.buf_of[new]]
            if have.role == "state" and have is not self.place_of[self.buf_of[old]]:
                readers[have] = len(
                    self.launches
                )  # what another state becomes is copied at the end
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
        if self.turns is not None:
            fixed = taken | results
            late = [p for p in late if not self.change(*p, fixed)]
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

    def change(self, source: Buf, target: Buf, taken: set[Place]) -> bool:
        """Whether a state of a loop may lie where its next value was written, and that value where it lay, in turn."""
        have, to = self.place_of[source], self.place_of[target]
        free = have.role == "temp" and have not in taken and have.shape == to.shape
        if free and self.turns is not None:
            self.turns.append((to, have))
            taken.add(have)
        return free

    def harmless(self, launch: Launch, store: Store, to: Place) -> bool:
        """Whether a kernel may overwrite what it reads: only at the same place, by the same program, after all reads of that."""
        groups = launch.schedule.groups
        own = {a for i in store.idx for a, _ in i.terms}
        walked = {a for g in groups if g.role in ("loop", "split") for a in g.axes}
        if launch.region is None or own & walked:
            return False  # it may read in a later pass what it wrote in one
        launch.barrier = True  # threads of one program may hold copies of what they read
        if programs(launch.schedule) == 1:
            return True
        gridded = {a for g in groups if g.role in ("grid", "split") for a in g.axes}
        nodes = launch.region.nodes()
        if gridded <= own:
            moved = {a for e in nodes if e.op in MOVES for a in below(e)}
            return all(
                repr_of(e.attr[1]) == repr_of(store.idx)
                and e.attr[2] is None
                and not e.args
                and e not in moved  # read where the store is, not at another place
                for e in nodes
                if e.op == "load" and self.place_of[e.attr[0]] is to
            )
        if store.idx and size_of(store.buf) != 1:
            return False
        # a single number that nothing but single numbers depend on: one program's affair
        return not any(
            size_of(s.buf) != 1 and to in {self.place_of[b] for b in loads(Region([s]))}
            for s in launch.stores
        )

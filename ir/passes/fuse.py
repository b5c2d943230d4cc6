"""fuse: the nodes of a whole step in groups that each become one kernel.

Greedy, in graph order. Every group has a rank, and values flow from lower ranks to higher ones only, so that
no two groups can feed each other; that is asserted. What pays is the target's table, passed in. Constants, counters,
repetitions and plain views are cloned into each reader and never written to memory. Why a neighbour was left out is
kept with the group. Refuses to choose layouts or loops.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from ir.graph import Graph, Node, Value
from ir.ops.fused import fused
from ir.passes.fold import POINTWISE
from ir.rewrite import map_bodies
from ir.spaces import Extent, Mismatch, Spaces, free_of_axes

CLONED = frozenset({"full", "size", "iota", "broadcast", "reshape", "transpose", "slice", "flip",
                    "stop_gradient", "unfold"})  # fmt: skip
FREE = frozenset({"reshape", "stop_gradient"})  # the same memory: no kernel, where they stand alone
LIMIT = 96  # nodes in a group
DEEP = 8  # nodes in a row that may be cloned because they only change what is given

Profit: TypeAlias = "Callable[[Node, Group], str]"  # "" to join, else the reason why not


class Group:
    """A group while it grows: its own copies of nodes, what it reads, and why others stayed out."""

    __slots__ = ("rank", "nodes", "given", "env", "inputs", "why", "at", "reads")

    def __init__(self, rank: int):
        self.rank = rank
        self.nodes: list[Node] = []  # copies, operands first
        self.given: list[list[list[Extent]]] = []  # the extents of the operands of each
        self.env: dict[Value, Value] = {}  # what stands for a value of the graph inside
        self.inputs: dict[
            Value, Value
        ] = {}  # values of the graph that are read, and their stand-ins
        self.why: dict[str, None] = {}
        self.at = ""
        self.reads = 0


def fuse(graph: Graph, profit: Profit) -> Graph:
    """`graph` with its nodes in `fused` nodes, bodies of scans included. All extents must be numbers.

    A node that is only a view of memory stays as it is where nothing can take it in.
    """
    # a body that is more than a graph is one kernel of its target as it stands
    graph = map_bodies(graph, lambda body: fuse(body, profit) if type(body) is Graph else body)
    return _Fuser(graph, profit).run()


class _Fuser:
    def __init__(self, graph: Graph, profit: Profit):
        self.graph, self.profit = graph, profit
        self.users = graph.users()
        self.outputs = set(graph.outputs)
        self.spaces = Spaces()
        self.group_of: dict[Node, Group] = {}
        self.order: list[Group | Node] = []
        self.rank: dict[Node, int] = {}
        self.touching: dict[Value, list[Group]] = {}  # groups that read a value
        self.cloned = {n for n in graph.nodes if n.op.name in CLONED}
        self.given: dict[
            Node, int
        ] = {}  # cloned, of inputs of the graph alone: how many nodes deep
        for n in graph.nodes:
            if n.op.name == "eq":
                self.cloned |= _one_hot(n)
            elif self._beside(n):
                self.cloned.add(n)
            if n.op.name in ("eq", "select") and _marks(n, self.cloned):
                self.cloned.add(n)
            if n in self.cloned and (depth := self._depth(n)) <= DEEP:
                self.given[n] = depth

    def run(self) -> Graph:
        wanted = self._standing()
        for node in self.graph.nodes:
            if node in self.rank or (node in self.cloned and node not in wanted):
                continue
            if node.op.name in FREE or node.op.name == "scan" or node.op is fused:
                self._alone(node)
            else:
                self._place(node)
        return self._build()

    def _beside(self, n: Node) -> bool:
        """Whether a node only changes what is given, for one other that goes over the same elements: it is where that is.

        Else it would be in a group of its own before the one that reads it, and draw that away from what else it reads.
        """
        users = self.users.get(n.outs[0], ())
        return (
            n.op.name in POINTWISE
            and len(users) == 1
            and users[0].op.name in POINTWISE
            and n.outs[0] not in self.outputs
            and self._depth(n) <= DEEP
        )

    def _depth(self, n: Node) -> int:
        """How many nodes lie between a node and the inputs of the graph, itself counted; more than DEEP: too many, or a node not cloned."""
        above = (self.given.get(v.node, DEEP) for v in n.inputs if v.node is not None)
        return 1 + max(above, default=0)

    def _standing(self) -> set[Node]:
        """Nodes to be cloned that must also stand for themselves: outputs, what a scan reads, and what is repeated and convolved."""
        need = {v.node for v in self.graph.outputs if v.node is not None}
        repeated: set[Node] = set()
        for n in self.graph.nodes:
            if n in self.cloned and (
                n.op.name in ("broadcast", "full") or any(v.node in repeated for v in n.inputs)
            ):
                repeated.add(n)
            if n.op.name == "scan" or n.op is fused:
                need.update(v.node for v in n.inputs if v.node is not None)
            elif n.op.name == "contract" and n.attr("windows"):
                # windows end where their operand does, which what is repeated along them no longer tells
                need.update(v.node for v in n.inputs if v.node in repeated)
        todo = [n for n in need if n.op.name in FREE]
        while todo:  # a free view that stands needs its operand to stand
            source = todo.pop().inputs[0].node
            if source is not None and source not in need:
                need.add(source)
                if source.op.name in FREE:
                    todo.append(source)
        return need

    def _alone(self, node: Node) -> None:
        self.rank[node] = len(self.order)
        self.order.append(node)

    def _sources(self, node: Node) -> Iterable[Value]:
        """The values that a node reads from memory or a group, seen through clones."""
        todo, seen = list(node.inputs), set()
        while todo:
            v = todo.pop()
            if v in seen:
                continue
            seen.add(v)
            if v.node is not None and v.node not in self.rank and v.node in self.cloned:
                todo.extend(v.node.inputs)
            else:
                yield v

    def _place(self, node: Node) -> None:
        sources = list(self._sources(node))
        least = max((self.rank[v.node] for v in sources if v.node is not None), default=-1)
        candidates: dict[Group, None] = {}
        for v in sources:
            g = self.group_of.get(v.node) if v.node is not None else None
            if g is not None:
                candidates.setdefault(g)
        for v in sources:
            for g in self.touching.get(v, ())[-4:]:
                candidates.setdefault(g)
        for g in sorted(candidates, key=lambda g: -g.rank):
            if g.rank < least:
                reason = "something it reads is computed later"
            elif len(g.nodes) >= LIMIT:
                reason = "the group is full"
            else:
                reason = self.profit(node, g) or self._join(node, g)
            if not reason:
                self._enter(node, g, sources)
                return
            if len(g.why) < 12:
                g.why.setdefault(f"{node.op.name}: {reason}")
        reason = self._join(node, g := Group(len(self.order)))
        if reason:  # a view it reads does not go with it: let the views stand
            for v in node.inputs:
                self._stand(v)
            sources = list(self._sources(node))
            reason = self._join(node, g := Group(len(self.order)))
            assert not reason, f"{node!r} cannot be a group of its own: {reason}"
        self.order.append(g)
        g.at = node.at
        self._enter(node, g, sources)

    def _stand(self, v: Value) -> None:
        """See to it that a value stands in memory."""
        node = v.node
        if node is None or node in self.rank:
            return
        if node.op.name in FREE:
            self._stand(node.inputs[0])
            self._alone(node)
        else:
            self._place(node)

    def _enter(self, node: Node, g: Group, sources: Sequence[Value]) -> None:
        self.group_of[node] = g
        self.rank[node] = g.rank
        for v in sources:
            if v not in g.env:
                readers = self.touching.setdefault(v, [])
                if not readers or readers[-1] is not g:
                    readers.append(g)

    def _join(self, node: Node, g: Group) -> str:
        """Take copies of the node and of what is cloned with it into `g`; or say why that is illegal."""
        mark, size = self.spaces.mark(), len(g.nodes)
        inputs = dict(g.inputs)
        added: list[Value] = []
        try:
            self._copy(node, g, added)
            merges = False
            for copy in g.nodes[size:]:
                given = [self._extents(v, g) for v in copy.inputs]
                if copy.op.name in ("gather", "take_along") and copy.inputs[0].node is not None:
                    raise Mismatch("a table computed in the group cannot be indexed there")
                merges = merges or not _plain(copy) or not self._in_step(copy, given)
                self.spaces.tie(copy, given)
                g.given.append(given)
            for k in range(0 if merges else size, len(g.nodes)):
                copy = g.nodes[k]
                if not self.spaces.apart(copy, g.given[k]) or not all(
                    map(self.spaces.distinct, copy.outs)
                ):
                    raise Mismatch("two axes of one value would be one")
        except Mismatch as e:
            self.spaces.undo(mark)
            del g.nodes[size:], g.given[size:]
            g.inputs = inputs
            for v in added:
                g.env.pop(v, None)
            return f"no common space: {e}"
        return ""

    def _extents(self, v: Value, g: Group) -> list[Extent]:
        own = v.node is not None and not free_of_axes(v)
        return self.spaces.dims(v) if own else [Extent(d) for d in v.shape]

    def _in_step(self, node: Node, given: Sequence[Sequence[Extent]]) -> bool:
        """Whether the operands made in the group already lie along the same axes."""
        made = [
            [self.spaces.find(e) for e in extents]
            for v, extents in zip(node.inputs, given, strict=True)
            if v.node is not None and not free_of_axes(v)
        ]
        return all(a is b for other in made[1:] for a, b in zip(made[0], other, strict=True))

    def _copy(self, node: Node, g: Group, added: list[Value]) -> None:
        """Copies of a node and of the cloned nodes it reads, into `g`."""
        for v in node.inputs:
            if v in g.env or v in g.inputs:
                continue
            maker = v.node
            if maker is not None and maker in self.cloned and maker not in self.rank:
                self._copy(maker, g, added)
            else:
                g.inputs[v] = Value(v.type, None, 0, v.name)
        local = tuple([g.env[v] if v in g.env else g.inputs[v] for v in node.inputs])
        copy = Node(node.op, local, node.attrs, [v.type for v in node.outs], node.at)
        for old, new in zip(node.outs, copy.outs, strict=True):
            new.name = old.name
            g.env[old] = new
            added.append(old)
        g.nodes.append(copy)

    # -- the fused graph --------------------------------------------------------------------------

    def _build(self) -> Graph:
        members: dict[Group, list[Node]] = {}
        for node in self.graph.nodes:
            g = self.group_of.get(node)
            if g is not None:
                members.setdefault(g, []).append(node)
        read: set[Value] = set(self.outputs)
        for item in self.order:
            read.update(item.inputs)
        env: dict[Value, Value] = {}
        nodes: list[Node] = []
        made: set[Node] = set()
        for k, item in enumerate(self.order):
            if isinstance(item, Node):
                new = Node(item.op, tuple(env.get(v, v) for v in item.inputs), item.attrs,
                           [v.type for v in item.outs], item.at)  # fmt: skip
                outs: list[Value] = list(item.outs)
            else:
                outs = [v for n in members[item] for v in n.outs if v in read]
                body = Graph(
                    f"k{k}", list(item.inputs.values()), item.nodes, [item.env[v] for v in outs]
                )
                inputs = tuple(env.get(v, v) for v in item.inputs)
                new = Node(fused, inputs, (body, tuple(item.why)), [v.type for v in outs], item.at)
            for v in new.inputs:
                assert v.node is None or v.node in made, f"{new!r} reads what is computed later"
            made.add(new)
            for old, v in zip(outs, new.outs, strict=True):
                v.name = old.name
                env[old] = v
            nodes.append(new)
        return self.graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in self.graph.outputs])


def _one_hot(n: Node) -> set[Node]:
    """The nodes of `position == argmax(windows of x)`: cheaper to do again than to keep."""
    found = {n}
    todo = [v.node for v in n.inputs]
    windows = False
    while todo:
        m = todo.pop()
        if m is None:
            continue
        if m.op.name == "unfold":
            windows = True
        elif m.op.name in ("argmax", "argmin", "broadcast", "reshape", "iota"):
            if m.op.name.startswith("arg"):
                found.add(m)
            todo.extend(v.node for v in m.inputs)
    return found if windows else set()


def _marks(n: Node, cloned: Collection[Node]) -> bool:
    """Whether a node compares positions with what is repeated along them, or chooses between constants so: a one-hot
    row is cheaper to make again, from its one number, than to read."""
    values = [v.node for v in n.inputs]
    if n.op.name == "select":
        return values[0] in cloned and all(
            m is not None and m.op.name == "full" for m in values[1:]
        )
    names = {m.op.name for m in values if m is not None}
    return names == {"iota", "broadcast"}


def _plain(n: Node) -> bool:
    """Whether a node's result has the axes of its operands as they stand."""
    return all(v.shape == n.outs[0].shape for v in n.inputs)

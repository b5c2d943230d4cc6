"""The graph: values, nodes, and `Graph` = (inputs, nodes, outputs). Immutable SSA, no effects.

A node is made by calling an op (`ir.op`); creation order (`serial`) is topological. Graphs are made
from outputs by `graph_of`. Refuses to hold what an op means, any pass, and any spelling.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ir.types import Type

if TYPE_CHECKING:
    from ir.op import Op

_serial = itertools.count()
_at: list[str] = [""]


class Value:
    """One SSA value: the `index`-th result of `node`, or a graph input when `node` is None.

    Identity is the only equality. `name` is for the reader: no part of any key or source.
    """

    __slots__ = ("type", "node", "index", "name")

    def __init__(self, type: Type, node: Node | None = None, index: int = 0, name: str = ""):
        self.type, self.node, self.index, self.name = type, node, index, name

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    def __bool__(self) -> bool:
        raise TypeError("a graph value has no truth value while tracing")

    def __repr__(self) -> str:
        return f"<{self.name or '%'}: {self.type}>"


class Node:
    """One application of an op. `attrs` is a tuple in the op's declared order; `at` is the layer path."""

    __slots__ = ("op", "inputs", "attrs", "outs", "at", "serial")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Value, ...],
        attrs: tuple[Any, ...],
        types: Iterable[Type],
        at: str | None = None,
    ):
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.outs = tuple([Value(t, self, i) for i, t in enumerate(types)])
        self.at = _at[-1] if at is None else at
        self.serial = next(_serial)

    def attr(self, name: str) -> Any:
        """The attribute called `name`."""
        return self.attrs[self.op.attr_index[name]]

    def __repr__(self) -> str:
        return f"<{self.op.name}({', '.join(map(repr, self.inputs))}) -> {[o.type for o in self.outs]}>"


class Role(NamedTuple):
    """What a graph input is: `state("dense/kernel")`, `data("x")`, or nothing (kind "")."""

    kind: str = ""
    path: str = ""


class Graph:
    """(inputs, nodes, outputs); `nodes` in an order where operands come first.

    In a step graph inputs are (states, data) and outputs (next states, results): the i-th output is
    the next value of the i-th state, of equal type. `n_states` counts them.
    """

    __slots__ = ("name", "inputs", "roles", "nodes", "outputs")

    def __init__(
        self,
        name: str,
        inputs: Sequence[Value],
        nodes: Sequence[Node],
        outputs: Sequence[Value],
        roles: Sequence[Role] | None = None,
    ):
        self.name = name
        self.inputs, self.nodes, self.outputs = tuple(inputs), tuple(nodes), tuple(outputs)
        self.roles = tuple(roles) if roles is not None else (Role(),) * len(self.inputs)
        assert len(self.roles) == len(self.inputs)

    @property
    def n_states(self) -> int:
        return sum(r.kind == "state" for r in self.roles)

    def replace(
        self,
        *,
        inputs: Sequence[Value] | None = None,
        nodes: Sequence[Node] | None = None,
        outputs: Sequence[Value] | None = None,
        roles: Sequence[Role] | None = None,
        name: str | None = None,
    ) -> Graph:
        """A copy with some parts replaced."""
        return Graph(
            self.name if name is None else name,
            self.inputs if inputs is None else inputs,
            self.nodes if nodes is None else nodes,
            self.outputs if outputs is None else outputs,
            self.roles if roles is None else roles,
        )

    def users(self) -> dict[Value, list[Node]]:
        """For each value that is read, the nodes that read it, in order (a node twice if it reads twice)."""
        found: dict[Value, list[Node]] = {}
        for n in self.nodes:
            for v in n.inputs:
                found.setdefault(v, []).append(n)
        return found

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes, {len(self.outputs)} outputs>"


def graph_of(
    name: str,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    roles: Sequence[Role] | None = None,
) -> Graph:
    """The graph that computes `outputs` from `inputs`: the nodes reachable, in creation order.

    Raises ValueError when an output depends on a value without a node that is not an input.
    """
    known = set(inputs)
    nodes = reachable(outputs, known)
    for v in itertools.chain(outputs, (v for n in nodes for v in n.inputs)):
        if v.node is None and v not in known:
            raise ValueError(f"graph {name!r}: {v!r} is neither an input nor computed")
    return Graph(name, inputs, nodes, outputs, roles)


def reachable(outputs: Iterable[Value], stop: set[Value] | None = None) -> list[Node]:
    """The nodes `outputs` depend on, in creation order; values in `stop` are not followed."""
    stop = stop or set()
    seen: set[Node] = set()
    todo = [v.node for v in outputs if v.node is not None and v not in stop]
    while todo:
        n = todo.pop()
        if n in seen:
            continue
        seen.add(n)
        todo.extend(
            v.node for v in n.inputs if v.node is not None and v.node not in seen and v not in stop
        )
    return sorted(seen, key=lambda n: n.serial)


def clock() -> int:
    """A serial between those of the nodes made so far and those made from now on."""
    return next(_serial)


@contextmanager
def at(path: str) -> Iterator[None]:
    """Nodes made inside carry the layer path `path` (unless they are given another)."""
    _at.append(path)
    try:
        yield
    finally:
        _at.pop()


def here() -> str:
    """The layer path that a node made now would carry."""
    return _at[-1]


def mark() -> int:
    """A serial newer than every node so far: nodes made later have serial >= mark."""
    return next(_serial)

"""A loop over time by kernels of one step, launched again and again: for loops that are not one kernel, and for those that are
better not.

The body is a step graph like a whole one: its carries are the states, updated in place, what it reads of the loop's operands is its
data. Sequences and stacks are read and written where step t of them lies. Refuses to write kernels and to decide where memory is.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from codegen.triton.launch import Place
from codegen.triton.merge import rebuilt
from ir.graph import Graph, Node, Role, Value
from ir.ops.fused import fused

# Bytes of matrices that a kernel reads anew at each step of its loop: above, launches cost less. One processor reads about 100 GB/s of
# what lies in the cache that all share, all of them together 40 times that; a step of an LSTM by launches waits for two or three of
# them each way, 1.3 us each.
STREAMED = 320 << 10


@dataclass(eq=False)
class Loop:
    """Kernels that run `length` times, one after another.

    kept: what lives from step to step, and so through all of them. turns: places that change roles in every second step, counted
    from the last: a carry's value, and its next one.
    """

    length: int
    reverse: bool
    kept: set[Place] = field(default_factory=set)
    turns: list[tuple[Place, Place]] = field(default_factory=list)
    number: int = 0

    def shown(self) -> dict[str, Any]:
        """The loop as a kernel's schedule has it."""
        turns = [[a.name, b.name] for a, b in self.turns]
        return {
            "number": self.number,
            "length": self.length,
            "reverse": self.reverse,
            "turns": turns,
        }


def streamed(body: Graph, constants: set[Value]) -> int:
    """Bytes of the matrices that a body multiplies by and that are the same at each step."""
    found: set[Value] = set()
    todo: list[tuple[Graph, dict[Value, Value]]] = [(body, {})]
    while todo:
        graph, outer = todo.pop()
        for n in graph.nodes:
            given = [outer.get(v, v) for v in n.inputs]
            if n.op is fused:
                inner: Graph = n.attrs[0]
                todo.append((inner, dict(zip(inner.inputs, given, strict=True))))
            elif n.op.name == "contract":
                found.update(v for v in given if v in constants)
    return sum(int(v.type.nbytes) for v in found)


def step_graph(
    node: Node, read: Container[Value]
) -> tuple[Graph, list[int], list[tuple[int, int, int]]]:
    """The body of a loop as a step graph, of whose results some are `read`: carries are states; a result that is also a carry's next value is made twice.

    Then its stacks, as numbers of the loop's results, -1 for one that is none of them; and those results that it does not make,
    for they are another stack moved by a step: which, the carry whose values before each step they have, and the place among the
    stacks of that carry's next values.
    """
    body: Graph = node.attr("body")
    n: int = node.attr("carries")
    roles = [Role("state" if k < n else "data", f"{k}") for k in range(len(body.inputs))]
    wanted = [k for k in range(n, len(body.outputs)) if node.outs[k] in read]
    old = {k: body.inputs.index(v) for k in wanted if (v := body.outputs[k]) in body.inputs[:n]}
    old = {k: c for k, c in old.items() if body.outputs[c].node is not None}
    stacks = [k for k in wanted if k not in old]
    values = [body.outputs[k] for k in stacks]
    before = []
    for k, carry in old.items():
        new = body.outputs[carry]
        if new not in values:
            stacks.append(-1)
            values.append(new)
        before.append((k, carry, values.index(new)))
    outputs = [*body.outputs[:n], *values]
    graph = body.replace(roles=roles, outputs=outputs)
    taken = set(outputs[:n])
    for k in range(n, len(outputs)):
        if graph.outputs[k] in taken:
            graph = _again(graph, k)
        taken.add(graph.outputs[k])
    return graph, stacks, before


def _again(graph: Graph, k: int) -> Graph:
    """The graph with a value of its own for output k, stored by the kernel that makes it; as it is where no kernel does."""
    v = graph.outputs[k]
    node = v.node
    if node is None or node.op is not fused or type(node.attrs[0]) is not Graph:
        return graph
    body: Graph = node.attrs[0]
    inner = body.outputs[node.outs.index(v)]
    wide = body.replace(outputs=[*body.outputs, inner])
    twin = Value(v.type, None, 0, v.name)
    types = [*(x.type for x in node.outs), v.type]
    made = Node(fused, node.inputs, (wide, node.attrs[1]), types, node.at)
    outputs = [twin if i == k else x for i, x in enumerate(graph.outputs)]
    return rebuilt(
        graph.replace(outputs=outputs), list(graph.nodes), node, made, [*node.outs, twin]
    )

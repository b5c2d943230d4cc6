"""recompute: cheap forward values that the gradient reads are computed again there, not kept.

Contractions, reductions and what else is not cheap is kept; pointwise values and movement that can be
had from what is kept anyway are made again beside their readers in the gradient, where fusion takes
them in. Comes after the last cse, which would undo it. Refuses to keep more than before.
"""

from __future__ import annotations

from collections.abc import Collection

from ir.grad import SUFFIX
from ir.graph import Graph, Node, Value
from ir.passes.fold import POINTWISE
from ir.residuals import CHEAP, choose
from ir.rewrite import with_inputs

# readers that take a recomputed value in; others would have it written out again
_TAKES_IN = POINTWISE | {"reduce_sum", "reduce_max", "reduce_min", "broadcast", "reshape"}


def recompute(graph: Graph, cheap: Collection[str] = CHEAP) -> Graph:
    """`graph` with forward values made by ops named in `cheap` computed again in the gradient.

    A node belongs to the gradient when its layer path ends in ":grad".
    """
    forward = [n for n in graph.nodes if not n.at.endswith(SUFFIX)]
    made = {v for n in forward for v in n.outs}
    wanted: dict[Value, None] = {}
    kept: set[Value] = set(graph.inputs)
    kept.update(v for v in graph.outputs if v in made)
    for n in graph.nodes:
        if n.at.endswith(SUFFIX):
            for v in n.inputs:
                if v in made:
                    wanted[v] = None
                    if n.op.name not in _TAKES_IN:
                        kept.add(v)
    if not wanted:
        return graph
    kept.update(choose(wanted, forward, kept, lambda n: n.op.name in cheap))
    again = [v for v in wanted if v not in kept]
    return _Again(graph, kept).run() if again else graph


class _Again:
    """One run: the values computed again so far, and the nodes placed."""

    def __init__(self, graph: Graph, kept: set[Value]):
        self.graph, self.kept = graph, kept
        self.made: dict[Value, Value] = {}
        self.env: dict[Value, Value] = {}
        self.nodes: list[Node] = []

    def run(self) -> Graph:
        back: set[Value] = set()  # values of the gradient
        for n in self.graph.nodes:
            new = n
            if n.at.endswith(SUFFIX):
                back.update(n.outs)
                takes_in = n.op.name in _TAKES_IN
                inputs = tuple(
                    self.env.get(v, v) if v in back or not takes_in else self.value(v)
                    for v in n.inputs
                )
                new = n if inputs == n.inputs else with_inputs(n, inputs)
            elif any(v in self.env for v in n.inputs):
                new = with_inputs(n, tuple(self.env.get(v, v) for v in n.inputs))
            if new is not n:
                self.env.update(zip(n.outs, new.outs, strict=True))
            self.nodes.append(new)
        outputs = [self.env.get(v, v) for v in self.graph.outputs]
        return self.graph.replace(nodes=self.nodes, outputs=outputs)

    def value(self, v: Value) -> Value:
        """A forward value as the gradient has it: kept, or computed again (once)."""
        if v in self.kept or v.node is None:
            return self.env.get(v, v)
        todo = [v.node]
        while todo:
            n = todo[-1]
            if n.outs[0] in self.made:
                todo.pop()
                continue
            missing = [
                i.node
                for i in n.inputs
                if i.node is not None and i not in self.kept and i not in self.made
            ]
            if missing:
                todo += missing
                continue
            todo.pop()
            inputs = tuple(self.made.get(i, self.env.get(i, i)) for i in n.inputs)
            copy = Node(n.op, inputs, n.attrs, [o.type for o in n.outs], n.at + SUFFIX)
            for old, new in zip(n.outs, copy.outs, strict=True):
                new.name = old.name
            self.made.update(zip(n.outs, copy.outs, strict=True))
            self.nodes.append(copy)
        return self.made[v]

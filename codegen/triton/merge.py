"""After fusion: kernels that greedy grouping left apart, in one where that pays.

A kernel whose result one other kernel waits for joins it (random masks, labels: what is made from other sources than the
product whose epilogue reads it). Counters, totals and a step's learning rate need no launch of their own: program 0 of a
kernel that runs anyway computes them. Refuses to merge where data would have to pass between programs.
"""

from __future__ import annotations

from codegen.triton.profit import launched, pays, region_for
from codegen.triton.spelling import Unsupported
from ir.graph import Graph, Node, Value
from ir.ops.fused import fused
from ir.spaces import Mismatch


def joined(graph: Graph) -> Graph:
    """`graph` with kernels merged into the producers of what they read, where one kernel can do both."""
    refused: set[tuple[Node, Node]] = set()
    while True:
        found = _pair(graph, refused)
        if found is None:
            return graph
        graph = found


def _pair(graph: Graph, refused: set[tuple[Node, Node]]) -> Graph | None:
    nodes = list(graph.nodes)
    made = {v: k for k, n in enumerate(nodes) for v in n.outs}
    for j, node in enumerate(nodes):
        if not opened(node) or scalar(node):
            continue
        for i in sorted({made[v] for v in node.inputs if v in made}, reverse=True):
            a = nodes[i]
            if not opened(a) or scalar(a) or (a, node) in refused:
                continue
            refused.add((a, node))
            reached = set(a.outs)  # what depends on the producer, but for the reader itself
            for n in nodes[i + 1 : j]:
                if reached & set(n.inputs):
                    reached.update(n.outs)
            if (reached - set(a.outs)) & set(node.inputs):
                continue
            read = {v for n in nodes if n is not node for v in n.inputs} | set(graph.outputs)
            both, outs = merged(a, node, read)
            before = programs_of(a), programs_of(node)
            after = programs_of(both)
            if after and pays(both.attrs[0].nodes, after, max(before)):
                # at the reader's place; what reads the producer in between must come after
                late = [n for n in nodes[i + 1 : j] if _depends(n, a, nodes[i + 1 : j])]
                rest = [n for n in nodes[i + 1 : j] if n not in late]
                order = [*nodes[:i], *rest, node, *late, *nodes[j + 1 :]]
                return rebuilt(graph, order, node, both, outs)
    return None


def _depends(n: Node, a: Node, between: list[Node]) -> bool:
    reached = set(a.outs)
    for m in between:
        if reached & set(m.inputs):
            if m is n:
                return True
            reached.update(m.outs)
    return False


def opened(n: Node) -> bool:
    """Whether a node is a kernel that others may join."""
    return n.op is fused and type(n.attrs[0]) is Graph


def scalar(n: Node) -> bool:
    return all(v.type.size == 1 for v in (*n.inputs, *n.outs))


def programs_of(n: Node) -> int:
    """How many programs a kernel launches; 0 where it has no schedule."""
    body: Graph = n.attrs[0]
    try:
        return launched(region_for(body))
    except (Unsupported, Mismatch):
        return 0


def with_hosts(graph: Graph) -> Graph:
    """`graph` with its scalar kernels in others, where one runs after what they read and before their readers."""
    while True:
        found = _one(graph)
        if found is None:
            return graph
        graph = found


def _one(graph: Graph) -> Graph | None:
    """`graph` with one scalar kernel merged; None where none can be."""
    nodes: list[Node] = list(graph.nodes)
    old_of = dict(zip(graph.outputs[: graph.n_states], graph.inputs, strict=False))
    for k, node in enumerate(nodes):
        if node.op is not fused or not scalar(node):
            continue
        sources, outs = set(node.inputs), set(node.outs)
        after = max((j for j, n in enumerate(nodes) if sources & set(n.outs)), default=-1)
        before = min((j for j, n in enumerate(nodes) if outs & set(n.inputs)), default=len(nodes))
        written = {old_of[v] for v in outs if v in old_of}
        quiet = max(
            (j for j, n in enumerate(nodes) if n is not node and written & set(n.inputs)),
            default=-1,
        )
        hosts = [j for j in range(max(after, quiet) + 1, before) if j != k and opened(nodes[j])]
        if hosts:
            a = nodes[min(hosts, key=lambda j: (abs(j - k), j))]
            both, made = merged(a, node, {*a.outs, *node.outs})
            return rebuilt(graph, [n for n in nodes if n is not node], a, both, made)
    return None


def merged(a: Node, b: Node, wanted: set[Value]) -> tuple[Node, list[Value]]:
    """One fused node that does the work of two, of which b may read a; and what its results stand for:
    b's, and those of a that are wanted."""
    given: dict[Value, Value] = {}
    nodes: list[Node] = []
    outs: list[Value] = []
    inner: dict[Value, Value] = {}
    stands: list[Value] = []
    for part in (a, b):
        body: Graph = part.attrs[0]
        env: dict[Value, Value] = {}
        for v, outer in zip(body.inputs, part.inputs, strict=True):
            if outer in inner:
                env[v] = inner[outer]
            else:
                env[v] = given.setdefault(outer, Value(v.type, None, 0, v.name))
        for n in body.nodes:
            copy = Node(
                n.op, tuple(env[v] for v in n.inputs), n.attrs, [v.type for v in n.outs], n.at
            )
            for old, new in zip(n.outs, copy.outs, strict=True):
                new.name = old.name
                env[old] = new
            nodes.append(copy)
        for v, outer in zip(body.outputs, part.outs, strict=True):
            inner[outer] = env[v]
            if part is b or outer in wanted:
                outs.append(env[v])
                stands.append(outer)
    body = Graph(a.attrs[0].name, list(given.values()), nodes, outs)
    why = tuple(dict.fromkeys((*a.attrs[1], *b.attrs[1])))
    made = Node(fused, tuple(given), (body, why), [v.type for v in outs], a.at or b.at)
    for old, new in zip(stands, made.outs, strict=True):
        new.name = old.name
    return made, stands


def rebuilt(graph: Graph, order: list[Node], at: Node, made: Node, stands: list[Value]) -> Graph:
    """The graph with nodes in this order, `made` for `at`, its results for what they stand for."""
    env: dict[Value, Value] = {}
    out: list[Node] = []
    for n in order:
        base = made if n is at else n
        if any(v in env for v in base.inputs):
            copy = Node(base.op, tuple(env.get(v, v) for v in base.inputs), base.attrs,
                        [v.type for v in base.outs], base.at)  # fmt: skip
            for old, new in zip(base.outs, copy.outs, strict=True):
                new.name = old.name
            env.update(zip(base.outs, copy.outs, strict=True))
            base = copy
        if n is at:
            env.update(zip(stands, base.outs, strict=True))
        out.append(base)
    return graph.replace(nodes=out, outputs=[env.get(v, v) for v in graph.outputs])

"""order: each update of a state right after what it needs, and after the last reader of the old value.

All updates last would keep every gradient alive to the end. The rest keeps its order. Refuses to
reorder forward and backward: there the traced order is already the one that frees most.
"""

from __future__ import annotations

from ir.graph import Graph, Node, Value
from ir.passes.fold import POINTWISE

# what an update is made of, besides pointwise ops
_SMALL = POINTWISE | {"full", "broadcast", "reshape", "size", "iota"}


def order(graph: Graph) -> Graph:
    """`graph` with its nodes reordered; the same nodes. Bodies keep their order."""
    groups = _groups(graph)
    if not groups:
        return graph
    nodes = _schedule(graph, groups)
    if nodes == list(graph.nodes):
        return graph
    return graph.replace(nodes=nodes)


def _groups(graph: Graph) -> dict[Node, int]:
    """For each node that serves one update only, the number of that update; -1 for several.

    An update is what makes the next value of a state from pointwise ops; optimizer slots that feed
    the update of their weight belong to it.
    """
    n = graph.n_states
    before = set(graph.inputs)
    target: dict[Node, int] = {}
    for i, v in enumerate(graph.outputs[:n]):
        if v.node is not None and v not in before:
            target.setdefault(v.node, i)
    results = {v.node for v in graph.outputs[n:] if v.node is not None}
    users = graph.users()
    group: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        if node.op.name not in _SMALL or node in results:
            continue
        readers = [u for v in node.outs for u in users.get(v, ())]
        if any(u not in group for u in readers):
            continue
        owners = {group[u] for u in readers}
        if not owners:
            if node in target:
                group[node] = target[node]
        else:
            group[node] = owners.pop() if len(owners) == 1 else -1
    return group


def _schedule(graph: Graph, group: dict[Node, int]) -> list[Node]:
    """The order: main nodes as they stand, shared small nodes as soon as they can, and each update
    as a whole once everything it reads is there and every other reader of its old values has run."""
    members: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if node in group:
            members.setdefault(group[node], []).append(node)
    waits: dict[int, int] = {}  # by update: how many main nodes it waits for
    wakes: dict[Node, list[int]] = {}  # by main node: the updates that wait for it
    shared = members.pop(-1, [])
    for i, node in enumerate(shared):
        members[-2 - i] = [node]
    of: dict[Node, int] = {n: k for k, ns in members.items() for n in ns}
    needs = _needs(graph, members, of)
    for k, sources in needs.items():
        waits[k] = len(sources)
        for s in sources:
            wakes.setdefault(s, []).append(k)
    out: list[Node] = []
    ready = [k for k in members if not waits[k]]
    main = [n for n in graph.nodes if n not in of]
    _emit(ready, members, waits, wakes, out)
    for n in main:
        out.append(n)
        woken = _done(n, waits, wakes)
        _emit(woken, members, waits, wakes, out)
    assert len(out) == len(graph.nodes), "an update waits for itself"
    return out


def _done(n: Node, waits: dict[int, int], wakes: dict[Node, list[int]]) -> list[int]:
    woken = []
    for k in wakes.get(n, ()):
        waits[k] -= 1
        if not waits[k]:
            woken.append(k)
    return woken


def _emit(
    ready: list[int],
    members: dict[int, list[Node]],
    waits: dict[int, int],
    wakes: dict[Node, list[int]],
    out: list[Node],
) -> None:
    todo = list(reversed(ready))
    while todo:
        for n in members[todo.pop()]:
            out.append(n)
            todo += _done(n, waits, wakes)


def _needs(
    graph: Graph, members: dict[int, list[Node]], of: dict[Node, int]
) -> dict[int, set[Node]]:
    """For each update, the nodes outside it that must run first."""
    n = graph.n_states
    needs: dict[int, set[Node]] = {k: set() for k in members}
    for k, nodes in members.items():
        for node in nodes:
            for v in node.inputs:
                if v.node is not None and of.get(v.node) != k:
                    needs[k].add(v.node)
    old: dict[Value, int] = {}
    for before, after in zip(graph.inputs[:n], graph.outputs, strict=False):
        if after.node is not None and of.get(after.node, -1) >= 0:
            old[before] = of[after.node]
    for node in graph.nodes:
        if node in of:
            continue  # readers in other updates could wait for each other
        for v in node.inputs:
            if v in old:
                needs[old[v]].add(node)
    return needs

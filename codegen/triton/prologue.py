"""After fusion: what several kernels read and what is as cheap to make again as to read is made in each of them.

A product's operand that way comes from a table's rows (an embedding), a cast, a mask or a relu, and never stands in memory. Refuses
to repeat what costs arithmetic, and what would be read more often than the memory it saves is worth.
"""

from __future__ import annotations

from codegen.triton.merge import merged, opened, programs_of, rebuilt, scalar
from codegen.triton.profit import elements
from ir.graph import Graph, Node, Value
from ir.passes.fuse import CLONED

CHEAP = CLONED | {
    "absolute", "add", "cast", "eq", "gather", "ge", "gt", "le", "logical_and", "logical_not", "logical_or", "lt",
    "maximum", "minimum", "mul", "ne", "neg", "select", "sub",
}  # fmt: skip
READERS = 3  # kernels at most in which a value is made again
MORE = 1.3  # bytes read for one byte of the value, at most
SMALL = 4096  # elements of a value that is not worth the trouble


def prologues(graph: Graph) -> Graph:
    """`graph` without values whose readers make them themselves."""
    refused: set[tuple[Node, int]] = set()
    while True:
        wanted = ((n, k) for n in graph.nodes if opened(n) and not scalar(n) for k in range(len(n.outs)))  # fmt: skip
        found = next((p for p in wanted if p not in refused and _cheap(*p, graph)), None)
        if found is None:
            return graph
        made = _inside(graph, *found)
        if made is None:
            refused.add(found)
        else:
            graph = made


def _cheap(n: Node, k: int, graph: Graph) -> bool:
    """Whether a kernel's result may be made again: little arithmetic, hardly more to read than the result."""
    body: Graph = n.attrs[0]
    out = n.outs[k]
    size = int(out.type.size)
    if size < SMALL or any(m.op.name not in CHEAP for m in body.nodes):
        return False
    if out in graph.outputs or any(int(v.type.size) > size for v in n.outs):
        return False
    tables = {m.inputs[0] for m in body.nodes if m.op.name == "gather"}
    read = sum(min(_bytes(v), _bytes(out)) if v in tables else _bytes(v) for v in body.inputs)
    most = max(int(v.type.size) for v in (out, *tables))
    return read <= MORE * _bytes(out) and max(map(elements, body.nodes)) <= most


def _bytes(v: Value) -> int:
    return int(v.type.nbytes)


def _inside(graph: Graph, a: Node, k: int) -> Graph | None:
    """`graph` with the work for a result in each of its readers; None where one cannot, or would have fewer programs."""
    out = a.outs[k]
    readers = [n for n in graph.nodes if out in n.inputs]
    if not 1 < len(readers) <= READERS or not all(map(opened, readers)):
        return None
    for n in readers:
        before = programs_of(n)
        if not before or programs_of(merged(a, n, set())[0]) < before:
            return None
    for _ in readers:
        reader = next(n for n in graph.nodes if out in n.inputs)
        both, stands = merged(a, reader, set())
        graph = rebuilt(graph, list(graph.nodes), reader, both, stands)
    if len(a.outs) == 1:
        return graph.replace(nodes=[n for n in graph.nodes if n is not a])
    body: Graph = a.attrs[0]
    kept = [j for j in range(len(a.outs)) if j != k]
    rest = Graph(body.name, body.inputs, body.nodes, [body.outputs[j] for j in kept])
    made = Node(a.op, a.inputs, (rest, a.attrs[1]), [a.outs[j].type for j in kept], a.at)
    return rebuilt(graph, list(graph.nodes), a, made, [a.outs[j] for j in kept])

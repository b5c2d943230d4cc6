"""After fusion: what kernels read and what is cheaper to make again in each of them than to keep.

A product's operand that way comes from a table's rows (an embedding), a cast, a mask, a relu or a normalisation's slope, and never
stands in memory. What it costs is weighed in bytes of memory: a launch, and the arithmetic of every time that a product's tiles make
an element, are worth so many. Refuses to repeat what is more than arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codegen.triton.apart import kernel
from codegen.triton.merge import merged, opened, programs_of, rebuilt, scalar
from codegen.triton.profit import elements, flops_of
from ir.graph import Graph, Node, Value
from ir.ops.contract import letters
from ir.passes.fuse import CLONED

CHEAP = CLONED | {
    "absolute", "add", "cast", "eq", "gather", "ge", "gt", "le", "logical_and", "logical_not", "logical_or", "lt",
    "maximum", "minimum", "mul", "ne", "neg", "select", "sub",
}  # fmt: skip
READERS = 4  # kernels at most in which a value is made again
SMALL = 4096  # elements of a value that is not worth the trouble
LAUNCH = 5_600_000  # bytes that an H200 moves in the time of a launch
WORK = 16  # floating point operations in the time of a byte
STEP = 2  # operations that each of the steps of an element counts as
READ = 8  # operations that reading two numbers in place of one counts as
TILE = 64  # rows or columns of a product for which an operand's element is made once


def prologues(graph: Graph) -> Graph:
    """`graph` without values whose readers make them themselves."""
    refused: set[tuple[Node, int]] = set()
    while True:
        users, results = graph.users(), set(graph.outputs)
        wanted = (
            (n, k)
            for n in graph.nodes
            if opened(n) and not scalar(n)
            for k, v in enumerate(n.outs)
            if v not in results and (n, k) not in refused
        )
        found = next((p for p in wanted if _cheap(*p, users.get(p[0].outs[p[1]], []))), None)
        if found is None:
            return graph
        made = _inside(graph, *found)
        if made is None:
            refused.add(found)
        else:
            graph = made


def _making(n: Node, k: int) -> Node:
    """The kernel of one of a kernel's results."""
    body: Graph = n.attrs[0]
    return kernel(body, [body.outputs[k]], dict(zip(body.inputs, n.inputs, strict=True)), n)


def _readers(graph: Graph, v: Value) -> list[Node]:
    return [n for n in graph.nodes if v in n.inputs]


def _cheap(n: Node, k: int, readers: Sequence[Node]) -> bool:
    """Whether making a kernel's result in each reader costs less than having it."""
    out = n.outs[k]
    if int(out.type.size) < SMALL or not 0 < len(set(readers)) <= READERS or not all(map(opened, readers)):  # fmt: skip
        return False
    making = _making(n, k)
    body: Graph = making.attrs[0]
    if any(m.op.name not in CHEAP for m in body.nodes):
        return False
    tables = {m.inputs[0] for m in body.nodes if m.op.name == "gather"}
    if max(map(elements, body.nodes)) > max(int(v.type.size) for v in (out, *tables)):
        return False
    own = _bytes(out)
    read = {
        outer: min(_bytes(v), own) if v in tables else _bytes(v)
        for v, outer in zip(body.inputs, making.inputs, strict=True)
    }
    steps = sum(m.op.name not in CLONED and m.outs[0].type.size == out.type.size for m in body.nodes)  # fmt: skip
    reads = sum(4 * size >= own for size in read.values())
    work = STEP * steps + READ * max(0, reads - 1)
    gain = float(own)
    if len(n.outs) == 1:
        gain += LAUNCH + sum(read.values())
    for r in dict.fromkeys(readers):
        gain += own - sum(size for v, size in read.items() if v not in r.inputs)
        gain -= _makings(r, out) * work / WORK
    return gain > 0


def _bytes(v: Value) -> int:
    return int(v.type.nbytes)


def _makings(reader: Node, out: Value) -> float:
    """How many elements of a value a kernel makes, if it makes them itself where it needs them."""
    body: Graph = reader.attrs[0]
    seen = {v for v, outer in zip(body.inputs, reader.inputs, strict=True) if outer is out}
    times = 0.0
    for n in body.nodes:
        if not seen & set(n.inputs):
            continue
        if n.op.name in CLONED:
            seen.update(n.outs)
        elif n.op.name == "contract":
            times += sum(_loaded(n, k) for k, v in enumerate(n.inputs) if v in seen)
        else:
            times += max(int(v.type.size) for v in n.inputs if v in seen)
    return times


def _loaded(n: Node, k: int) -> float:
    """Elements of an operand that the tiles of a product load: each tap of a window, for each tile along the other operand."""
    left, right, result = letters(n.attr("spec"))
    own = set((left, right)[k])
    for i, o, t, *_ in n.attr("windows"):
        own |= {o, t} if i in own else {i} if o in own else set()
    sizes = dict(zip(result, n.outs[0].shape, strict=True))
    other = math.prod(int(sizes[c]) for c in result if c not in own)
    return flops_of(n) / (2 * other) * -(-other // TILE)


def _inside(graph: Graph, a: Node, k: int) -> Graph | None:
    """`graph` with the work for a result in each of its readers; None where one cannot, or would have fewer programs."""
    out = a.outs[k]
    for n in _readers(graph, out):
        before = programs_of(n)
        if not before or programs_of(_with(a, k, n)) < before:
            return None
    while readers := _readers(graph, out):
        both = _with(a, k, readers[0])
        graph = rebuilt(graph, list(graph.nodes), readers[0], both, list(readers[0].outs))
    kept = [j for j in range(len(a.outs)) if j != k]
    if not kept:
        return graph.replace(nodes=[n for n in graph.nodes if n is not a])
    body: Graph = a.attrs[0]
    stands = dict(zip(body.inputs, a.inputs, strict=True))
    rest = kernel(body, [body.outputs[j] for j in kept], stands, a)
    return rebuilt(graph, list(graph.nodes), a, rest, [a.outs[j] for j in kept])


def _with(a: Node, k: int, reader: Node) -> Node:
    """A kernel that makes a result of another where it reads it."""
    making = _making(a, k)
    given = tuple(making.outs[0] if v is a.outs[k] else v for v in reader.inputs)
    own = Node(reader.op, given, reader.attrs, [v.type for v in reader.outs], reader.at)
    return merged(making, own, set())[0]

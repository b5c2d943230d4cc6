"""`interpret`: run a graph on arrays by the NumPy meaning of its ops. The oracle of every test.

Refuses to be clever: no fusion, no memory plan. Names of dimensions are read off the operands;
composites run by their bodies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ir import dims
from ir.bind import bind
from ir.dims import Dim, DimLike
from ir.graph import Graph, Node, Value, graph_of
from ir.op import IRError, Op
from ir.types import NUMPY, Type, round_bf16, type_of

Array = np.ndarray[Any, Any]


def interpret(graph: Graph, arrays: Sequence[Any]) -> list[Array]:
    """The outputs of `graph` on `arrays`, one per input and of its type.

    Names in the input types take the extents found. Floating-point faults are quiet, as on a device.
    Raises IRError when an array does not fit its input.
    """
    if len(arrays) != len(graph.inputs):
        raise IRError(f"graph {graph.name!r} takes {len(graph.inputs)} arrays, not {len(arrays)}")
    given = [np.asarray(a) for a in arrays]
    env = _names(graph, given)
    with np.errstate(all="ignore"):
        return _run(bind(graph, **env) if env else graph, given)


def _run(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    known: dict[Value, Any] = dict(zip(graph.inputs, arrays, strict=True))
    for node, done in zip(graph.nodes, _last_reads(graph), strict=True):
        for out, array in zip(node.outs, apply(node, [known[v] for v in node.inputs]), strict=True):
            known[out] = array
        for v in done:
            del known[v]
    return [known[v] for v in graph.outputs]


def apply(node: Node, arrays: Sequence[Any]) -> list[Array]:
    """The results of one node, which has no named dimension, on operand arrays."""
    op, attrs = node.op, node.attrs
    if op.meaning is None:
        return _run(_body(op, tuple(v.type for v in node.inputs), attrs), arrays)
    result = op.meaning(tuple(arrays), *attrs) if op.arity is None else op.meaning(*arrays, *attrs)
    results = result if isinstance(result, tuple) else (result,)
    return [_exact(r, v.type) for r, v in zip(results, node.outs, strict=True)]


@lru_cache(maxsize=1024)
def _body(op: Op, types: tuple[Type, ...], attrs: tuple[Any, ...]) -> Graph:
    assert op.body is not None
    inputs = tuple(Value(t) for t in types)
    out = op.body(*op.args(inputs), *attrs)
    return graph_of(op.name, inputs, out if isinstance(out, tuple) else (out,))


def _exact(array: Any, t: Type) -> Array:
    """The array of a result: of storage dtype, and rounded where bf16 is stored as f32."""
    a = np.asarray(array)
    if t.dtype == "bf16":
        return round_bf16(a)
    if a.dtype != NUMPY[t.dtype]:
        raise IRError(f"the meaning gave {a.dtype} where the type rule says {t}")
    return a


@lru_cache(maxsize=256)
def _last_reads(graph: Graph) -> list[list[Value]]:
    """For each node, the values nobody reads after it, so that memory is let go."""
    last: dict[Value, int] = {}
    for k, node in enumerate(graph.nodes):
        for v in (*node.inputs, *node.outs):
            last[v] = k
    keep = set(graph.outputs)
    done: list[list[Value]] = [[] for _ in graph.nodes]
    for v, k in last.items():
        if v not in keep:
            done[k].append(v)
    return done


def _names(graph: Graph, arrays: Sequence[Array]) -> dict[str, int]:
    """The extents of named dimensions, and a check of every array against its input's type."""
    env: dict[str, int] = {}
    for v, a in zip(graph.inputs, arrays, strict=True):
        if NUMPY[v.dtype] != a.dtype or a.ndim != v.type.rank:
            raise IRError(
                f"graph {graph.name!r}: input {v.name!r} is {v.type}, the array {type_of(a)}"
            )
        for d, n in zip(v.shape, a.shape, strict=True):
            if isinstance(d, Dim) and str(d) in dims.names(d):  # a plain name
                env.setdefault(str(d), n)
    for v, a in zip(graph.inputs, arrays, strict=True):
        want = tuple(_bound(d, env, graph.name) for d in v.shape)
        if want != a.shape:
            raise IRError(
                f"graph {graph.name!r}: input {v.name!r} is {v.type}, the array has shape {a.shape}"
            )
    return env


def _bound(d: DimLike, env: Mapping[str, int], name: str) -> int:
    n = dims.bind(d, env)
    if not isinstance(n, int):
        raise IRError(f"graph {name!r}: no input says what {n} is; bind it first")
    return n

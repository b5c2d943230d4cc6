"""The verifier: what every graph must hold, checked after each pass in tests and on request.

Refuses to hold any repair: it names the first rule a graph breaks.
"""

from __future__ import annotations

from ir.graph import Graph, Node, Value
from ir.op import TABLE, IRError, attr_key


def verify(graph: Graph) -> None:
    """Check `graph` and every body in it. Raises IRError naming the graph, the node and the rule.

    Inputs are distinct values without a node; states come before data, each with an output of equal
    type; operands are defined before they are read; every node obeys its op's arity, attribute kinds
    and type rule; no node or value occurs twice.
    """
    _verify(graph, set())


def _verify(graph: Graph, checked: set[Graph]) -> None:
    if graph in checked:
        return
    defined: set[Value] = set()
    for v in graph.inputs:
        if v.node is not None:
            _fail(graph, f"the input {v!r} is computed by {v.node!r}")
        if v in defined:
            _fail(graph, f"the input {v!r} occurs twice")
        defined.add(v)
    seen: set[Node] = set()
    for i, n in enumerate(graph.nodes):
        where = f"node {i}, {n!r}"
        if n in seen:
            _fail(graph, f"{where}, occurs twice")
        seen.add(n)
        for v in n.inputs:
            if v not in defined:
                _fail(graph, f"{where}, reads {v!r} before it is defined")
        _verify_node(graph, n, where)
        for a in n.attrs:
            if isinstance(a, Graph):
                _verify(a, checked)
        defined.update(n.outs)
    for v in graph.outputs:
        if v not in defined:
            _fail(graph, f"the output {v!r} is not defined")
    _verify_states(graph)
    checked.add(graph)


def _verify_node(graph: Graph, n: Node, where: str) -> None:
    if TABLE.get(n.op.name) is not n.op:
        _fail(graph, f"{where}: the op is not in the table")
    if n.op.arity is not None and len(n.inputs) != n.op.arity:
        _fail(graph, f"{where}: {n.op.name} takes {n.op.arity} operands, not {len(n.inputs)}")
    if len(n.attrs) != len(n.op.attrs):
        _fail(graph, f"{where}: {len(n.attrs)} attributes, {len(n.op.attrs)} are declared")
    try:
        given = n.op.normalise(dict(zip(n.op.attr_index, n.attrs, strict=True)))
        types = n.op.result_types(tuple(v.type for v in n.inputs), n.attrs)
    except IRError as e:
        _fail(graph, f"{where}: {e}")
    if attr_key(given) != attr_key(n.attrs):
        _fail(graph, f"{where}: attributes {n.attrs} are not in normal form {given}")
    if types != tuple(v.type for v in n.outs):
        _fail(graph, f"{where}: the type rule gives {list(types)}")
    for i, v in enumerate(n.outs):
        if v.node is not n or v.index != i:
            _fail(graph, f"{where}: result {i} does not know its node")


def _verify_states(graph: Graph) -> None:
    kinds = [r.kind for r in graph.roles]
    n = graph.n_states
    if any(k != "state" for k in kinds[:n]):
        _fail(graph, "states must be the first inputs")
    if n > len(graph.outputs):
        _fail(graph, f"{n} states, but {len(graph.outputs)} outputs: each state has a next value")
    for v, after, role in zip(graph.inputs[:n], graph.outputs, graph.roles, strict=False):
        if v.type is not after.type:
            _fail(graph, f"state {role.path!r} is {v.type}, its next value {after.type}")


def _fail(graph: Graph, why: str) -> None:
    raise IRError(f"graph {graph.name!r} is not well formed: {why}")

"""layout: a contraction writes its result in the order that its one reader wants.

A transpose that is the only reader of a contraction goes into the spec. Transposes of operands are
`simplify`'s. Refuses to move transposes through anything else.
"""

from __future__ import annotations

from ir.graph import Graph, Node, Value
from ir.ops.contract import contract, letters
from ir.rewrite import map_bodies, with_inputs


def layout(graph: Graph) -> Graph:
    """`graph` with transposes of contractions folded into them. Dead nodes count as readers."""
    graph = map_bodies(graph, layout)
    users = graph.users()
    kept = set(graph.outputs)
    folded: dict[Node, Node] = {}  # contraction by the transpose that reads it alone
    for n in graph.nodes:
        source = n.inputs[0].node if n.op.name == "transpose" else None
        if source is None or source.op is not contract or n.inputs[0] in kept:
            continue
        if len(users[n.inputs[0]]) == 1:
            folded[n] = source
    if not folded:
        return graph
    gone = set(folded.values())
    env: dict[Value, Value] = {}
    nodes = []
    for n in graph.nodes:
        if n in gone:
            continue
        source = folded.get(n)
        new = n
        if source is not None:
            new = _permuted(source, tuple(env.get(v, v) for v in source.inputs), n)
        elif any(v in env for v in n.inputs):
            new = with_inputs(n, tuple([env.get(v, v) for v in n.inputs]))
        if new is not n:
            env.update(zip(n.outs, new.outs, strict=True))
        nodes.append(new)
    return graph.replace(nodes=nodes, outputs=[env.get(v, v) for v in graph.outputs])


def _permuted(source: Node, inputs: tuple[Value, ...], transposed: Node) -> Node:
    """The contraction `source` on `inputs`, with its result's letters in the order of the transpose."""
    lx, ly, lr = letters(source.attr("spec"))
    result = "".join(lr[p] for p in transposed.attr("perm"))
    given = [c for c in lr if c not in lx + ly]
    extent = dict(zip(given, source.attr("out"), strict=True))
    attrs = {a.name: v for a, v in zip(source.op.attrs, source.attrs, strict=True)}
    attrs["spec"] = f"{lx},{ly}->{result}"
    attrs["out"] = tuple(extent[c] for c in result if c in extent)
    node = contract.node(inputs, contract.normalise(attrs), source.at)
    node.outs[0].name = transposed.outs[0].name
    return node

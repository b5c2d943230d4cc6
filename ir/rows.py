"""Whether the rows of a batch go through a graph apart, so that each row of a result depends on the same row of the data alone.

Then a batch that is too short may be run as part of a longer one. Read off the labels of `ir.spaces`, where a dimension has a
name: a rule too strict costs a compile, one too lax a wrong number, so what is not known mixes rows. Refuses to change graphs.
"""

from __future__ import annotations

from ir.dims import names
from ir.graph import Graph, Node, Value
from ir.passes.decompose import decompose
from ir.spaces import labels

_RANDOM = ("random_bits", "random_uniform")


def rows_apart(graph: Graph, rows: str = "N") -> bool:
    """Whether no result of `graph` mixes what lies along the dimension `rows`, and no state changes.

    Every result then has `rows` for its first axis.
    """
    n = graph.n_states
    kept = all(a is b for a, b in zip(graph.inputs[:n], graph.outputs[:n], strict=True))
    leads = all(v.type.rank > 0 and _axis(v, rows) == 0 for v in graph.outputs[n:])
    return kept and leads and _apart(decompose(graph), rows)


def _apart(graph: Graph, rows: str) -> bool:
    return all(_node_apart(n, rows) for n in graph.nodes)


def _axis(v: Value, rows: str) -> int | None:
    """The axis of `v` along which rows lie; None where it has none, -1 where there are several."""
    found = [i for i, d in enumerate(v.type.shape) if rows in names(d)]
    return None if not found else found[0] if len(found) == 1 else -1


def _node_apart(node: Node, rows: str) -> bool:
    ins, outs = ([_axis(v, rows) for v in vs] for vs in (node.inputs, node.outs))
    if -1 in ins or -1 in outs:
        return False
    name = node.op.name
    if name == "size":
        return rows not in names(node.attrs[0])
    if all(a is None for a in (*ins, *outs)):
        return True
    if name in _RANDOM or (name == "iota" and node.attrs[1] == outs[0]):
        return False
    if name == "reshape":
        return ins[0] == outs[0] == 0
    if name == "scan":
        return _apart(node.attrs[0], rows)
    given, made, solid = labels(node)
    along = {names_[a] for names_, a in zip(given, ins, strict=True) if a is not None}
    if not along:  # of what is the same for every row
        return name in ("broadcast", "full", "iota")
    if len(along) > 1 or along & set(solid):
        return False
    (row,) = along
    return all(
        a is not None and names_[a] == row for names_, a in zip(made, outs, strict=False)
    ) and len(made) == len(outs)

"""What pays on NumPy: which nodes share a kernel, that is, one loop over blocks of rows.

Refuses to hold legality (`ir.passes.fuse`).
"""

from __future__ import annotations

from codegen.reads import largest, nbytes, through
from ir.graph import Node
from ir.passes.fuse import CLONED, Group

ALONE = frozenset({"contract", "unfold", "fold", "concat", "scatter_add", "scatter_along", "sort", "argsort",
                   "cumsum", "cumprod", "pad", "gather", "take_along", "random_bits", "random_uniform"})  # fmt: skip
SMALL = 64 * 1024  # bytes: what fits the cache anyway may be grouped freely
WHOLE = 192 * 1024  # bytes: what a reader of a product takes at once


def profit(node: Node, group: Group) -> str:
    """Why `node` should not join `group`; empty where it should."""
    if (
        node.op.name == "fold"
        and any(v in group.env for v in through(node))
        and group.nodes[-1].op.name != "contract"
    ):
        return ""
    if node.op.name in ALONE:
        return "it takes whole arrays"
    if group.nodes and any(
        n.op.name in ("concat", "pad", "scatter_add", "scatter_along") for n in group.nodes
    ):
        return "the group writes a whole array at a time"
    mine = largest(node)
    theirs = max(
        (nbytes(v) for n in group.nodes if n.op.name not in CLONED for v in n.outs), default=0
    )
    if max(mine, theirs) <= SMALL:
        return ""
    if mine * 8 < theirs or theirs * 8 < mine:
        return "it is of another size"
    for n in group.nodes:
        if n.op.name == "contract" and n.attrs[1] and not _follows(node, group):
            return "it reads nothing that the convolution makes"
        if n.op.name == "contract" and not n.attrs[1] and mine > WHOLE:
            return "a product runs at once, its reader by blocks of rows"
        if (
            n.op.name.startswith(("reduce", "arg"))
            and _lead(n)
            and node.op.name not in CLONED
            and mine > SMALL
        ):
            if any(v in group.env and group.env[v] in n.outs for v in through(node)):
                return "the sum over rows is complete only after the rows"
    return ""


def _follows(node: Node, group: Group) -> bool:
    """Whether a node reads a value made in the group."""
    made = {v for n in group.nodes for v in n.outs}
    return any(group.env.get(v) in made for v in through(node))


def _lead(n: Node) -> bool:
    """Whether a reduction sums over the leading axis."""
    axes = n.attrs[0]
    return 0 in axes if isinstance(axes, tuple) else axes == 0

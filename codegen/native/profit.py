"""What pays in C: which nodes share a loop nest, and what follows a product block by block.

Everything that walks the same axes goes together, since a value in a register is free. Sums over rows and sums within rows want opposite
loops, so they part. A matrix product that is worth cutting takes in what is computed from its result at the size of that (`blocks`); other
products stand alone. Refuses to hold legality (`ir.passes.fuse`).
"""

from __future__ import annotations

from codegen.reads import largest, nbytes, through
from ir.graph import Node
from ir.ops.contract import letters
from ir.passes.fuse import CLONED, Group

ALONE = frozenset(
    {"contract", "scatter_add", "scatter_along", "sort", "argsort", "cumsum", "cumprod"}
)
WRITERS = frozenset({"concat", "pad"})
SMALL = 64 * 1024  # bytes: what fits the cache anyway may be grouped freely
WORTH = 800_000  # operations from which a product is cut into blocks


def profit(node: Node, group: Group) -> str:
    """Why `node` should not join `group`; empty where it should."""
    products = [n for n in group.nodes if n.op.name == "contract"]
    if node.op.name in ALONE:
        return "" if any(_chained(node, p, group) for p in products) else "it takes whole arrays"
    if products:
        reasons = [_follows(node, p, group) for p in products]
        return "" if "" in reasons else reasons[0]
    if any(n.op.name in ALONE or n.op.name in WRITERS for n in group.nodes):
        return "the group makes a whole array"
    mine = _lead(node)
    if mine is not None:
        for n in group.nodes:
            theirs = _lead(n)
            if theirs is not None and theirs != mine:
                return "sums over rows and sums within rows want other loops"
    reads_sum = any(
        v in group.env and group.env[v].node is not None and _lead(group.env[v].node)
        for v in through(node)
    )
    size, theirs_size = (
        largest(node),
        max((nbytes(v) for n in group.nodes if n.op.name not in CLONED for v in n.outs), default=0),
    )
    if max(size, theirs_size) <= SMALL:
        return ""
    if size * 8 < theirs_size or theirs_size * 8 < size:
        return "it is of another size"
    if reads_sum and size > SMALL:
        return "the sum over rows is complete only after the rows"
    return ""


def _chained(node: Node, product: Node, group: Group) -> bool:
    """Whether a product in each of a batch goes on with what another such product of the group makes, or is combined with, or
    reads the same operand: all of one position of the batch then stays in the cache, as the scores of one head of attention do."""
    if node.op.name != "contract" or node.attrs[1] or product.attrs[1] or not _worth(product):
        return False
    made = product.outs[0]
    *read, batch = _batch(product)
    for v, mine in zip(node.inputs, _batch(node), strict=False):
        here = group.env.get(v, group.inputs.get(v))
        plain = here is None or (here.node is not None and here.node.op.name in CLONED)
        if batch and mine == batch and v.shape == made.shape and not plain:
            return True
        shared = (
            at for x, at in zip(product.inputs, read, strict=True) if x is group.inputs.get(v)
        )
        if mine and mine in shared:
            return True
    return False


def _batch(n: Node) -> list[list[int]]:
    """Where the axes that both operands and the result of a product have are in each of the three."""
    parts = letters(n.attrs[0])
    both = [c for c in parts[2] if c in parts[0] and c in parts[1]]
    return [sorted(part.index(c) for c in both) for part in parts]


def _worth(product: Node) -> bool:
    """Whether a product is cut into blocks."""
    flops = product.op.flops
    assert flops is not None
    count = flops(*(v.type for v in product.inputs), *product.attrs)
    return bool(count >= WORTH)


def _follows(node: Node, product: Node, group: Group) -> str:
    """Why a node should not be computed with each block of a product; empty where it should."""
    if not _worth(product):
        return "the group makes a whole array"
    if node.op.name in WRITERS or node.op.name.startswith(("random", "gather", "take")):
        return "it is not computed block by block"
    reads = [group.env[v] for v in through(node) if v in group.env]
    pooled = {v for n in group.nodes if n.op.name == "unfold" for v in n.inputs}
    if node.outs[0].dtype == "bool" and any(v in pooled for v in reads):
        return "the gradient of what is pooled reads it again"
    if node.outs[0].dtype == "bool" and any(v in group.inputs for v in node.inputs):
        return ""  # a mask of what the group reads anyway
    made = [v.node for v in reads if v.node is not None and v.node.op.name not in CLONED]
    if not made:
        return "it reads nothing that is computed with the product"
    if any(n.op.name.startswith("reduce") and _lead(n) is not False for n in made):
        return "the sum over rows is complete only after the rows"
    return ""


def _lead(n: Node | None) -> bool | None:
    """Whether a reduction sums over the leading axis and keeps another; None where `n` is none."""
    if n is None or not n.op.name.startswith(("reduce", "arg")):
        return None
    axes = n.attrs[0] if isinstance(n.attrs[0], tuple) else (n.attrs[0],)
    shape = n.inputs[0].shape
    kept = [d for k, d in enumerate(shape) if k not in axes and d != 1]
    if not kept:
        return None  # a sum of everything goes with any order
    first = next((k for k, d in enumerate(shape) if d != 1), 0)
    return first in axes

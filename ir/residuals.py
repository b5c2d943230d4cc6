"""What to keep for later: the choice between keeping a value and computing it again.

Shared by the gradient of a scan and by the recompute pass. Refuses to hold costs beyond "cheap".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ir.graph import Node, Value

# one machine instruction or less for each element, or pure movement
CHEAP = frozenset(
    (
        "add", "sub", "mul", "neg", "absolute", "sign", "maximum", "minimum", "select", "cast",
        "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "logical_not",
        "full", "iota", "size", "broadcast", "reshape", "transpose", "slice", "stop_gradient",
    )
)  # fmt: skip


def choose(
    wanted: Iterable[Value],
    nodes: Sequence[Node],
    free: Iterable[Value],
    cheap: Callable[[Node], bool] = lambda n: n.op.name in CHEAP,
) -> list[Value]:
    """The values to keep so that every value in `wanted` can be had again, in order.

    `nodes` compute them, operands first; values in `free` are at hand anyway. A result of a cheap node
    whose operands can all be had is computed again; other wanted values are kept.
    """
    wanted = list(dict.fromkeys(wanted))
    have = set(free)
    made = {v for n in nodes for v in n.outs}
    kept = [v for v in wanted if v not in made and v not in have]
    have.update(kept)
    missing = set(wanted)
    for node in nodes:
        if cheap(node) and all(v in have for v in node.inputs):
            have.update(node.outs)
            continue
        for v in node.outs:
            if v in missing and v not in have:
                kept.append(v)
                have.add(v)
    return kept

"""simplify: local algebra, each rule small and looking only at a node's operands.

Rules keep values bit for bit, but for the sign of zero (x + 0), and where a power, a sum of equal
numbers or a padded sum is spelled cheaper. Gradients are taken before: stop_gradient goes here.
Constants that a rule leaves are folded at once. Refuses to see equal nodes (`cse`) and dead ones
(`dce`).
"""

from __future__ import annotations

from collections.abc import Callable

from ir.graph import Graph, Node
from ir.passes.algebra_arithmetic import ARITHMETIC
from ir.passes.algebra_contract import CONTRACT
from ir.passes.algebra_movement import MOVEMENT
from ir.passes.algebra_scan import SCAN
from ir.passes.fold import fold_node
from ir.rewrite import Replacement, has_body, map_bodies, rewrite

RULES: dict[str, Callable[[Node], Replacement]] = {**ARITHMETIC, **MOVEMENT, **CONTRACT, **SCAN}


def simplify(graph: Graph) -> Graph:
    """`graph` with every rule applied until none applies."""
    find = RULES.get

    def rule(node: Node) -> Replacement:
        settled = fold_node(node)
        if settled is not None:
            return settled
        found = find(node.op.name)
        return None if found is None else found(node)

    while True:
        before = graph
        graph = map_bodies(rewrite(graph, rule), simplify)
        if graph is before or not any(has_body(n) for n in graph.nodes):
            return graph

"""Rebuilding graphs: `rewrite` by a local rule, `clone` under a substitution, `map_bodies`.

Owns the traversal for every pass: order, sharing of untouched nodes, names and layer paths of
replacements. Refuses to hold any rule, and never drops a node that no rule replaced (`ir.passes.dce`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from ir.graph import Graph, Node, Value, _at, reachable
from ir.op import IRError
from ir.types import Type

Replacement: TypeAlias = "Value | Sequence[Value] | None"
Rule: TypeAlias = "Callable[[Node], Replacement]"

DEPTH = 200  # replacements of replacements before a rule is said not to settle


def rewrite(graph: Graph, rule: Rule, again: bool = True) -> Graph:
    """`graph` with every node replaced for which `rule` returns values in place of its results.

    The rule sees each node with its operands already rewritten, and runs with the node's layer path
    in force. Nodes it makes stand where the old node stood, inherit its name, and go through the rule
    themselves (unless `again` is false). Returns `graph` itself when nothing changed. Bodies are not
    entered (see `map_bodies`). Raises IRError when a replacement's type differs, or never settles.
    """
    state = _Rewrite(graph, rule, again)
    _at.append("")
    try:
        for node in graph.nodes:
            state.visit(node, 0)
    finally:
        _at.pop()
    env = state.env
    if not env:
        return graph
    return graph.replace(nodes=state.nodes, outputs=[env.get(v, v) for v in graph.outputs])


class _Rewrite:
    """One run of `rewrite`: the nodes placed so far, and what old values became."""

    __slots__ = ("rule", "again", "env", "nodes", "placed", "inputs")

    def __init__(self, graph: Graph, rule: Rule, again: bool):
        self.rule, self.again = rule, again
        self.env: dict[Value, Value] = {}
        self.nodes: list[Node] = []
        self.placed: set[Node] = set()
        self.inputs = set(graph.inputs)

    def visit(self, node: Node, depth: int) -> None:
        env = self.env
        current = node
        if env:
            for v in node.inputs:
                if v in env:
                    current = with_inputs(node, tuple([env.get(v, v) for v in node.inputs]))
                    for old, new in zip(node.outs, current.outs, strict=True):
                        env[old] = new
                    break
        found: Replacement = None
        if self.again or depth == 0:
            _at[-1] = current.at
            found = self.rule(current)
        if found is None:
            self.nodes.append(current)
            self.placed.add(current)
            return
        results = (found,) if isinstance(found, Value) else tuple(found)
        if results == current.outs:
            self.nodes.append(current)
            self.placed.add(current)
            return
        if depth > DEPTH:
            raise IRError(f"rewriting {current!r} does not settle after {DEPTH} replacements")
        if len(results) != len(current.outs):
            raise IRError(f"a rule gave {len(results)} values for {current!r}")
        for old, new in zip(current.outs, results, strict=True):
            if old.type is not new.type:
                raise IRError(f"a rule replaced {current!r} by a value of type {new.type}")
        for fresh in self._unplaced(results):
            self.visit(fresh, depth + 1)
        for first, old, new in zip(node.outs, current.outs, results, strict=True):
            new = env.get(new, new)
            env[first] = env[old] = new
            if not new.name and old.name:
                new.name = old.name

    def _unplaced(self, results: Iterable[Value]) -> list[Node]:
        """The nodes behind `results` that are not in the new graph yet, in creation order."""
        placed, env = self.placed, self.env
        seen: set[Node] = set()
        todo = [
            v.node for v in results if v.node is not None and v.node not in placed and v not in env
        ]
        while todo:
            n = todo.pop()
            if n in seen:
                continue
            seen.add(n)
            for v in n.inputs:
                m = v.node
                if m is not None and m not in placed and m not in seen and v not in env:
                    todo.append(m)
        return sorted(seen, key=_serial)


def _serial(n: Node) -> int:
    return n.serial


def with_inputs(node: Node, inputs: tuple[Value, ...]) -> Node:
    """A copy of `node` on other operands: same attributes, path and names; types inferred anew where
    an operand's type differs. Raises IRError."""
    types: Sequence[Type] = [v.type for v in node.outs]
    for a, b in zip(inputs, node.inputs, strict=True):
        if a.type is not b.type:
            types = node.op.result_types(tuple(v.type for v in inputs), node.attrs)
            break
    copy = Node(node.op, inputs, node.attrs, types, node.at)
    for old, new in zip(node.outs, copy.outs, strict=True):
        new.name = old.name
    return copy


def with_attrs(node: Node, **attrs: object) -> Node:
    """A copy of `node` with some attributes replaced (given in normal form), types inferred anew."""
    values = list(node.attrs)
    for k, v in attrs.items():
        values[node.op.attr_index[k]] = v
    copy = node.op.node(node.inputs, tuple(values), node.at)
    for old, new in zip(node.outs, copy.outs, strict=False):
        new.name = old.name
    return copy


def clone(outputs: Sequence[Value], env: Mapping[Value, Value]) -> list[Value]:
    """`outputs` computed anew from what `env` puts in place of some values.

    Nodes that depend on no replaced value are shared, not copied.
    """
    known: dict[Value, Value] = dict(env)
    for node in reachable(outputs, set(env)):
        if any(v in known for v in node.inputs):
            copy = with_inputs(node, tuple([known.get(v, v) for v in node.inputs]))
            known.update(zip(node.outs, copy.outs, strict=True))
    return [known.get(v, v) for v in outputs]


def has_body(node: Node) -> bool:
    """Whether an attribute of `node` is a graph."""
    return any(isinstance(a, Graph) for a in node.attrs)


def map_bodies(graph: Graph, fn: Callable[[Graph], Graph]) -> Graph:
    """`graph` with `fn` applied to every body of its nodes (a shared body once)."""
    done: dict[Graph, Graph] = {}

    def rule(node: Node) -> Replacement:
        if not any(isinstance(a, Graph) for a in node.attrs):
            return None
        attrs = tuple(_once(done, a, fn) if isinstance(a, Graph) else a for a in node.attrs)
        if all(a is b for a, b in zip(attrs, node.attrs, strict=True)):
            return None
        copy = Node(node.op, node.inputs, attrs, [v.type for v in node.outs], node.at)
        for old, new in zip(node.outs, copy.outs, strict=True):
            new.name = old.name
        return copy.outs

    if not any(isinstance(a, Graph) for n in graph.nodes for a in n.attrs):
        return graph
    return rewrite(graph, rule, again=False)


def _once(done: dict[Graph, Graph], body: Graph, fn: Callable[[Graph], Graph]) -> Graph:
    if body not in done:
        done[body] = fn(body)
    return done[body]

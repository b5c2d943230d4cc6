"""The text form: `dump(graph)`, valid Python syntax that `ir.parse` reads back; `named`, stable names.

    def step(w: f32[784, 10] = state("dense/kernel"), x: f32[N, 784] = data("x")) -> (f32[N, 10],):
        z: f32[N, 10] = contract(x, w, spec="mk,kn->mn", at="dense")
        return z,

Positional is a value, keyword an attribute (left out at its default); bodies stand above as further
`def`s. Refuses to hold anything that only some op needs: attributes print by their declared kind.
"""

from __future__ import annotations

import keyword
import math
import re
from typing import Any

from ir import parse as _parse
from ir.graph import Graph, Node, Role, Value
from ir.op import TABLE, attr_key
from ir.types import DTYPES

parse = _parse.parse
TextError = _parse.TextError

WIDTH = 100
_WORDS = frozenset(keyword.kwlist) | set(DTYPES) | {"state", "data", "unnamed", "inf", "nan", "at"}


def dump(graph: Graph) -> str:
    """The text of `graph`, bodies first. `parse` reads it back to an equal graph."""
    return _Printer().run(graph)


def named(graph: Graph) -> Graph:
    """`graph` itself, after giving each value without a name the one it would be printed with.

    Later stages keep and inherit these names, so that a local change changes few lines of text.
    """
    for g in _bodies_first(graph):
        for v, name in _names(g, frozenset()).items():
            v.name = name
    return graph


def _bodies_first(graph: Graph) -> list[Graph]:
    """`graph` and all graphs in it, each after those it calls."""
    found: dict[Graph, None] = {}

    def visit(g: Graph) -> None:
        if g in found:
            return
        for n in g.nodes:
            for a in n.attrs:
                if isinstance(a, Graph):
                    visit(a)
        found[g] = None

    visit(graph)
    return list(found)


def _names(graph: Graph, taken: frozenset[str]) -> dict[Value, str]:
    """A distinct identifier for each value of `graph`: its own name where it can be had."""
    used = set(taken)
    found: dict[Value, str] = {}
    counts: dict[str, int] = {}
    values = [*graph.inputs, *(v for n in graph.nodes for v in n.outs)]
    for v in values:  # names that can stay as they are come first
        if v.name and v.name not in used and _usable(v.name):
            used.add(v.name)
            found[v] = v.name
    for v in values:
        if v not in found:
            stem = identifier(v.name) if v.name else (v.node.op.name if v.node else "x")
            if v.node is None and stem not in used and _usable(stem):
                name = stem
            else:
                k = counts.get(stem, 0)
                while (name := f"{stem}_{k}") in used or not _usable(name):
                    k += 1
                counts[stem] = k + 1
            used.add(name)
            found[v] = name
    return {v: found[v] for v in values}


def _usable(name: str) -> bool:
    return name.isidentifier() and name not in _WORDS and name not in TABLE


def identifier(text: str) -> str:
    """`text` with what cannot stand in an identifier replaced by an underscore."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", text) or "_"
    return f"_{plain}" if plain[0].isdigit() else plain


class _Printer:
    """One dump: the names given to graphs so far."""

    def __init__(self) -> None:
        self.graphs: dict[Graph, str] = {}

    def run(self, graph: Graph) -> str:
        graphs = _bodies_first(graph)
        used: set[str] = set()
        for g in reversed(graphs):  # the outermost graph has first choice
            stem = identifier(g.name or "graph")
            name, k = stem, 1
            while name in used or not _usable(name):
                name, k = f"{stem}_{k}", k + 1
            used.add(name)
            self.graphs[g] = name
        return "\n\n".join(self.graph(g) for g in graphs)

    def graph(self, graph: Graph) -> str:
        names = _names(graph, frozenset(self.graphs.values()))
        inputs, defaults = [], False
        for v, role in zip(graph.inputs, graph.roles, strict=True):
            default = _role(role, defaults)
            defaults = defaults or bool(default)
            inputs.append(f"{names[v]}: {v.type}{default}")
        results = [
            str(v.type) + "," * (i == len(graph.outputs) - 1) for i, v in enumerate(graph.outputs)
        ]
        head = _wrap(f"def {self.graphs[graph]}(", inputs, ") -> (")
        head = _wrap(head, results, "):")
        lines = [head, *(f"    {self.node(n, names)}" for n in graph.nodes)]
        lines.append(
            "    return "
            + (", ".join(names[v] for v in graph.outputs) + "," if graph.outputs else "()")
        )
        return "\n".join(lines) + "\n"

    def node(self, n: Node, names: dict[Value, str]) -> str:
        callee = n.op.name
        attrs = list(zip(n.op.attrs, n.attrs, strict=True))
        if callee == "fused":  # a kernel is called by its name
            body = next(a for a in n.attrs if isinstance(a, Graph))
            callee = self.graphs[body]
            attrs = [(d, a) for d, a in attrs if a is not body]
        args = [names[v] for v in n.inputs]
        for declared, a in attrs:
            if declared.default is ... or attr_key(a) != attr_key(declared.default):
                args.append(f"{declared.name}={self.attr(a, declared.kind)}")
        if n.at:
            args.append(f"at={quoted(n.at)}")
        if len(n.outs) == 1:
            target = f"{names[n.outs[0]]}: {n.outs[0].type}"
        else:
            target = ", ".join(names[v] for v in n.outs)
        return f"{target} = {callee}({', '.join(args)})"

    def attr(self, a: Any, kind: str) -> str:
        if isinstance(a, Graph):
            return self.graphs[a]
        return a if kind == "dtype" else spelled(a)


def spelled(a: Any) -> str:
    """An attribute as Python source: strings in double quotes, `inf` and `nan` by name."""
    if isinstance(a, tuple):
        inner = ", ".join(spelled(x) for x in a)
        return f"({inner},)" if len(a) == 1 else f"({inner})"
    if isinstance(a, str):
        return quoted(a)
    if isinstance(a, float) and (math.isinf(a) or math.isnan(a)):
        return "nan" if math.isnan(a) else ("inf" if a > 0 else "-inf")
    return repr(a)


def quoted(text: str) -> str:
    """`text` as a string literal in double quotes; what does not print is escaped."""
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif c.isprintable():
            out.append(c)
        else:
            code = ord(c)
            out.append(
                f"\\x{code:02x}"
                if code < 256
                else f"\\u{code:04x}"
                if code < 65536
                else f"\\U{code:08x}"
            )
    return '"' + "".join(out) + '"'


def _role(role: Role, after_default: bool) -> str:
    if role.kind:
        return f" = {role.kind}({quoted(role.path)})"
    return " = unnamed()" if after_default else ""


def _wrap(head: str, parts: list[str], tail: str) -> str:
    """`head` + parts + `tail`, broken after commas at `WIDTH` columns, under the parameters."""
    lines = head.split("\n")
    line = lines.pop()
    indent = " " * ((lines or [line])[0].index("(") + 1)
    for i, p in enumerate(parts):
        piece = p + (", " if i < len(parts) - 1 else "")
        if len(line) + len(piece.rstrip()) > WIDTH and len(line) > len(indent):
            lines.append(line.rstrip())
            line = indent
        line += piece
    return "\n".join([*lines, line + tail])

"""Names in and out of a program: on disk it has numbers for layer and state paths.

Structure alone is the key of a cached program, so two models that differ only in names share one
entry; each gets its own names back. Refuses to hold the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from codegen.program import Program
from ir.graph import Graph


def without_names(program: Program, graph: Graph) -> Program:
    """`program` with each path replaced by its number in `graph`, the step graph it came from."""
    # the first of equal paths: a state's may be a layer's too, and must come back as the state's
    number = {path: f"#{i}" for i, path in reversed(list(enumerate(_labels(graph))))}
    return _relabel(program, lambda path: number.get(path, path))


def with_names(program: Program, graph: Graph) -> Program:
    """`program` from the cache with the paths of `graph`, which has the same structure."""
    labels = _labels(graph)

    def path(number: str) -> str:
        if not number.startswith("#"):
            return number
        i = int(number[1:])
        return labels[i] if i < len(labels) else ""

    return _relabel(program, path)


def _labels(graph: Graph) -> list[str]:
    """State and data paths in order, then the layer paths of the nodes, each once."""
    return [r.path for r in graph.roles] + list(dict.fromkeys(n.at for n in graph.nodes))


def _relabel(program: Program, rename: Callable[[str], str]) -> Program:
    return replace(
        program,
        kernels=tuple(replace(k, at=tuple(map(rename, k.at))) for k in program.kernels),
        buffers=tuple(replace(b, path=rename(b.path)) if b.path else b for b in program.buffers),
    )

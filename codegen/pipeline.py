"""`generate`: an optimised step graph with static extents becomes a program for a target.

Refuses to optimise: passes run before (`kcompile.compile`); what is not fused or not decomposed yet is so here.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from codegen.program import VERSION, Program
from ir.graph import Graph
from ir.key import key
from ir.ops.fused import fused
from ir.passes.decompose import decompose
from ir.passes.fuse import fuse
from ir.pipeline import collector_paused


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function of a target: its module is imported when it is called, which a program from the cache never does."""
    found = functools.cache(lambda: getattr(importlib.import_module(module), name))
    return lambda *args: found()(*args)


def _as_it_is(graph: Graph) -> Graph:
    return graph


# what a target makes of a graph before fusion, what pays to fuse, and its printer
TARGETS: dict[str, tuple[Callable[[Graph], Graph], Callable[..., str], Callable[..., Program]]] = {
    "numpy": (
        _as_it_is,
        _later("codegen.numpy.profit", "profit"),
        _later("codegen.numpy.program", "numpy_program"),
    ),
    "native": (
        _as_it_is,
        _later("codegen.native.profit", "profit"),
        _later("codegen.native.program", "native_program"),
    ),
    "triton": (
        _later("codegen.triton.prepare", "prepare"),
        _later("codegen.triton.profit", "profit"),
        _later("codegen.triton.program", "triton_program"),
    ),
}


def generate(
    graph: Graph, target: str = "numpy", ways: Mapping[str, Mapping[str, Any]] | None = None
) -> Program:
    """The program of `graph` for `target`; ways: of kernels by name, one of their `candidates` in place of the rules' (native alone).

    The graph's inputs are (states, data), its outputs (next states, results). Raises ValueError for
    an unknown target and for extents that are not numbers.
    """
    if target not in TARGETS:
        raise ValueError(f"target {target!r} is unknown; one of {', '.join(TARGETS)}")
    for v in graph.inputs:
        if not v.type.is_static:
            raise ValueError(
                f"input {v.name!r} of {graph.name!r} is {v.type}; bind its dimensions first"
            )
    prepare, profit, program = TARGETS[target]
    with collector_paused():
        digest = hashlib.sha256(f"{key(graph)} {target} {VERSION}".encode()).hexdigest()
        if not any(n.op is fused for n in graph.nodes):
            graph = fuse(prepare(decompose(graph)), profit)
        return program(graph, digest, ways) if ways else program(graph, digest)

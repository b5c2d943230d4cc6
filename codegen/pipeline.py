"""`generate`: an optimised step graph with static extents becomes a program for a target.

Refuses to optimise: passes run before (`kcompile.compile`); what is not fused or not decomposed yet is so here.
"""

from __future__ import annotations

import gc
import hashlib

from codegen.native.profit import profit as native_profit
from codegen.native.program import native_program
from codegen.numpy.profit import profit as numpy_profit
from codegen.numpy.program import numpy_program
from codegen.program import VERSION, Program
from ir.graph import Graph
from ir.key import key
from ir.ops.fused import fused
from ir.passes.decompose import decompose
from ir.passes.fuse import fuse

TARGETS = {"numpy": (numpy_profit, numpy_program), "native": (native_profit, native_program)}


def generate(graph: Graph, target: str = "numpy") -> Program:
    """The program of `graph` for `target`.

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
    profit, program = TARGETS[target]
    enabled = gc.isenabled()
    gc.disable()
    try:
        digest = hashlib.sha256(f"{key(graph)} {target} {VERSION}".encode()).hexdigest()
        if not any(n.op is fused for n in graph.nodes):
            graph = fuse(decompose(graph), profit)
        return program(graph, digest)
    finally:
        if enabled:
            gc.enable()

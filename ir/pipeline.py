"""The order of the passes, from a traced graph to one ready for fusion.

`stages` gives every stage by name, for dumps; `optimise` the last. Refuses to hold any pass, and fusion, which
depends on a target (`codegen.pipeline`). `differentiate`, `precision` and `recompute` are for those who ask for
them: a traced step has its gradients and dtypes, and on a CPU keeping a value costs less than making it again.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from ir.graph import Graph
from ir.op import IRError
from ir.passes.cse import cse
from ir.passes.dce import dce
from ir.passes.decompose import decompose
from ir.passes.fold import fold
from ir.passes.layout import layout
from ir.passes.merge_scans import merge_scans
from ir.passes.order import order
from ir.passes.simplify import simplify
from ir.verify import verify

Pass: TypeAlias = Callable[[Graph], Graph]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("dce", dce),
    ("decompose", decompose),
    ("cse", cse),  # merges the copies of bodies that gradients made
    ("merge_scans", merge_scans),  # before bodies are simplified apart
    ("fold", fold),
    ("simplify", simplify),
    ("cse", cse),
    ("simplify", simplify),  # equal operands show new pairs
    ("dce", dce),
    ("layout", layout),
    ("cse", cse),
    ("order", order),
)


def stages(
    graph: Graph, passes: tuple[tuple[str, Pass], ...] = PASSES
) -> Iterator[tuple[str, Graph]]:
    """The graph after each pass, with the pass's name; first ("traced", graph).

    With KCOMPILE_VERIFY=1 in the environment each is verified; an IRError then names the pass.
    """
    checked = os.environ.get("KCOMPILE_VERIFY") == "1"
    yield "traced", graph
    for name, run in passes:
        graph = run(graph)
        if checked:
            try:
                verify(graph)
            except IRError as e:
                raise IRError(f"after the pass {name}: {e}") from e
        yield name, graph


def optimise(graph: Graph, passes: tuple[tuple[str, Pass], ...] = PASSES) -> Graph:
    """The graph after all passes. Raises IRError (see `stages`)."""
    with collector_paused():
        for _, after in stages(graph, passes):
            graph = after
    return graph


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: values and nodes are cycles, and a compile makes many."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

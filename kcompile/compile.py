"""The compiler's table of contents: a traced step in, an executable out.

The one file that sees every floor. Refuses to hold any of the stages.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from codegen.pipeline import generate
from codegen.program import Program
from ir.bind import bind
from ir.graph import Graph
from ir.key import key as graph_key
from ir.passes.fuse import fuse
from ir.pipeline import optimise
from kcompile.variable import Variable
from runtime import cache
from runtime.executable import Executable
from runtime.store import StateStore

log = logging.getLogger("kcompile.compile")
TARGET = "numpy"


@dataclass(frozen=True)
class Compiled:
    """A program, the executable that runs it, and how it came to be: why, and in how many seconds."""

    program: Program
    executable: Executable
    reason: str
    seconds: float
    cached: bool


def compile_graph(
    graph: Graph, variables: Sequence[Variable], bindings: Mapping[str, int], *, reason: str
) -> Compiled:
    """Compile a step graph whose states are `variables`, with its named dimensions bound.

    The program is taken from the disk cache where it is there. Raises IRError for a broken graph.
    """
    start = time.perf_counter()
    with paused_gc():
        static = bind(graph, **bindings)
        key = f"{TARGET}-{graph_key(static)}"
        shelf = cache.default()
        program = shelf.load(key) if shelf is not None else None
        cached = program is not None
        if program is None:
            program = generate(fuse(optimise(static), TARGET), TARGET)
            if shelf is not None:
                shelf.save(key, program)
    executable = Executable(program, _store(static, variables))
    seconds = time.perf_counter() - start
    log.info("compiled %s (%s) in %.0f ms", program.name, reason, seconds * 1e3)
    return Compiled(program, executable, reason, seconds, cached)


def _store(graph: Graph, variables: Sequence[Variable]) -> StateStore:
    """A store in which the variables' own arrays are the states: both sides see every update."""
    store = StateStore()
    for role, v in zip(graph.roles, variables, strict=False):
        store.adopt(role.path, v.array)
    return store


@contextmanager
def paused_gc() -> Iterator[None]:
    """No garbage collection inside: values and nodes form cycles, and a compile makes many."""
    was: Any = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

"""The compiler's table of contents: a traced step in, an executable out.

The one file that sees every floor. Refuses to hold any of the stages.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.labels import with_names, without_names
from codegen.pipeline import TARGETS, generate
from codegen.program import Program
from ir.bind import bind
from ir.graph import Graph
from ir.key import key as graph_key
from ir.pipeline import collector_paused, optimise
from kcompile.errors import KCValueError
from kcompile.variable import Variable
from runtime import cache, native
from runtime.executable import Executable
from runtime.reference import Reference
from runtime.store import StateStore

log = logging.getLogger("kcompile.compile")


def target() -> str:
    """What programs are made for: "numpy", "native" (C), or "reference" (no code, see `runtime.reference`).

    From KCOMPILE_TARGET in the environment. Raises KCValueError KC502 for another.
    """
    wanted = os.environ.get("KCOMPILE_TARGET", "numpy")
    known = tuple(t for t in (*TARGETS, "reference") if t != "triton")  # those that `fit` can run
    if wanted not in known:
        raise KCValueError(
            "KC502",
            f"KCOMPILE_TARGET={wanted!r}",
            "there is no such target",
            f"use one of {', '.join(known)}",
        )
    return wanted


@dataclass(frozen=True)
class Compiled:
    """A program, the executable that runs it, and how it came to be: why, and in how many seconds."""

    program: Program | None  # None on the reference target
    executable: Executable | Reference
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
    with collector_paused():
        static = bind(graph, **bindings)
        store = _store(static, variables)
        if target() == "reference":
            program, cached = None, False
            executable: Executable | Reference = Reference(static, store)
        else:
            program, cached, executable = _executable(static, target(), store)
    seconds = time.perf_counter() - start
    log.info("compiled %s (%s) in %.0f ms", graph.name, reason, seconds * 1e3)
    return Compiled(program, executable, reason, seconds, cached)


def _executable(static: Graph, target: str, store: StateStore) -> tuple[Program, bool, Executable]:
    """A program, whether it came from the disk, and its executable. Without C, it is made for NumPy."""
    try:
        if target == "native":
            native.compiler()
        program, cached = _program(static, target)
        return program, cached, Executable(program, store)
    except native.NativeError as e:
        _say_once(str(e))
    program, cached = _program(static, "numpy")
    return program, cached, Executable(program, store)


_without_c: list[str] = []  # why programs were made for NumPy though C was asked for


def _say_once(why: str) -> None:
    level = logging.INFO if _without_c else logging.WARNING
    log.log(level, "NumPy runs the model, not C as KCOMPILE_TARGET=native asks: %s", why)
    _without_c.append(why)


def _program(static: Graph, target: str) -> tuple[Program, bool]:
    """The program of a static graph, and whether it came from the disk."""
    key = f"{target}-{graph_key(static)}"
    shelf = cache.default()
    found = shelf.load(key) if shelf is not None else None
    if found is not None:
        return with_names(found, static), True
    program = generate(optimise(static), target)
    if shelf is not None:
        shelf.save(key, without_names(program, static))
    return program, False


def _store(graph: Graph, variables: Sequence[Variable]) -> StateStore:
    """A store in which the variables' own arrays are the states: both sides see every update."""
    store = StateStore()
    for role, v in zip(graph.roles, variables, strict=False):
        store.adopt(role.path, v.array)
    return store

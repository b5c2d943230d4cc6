"""The compiler's table of contents: a traced step in, an executable out.

The one file that sees every floor. Refuses to hold any of the stages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import kcompile.config as config
import kcompile.later as later
from codegen.labels import with_names, without_names
from codegen.pipeline import generate
from codegen.program import NoProgram, Program
from ir.bind import bind
from ir.graph import Graph
from ir.key import key as graph_key
from ir.passes.atomic import atomic
from ir.passes.precision import precision
from ir.pipeline import collector_paused, optimise
from kcompile.errors import KCMemoryError, KCNotImplementedError
from kcompile.variable import Variable
from runtime import cache, choices, native, pool
from runtime.executable import Executable
from runtime.memory import DeviceMemoryError
from runtime.reference import Reference
from runtime.store import StateStore

log = logging.getLogger("kcompile.compile")


@dataclass(frozen=True)
class Compiled:
    """A program, the executable that runs it, and how it came to be: why, and in how many seconds."""

    program: Program | None  # None on the reference target
    executable: Any  # `runtime.executable.Executable`, or what has its interface
    reason: str
    seconds: float
    cached: bool


def compile_graph(
    graph: Graph,
    variables: Sequence[Variable],
    bindings: Mapping[str, int],
    targets: Sequence[str],
    *,
    reason: str,
) -> Compiled:
    """Compile a step graph whose states are `variables`, with its named dimensions bound.

    targets: see `kcompile.run_on`; the first that can runs the step, and a message says once why another could not. The program is
    taken from the disk cache where it is there. Raises KCNotImplementedError KC502 where none can, KCMemoryError KC503, IRError for a broken graph.
    """
    start = time.perf_counter()
    with collector_paused():
        static = bind(graph, **bindings)
        program, cached, executable = _executable(static, targets, _store(static, variables))
    seconds = time.perf_counter() - start
    log.info("compiled %s (%s) in %.0f ms", graph.name, reason, seconds * 1e3)
    return Compiled(program, executable, reason, seconds, cached)


def _executable(
    static: Graph, targets: Sequence[str], store: StateStore
) -> tuple[Program | None, bool, Any]:
    """A program, whether it came from the disk, and what runs it: for the first target that can."""
    for target, instead in pairwise(targets):
        try:
            return _on(target, static, store)
        except (NoProgram, native.NativeError) as e:
            _say_once(target, instead, str(e))
    try:
        return _on(targets[-1], static, store)
    except NoProgram as e:
        raise KCNotImplementedError(
            "KC502", f"the step {static.name} on the target {targets[-1]!r}", str(e),
            "use device='auto', which takes the CPU where the GPU cannot run a model, or device='cpu'",
        ) from e  # fmt: skip


def _on(target: str, static: Graph, store: StateStore) -> tuple[Program | None, bool, Any]:
    if target == "reference":
        return None, False, Reference(static, store)
    if target == "native":
        native.compiler()  # that there is one, before anything is made for it
        return _in_c(static, store)
    if target == "triton":
        return _on_gpu(static, store)
    program, cached = _program(static, target, graph_key(static))
    return program, cached, Executable(program, store)


def _in_c(static: Graph, store: StateStore) -> tuple[Program, bool, Any]:
    """A program in C, tuned on this machine before or, where that is asked for, now."""
    asked, known = choices.asked(), graph_key(static)
    if asked is not False:
        tuned = f"native on {choices.place()} {known}"
        found = _load(tuned, static)
        if found is not None:
            return found, True, Executable(found, store)
    program, cached = _program(static, "native", known)
    if asked:
        graph, shelf = optimise(static), cache.default()
        kept = choices.Choices(None if shelf is None else shelf.directory)
        program = _tune_native(program, partial(generate, graph, "native"), store, kept)
        _save(tuned, program, static)
    return program, cached, Executable(program, store)


def _on_gpu(static: Graph, store: StateStore) -> tuple[Program, bool, Any]:
    """A program for this process's GPU, tuned there before or, in its first step, now; as by rule where that was asked for."""
    static = as_asked(static)
    known = graph_key(static)
    tuned = f"triton on {_gpu_kind()} {known}"
    by_rule = choices.asked() is False
    found = None if by_rule else _load(tuned, static)
    if found is not None:
        with device_memory():
            return found, True, _cuda_executable(found, store)
    program, cached = _program(static, "triton", known)
    program = program if by_rule else _for_gpu(program)
    with device_memory():
        exe = _cuda_executable(program, store, lambda p: _save(tuned, p, static))
    return program, cached, exe


def as_asked(graph: Graph) -> Graph:
    """A step's graph for a GPU, as precise and in the order that the user says; see `kcompile.config`."""
    graph = precision(graph, config.float32_matmul_precision())
    return graph if config.is_op_determinism_enabled() else atomic(graph)


@contextmanager
def device_memory() -> Iterator[None]:
    """Inside, a device whose memory does not suffice is the user's affair. Raises KCMemoryError KC503."""
    try:
        yield
    except DeviceMemoryError as e:
        raise KCMemoryError("KC503", e.given, e.rule, e.todo) from e


# loaded with the first program on a GPU
_cuda_executable = later.function("runtime.cuda", "CudaExecutable")
_tune_native = later.function("runtime.tune_native", "tune")  # and where kernels in C are timed
_for_gpu = later.function("runtime.cuda", "on_this_gpu")
_gpu_kind = later.function("runtime.cuda", "kind")
_SHOWN = {"triton": "the GPU", "native": "C", "numpy": "NumPy"}
_said: set[str] = set()  # the targets that could not run something though they were to


def _say_once(target: str, instead: str, why: str) -> None:
    level = logging.INFO if target in _said else logging.WARNING
    _said.add(target)
    shown = _SHOWN[instead], _SHOWN[target]
    log.log(level, "%s runs the model and not %s, several times slower: %s", *shown, why)


def _program(static: Graph, target: str, known: str) -> tuple[Program, bool]:
    """The program of a static graph, whose key is `known`, and whether it came from the disk."""
    key = f"{target}-{known}"
    found = _load(key, static)
    if found is not None:
        return found, True
    if target == "native":
        pool.begin()
    program = generate(optimise(static), target)
    _save(key, program, static)
    return program, False


def _load(key: str, static: Graph) -> Program | None:
    shelf = cache.default()
    found = shelf.load(key) if shelf is not None else None
    return None if found is None else with_names(found, static)


def _save(key: str, program: Program, static: Graph) -> None:
    shelf = cache.default()
    if shelf is not None:
        shelf.save(key, without_names(program, static))


def _store(graph: Graph, variables: Sequence[Variable]) -> StateStore:
    """A store in which the variables' own states are the states: both sides see every update."""
    store = StateStore()
    for role, v in zip(graph.roles, variables, strict=False):
        store.adopt(role.path, v.state)
    return store

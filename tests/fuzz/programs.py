"""A random step graph through passes and code generation, beside the interpreter on the graph as drawn.

Three steps each, with memory poisoned before the first: states, results, and data that must stay.
Refuses to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from codegen.pipeline import generate
from codegen.program import NoProgram, Program
from ir.graph import Graph
from ir.interpret import interpret
from ir.key import equal
from ir.ops.fused import fused
from ir.pipeline import optimise, stages
from ir.text import dump, parse
from ir.verify import verify
from runtime import native
from runtime.executable import Executable
from runtime.seat import host
from runtime.store import StateStore
from tests.codegen import standalone
from tests.codegen.test_native import SANITIZED, in_numpy
from tests.fuzz.steps import arrays

# relative to the size of the numbers; f16 is only asked not to be wild
TOLERANCE = {"float64": 1e-8, "float32": 3e-4, "float16": 0.1}


def close(
    got: np.ndarray[Any, Any], want: np.ndarray[Any, Any], what: str, least: float = 0.0
) -> None:
    """Raises AssertionError. `least`: the tolerance is that at least."""
    assert got.dtype == want.dtype and got.shape == want.shape, (
        f"{what}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    )
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    size = max(1.0, float(np.nanmax(np.abs(want), initial=0.0))) if np.isfinite(want).any() else 1.0
    tolerance = max(TOLERANCE[str(want.dtype)], least)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size, err_msg=what)


def check_native(graph: Graph, seed: int, steps: int = 3) -> None:
    """Raises AssertionError where the program in C gives another number."""
    start = arrays(graph, seed)
    # noise is made of f32, in graphs of f64 too
    least = TOLERANCE["float32"] * any(v.dtype == "u32" for v in graph.inputs)
    if any(v.dtype == "bf16" for v in graph.inputs):
        least = 0.2
    with np.errstate(all="ignore"):
        build = lambda g: generate(optimise(g), "native")
        run(graph, build, start, seed, steps, "program in C", least)


def check_memory(graph: Graph, seed: int) -> None:
    """Raises AssertionError where a step in C under sanitizers touches what it should not."""
    program = generate(optimise(graph), "native")
    if in_numpy(program):
        return
    with TemporaryDirectory() as there:
        command = [*native.compiler(), *native.FLAGS, *SANITIZED]
        standalone.run(program, arrays(graph, seed), Path(there), command)


def check_triton(graph: Graph, seed: int, steps: int = 2) -> None:
    """Raises AssertionError where Triton's kernels, in an interpreter that watches memory, give another number or touch what they
    should not. Passes where there are none."""
    from runtime.triton_program import TritonProgram
    from tests.triton.watch import watched

    start, n = arrays(graph, seed), graph.n_states
    least = TOLERANCE["float32"] * any(v.dtype == "u32" for v in graph.inputs)
    try:
        program = generate(optimise(graph), "triton")
    except NoProgram:
        return
    paths = [role.path for role in graph.roles[:n]]
    with np.errstate(all="ignore"), watched(seed):
        made = TritonProgram(program, dict(zip(paths, start, strict=False)))
        now = list(start)
        for step in range(steps):
            given = arrays(graph, seed + step)[n:]
            want = interpret(graph, [*now[:n], *given])
            got = made.run(*given)
            now = [host(made.states[p]).copy() for p in paths]
            for k, (a, b) in enumerate(zip([*now, *got], want, strict=True)):
                close(a, b, f"kernels of Triton, step {step}, output {k}", least)


def check(graph: Graph, seed: int, steps: int = 3) -> None:
    """Raises AssertionError where a pass or the program changes a number."""
    assert not any(n.op is fused for n in graph.nodes)
    verify(graph)
    assert equal(parse(dump(graph)), graph), "the text reads back otherwise"
    start = arrays(graph, seed)
    with np.errstate(all="ignore"):
        want = interpret(graph, start)
        last = graph
        for name, after in stages(graph):
            if after is last:
                continue
            last = after
            verify(after)
            for k, (a, b) in enumerate(zip(interpret(after, start), want, strict=True)):
                close(a, b, f"pass {name}, output {k}")
        run(graph, lambda g: generate(optimise(g)), start, seed, steps, "optimised program")
        run(graph, generate, start, seed, 1, "plain program")


def run(
    graph: Graph,
    build: Callable[[Graph], Program],
    start: Any,
    seed: int,
    steps: int,
    what: str,
    least: float = 0.0,
) -> None:
    n = graph.n_states
    program = build(graph)
    assert Program.from_json(program.to_json()) == program
    store = StateStore()
    for role, a in zip(graph.roles[:n], start, strict=False):
        store.put(role.path, a.copy())
    exe = Executable(program, store)
    for b, a in zip(program.buffers, exe.buffers, strict=True):
        if b.role in ("temp", "result"):
            a.fill(np.nan if a.dtype.kind == "f" else 1)
    now = list(start)
    for step in range(steps):
        given = arrays(graph, seed + step)[n:]
        expected = interpret(graph, [*now[:n], *given])
        got = exe.run(*given)
        for k in range(n):
            close(store[graph.roles[k].path], expected[k], f"{what}, step {step}, state {k}", least)
        for k, (a, b) in enumerate(zip(got, expected[n:], strict=True)):
            close(a, b, f"{what}, step {step}, result {k}", least)
        for k, (a, b) in enumerate(zip(exe.data, given, strict=True)):
            np.testing.assert_array_equal(
                a, b, err_msg=f"{what}, step {step}: data {k} was written"
            )
        now = [np.array(store[r.path]) for r in graph.roles[:n]]

"""Loops over time as one kernel: recurrent layers forward and backward in the interpreter, over awkward sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import codegen.triton.writer as writer
import ir.ops as ops
from codegen.pipeline import generate
from ir.grad import gradients
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.passes.precision import precision
from ir.pipeline import optimise
from ir.types import type_of

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_build import build
from runtime.triton_program import TritonProgram
from runtime.triton_report import Usage

SIZES = (1, 2, 3, 7, 16, 17, 31, 33, 63, 65, 127, 129)
Array = np.ndarray[Any, Any]


def lstm(n: int, t: int, f: int, u: int) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    build = lambda x, w, r, b, h, c: ops.lstm(x, w, r, b, h, c)[:2]
    return build, [(n, t, f), (f, 4 * u), (u, 4 * u), (4 * u,), (n, u), (n, u)]


def gru(n: int, t: int, f: int, u: int) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    build = lambda x, w, r, b, h: ops.gru(x, w, r, b, h, reset_after=True, reverse=True)
    return build, [(n, t, f), (f, 3 * u), (u, 3 * u), (2, 3 * u), (n, u)]


def old_gru(n: int, t: int, f: int, u: int) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    build = lambda x, w, r, b, h: ops.gru(x, w, r, b, h, reset_after=False)
    return build, [(n, t, f), (f, 3 * u), (u, 3 * u), (3 * u,), (n, u)]


def simple(n: int, t: int, f: int, u: int) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    """The state is the gate: both sides of the matrix are one axis."""

    def build(z: Value, r: Value, h: Value) -> tuple[Value, ...]:
        own = [Value(v.type.with_shape(s)) for v, s in ((h, (n, u)), (z, (n, u)), (r, (u, u)))]
        new = ops.tanh(
            ops.add(ops.add(own[1], own[0]), ops.contract(own[0], own[2], spec="nu,ug->ng"))
        )
        body = graph_of("step", own, [new, new])
        out: tuple[Value, ...] = ops.scan(h, z, r, body=body, carries=1, xs=1, length=t)
        return out

    return build, [(t, n, u), (u, u), (n, u)]


def trained(
    made: tuple[Callable[..., Any], list[tuple[int, ...]]], how: str = "ieee"
) -> tuple[Graph, list[Array]]:
    """The results and the gradients of everything, of the sum of the results' squares."""
    build, shapes = made
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("f4") / max(s[0], 1) ** 0.5 for s in shapes]
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    outs = list(build(*values))
    cts = [ops.mul(v, ops.full_like(v, 0.1)) for v in outs]
    grads = [g for g in gradients(outs, values, cts) if g is not None]
    return precision(optimise(graph_of("case", values, [*outs, *grads])), how), arrays


def check(graph: Graph, arrays: list[Array], tol: float = 2e-5) -> list[dict[str, Any]]:
    """Compare with the graph's meaning; the schedules of the loops."""
    program = generate(graph, "triton")
    found = TritonProgram(program, {}).run(*arrays)
    for a, b in zip(found, interpret(graph, arrays), strict=True):
        scale = max(1.0, float(np.abs(b.astype("f8")).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale)
    return [k.schedule for k in program.kernels if k.schedule["kind"] == "scan"]


@pytest.mark.parametrize("u", SIZES)
def test_hidden_sizes(u: int) -> None:
    """In f32: held in registers, or too large for that."""
    back_too = 2 if u < 100 else 1
    build, shapes = lstm(2, 2, 3, u)
    if back_too == 1:
        assert len(check(*forward(build, shapes))) == 1
    else:
        assert len(check(*trained((build, shapes)))) == 2


def forward(build: Callable[..., Any], shapes: list[tuple[int, ...]]) -> tuple[Graph, list[Array]]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("f4") / max(s[0], 1) ** 0.5 for s in shapes]
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    return optimise(graph_of("case", values, list(build(*values)))), arrays


@pytest.mark.parametrize("n", [1, 31, 32, 33])
def test_batch_sizes(n: int) -> None:
    loops = check(*trained(lstm(n, 2, 3, 5)))
    assert [s["grid"] for s in loops] == [n, n]


@pytest.mark.parametrize("cell", [gru, old_gru, simple])
@pytest.mark.parametrize("u", [1, 3, 17])
def test_cells(cell: Any, u: int) -> None:
    assert len(check(*trained(cell(3, 3, 2, u)))) == 2


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize(("how", "tol"), [("tf32", 2e-5), ("bf16", 3e-2)])
def test_products_of_matrix_units(n: int, how: str, tol: float) -> None:
    """tf32 asks for `tl.dot`, blocks of at least 16 rows; the interpreter multiplies exactly what was rounded before."""
    graph, arrays = trained(lstm(n, 2, 3, 18), how)
    loops = check(graph, arrays, tol)
    assert [s["rows"] for s in loops] == [16 if n > 1 else 1] * 2


def test_rows_of_a_large_batch_are_blocks() -> None:
    assert check(*forward(*simple(600, 2, 1, 3)))[0]["rows"] == 4


def test_a_large_layer_has_wider_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "STREAMED", 1 << 30)
    graph, _ = forward(*simple(1, 2, 1, 1024))
    (loop,) = [k for k in generate(graph, "triton").kernels if k.schedule["kind"] == "scan"]
    assert not loop.schedule["resident"]
    kernels = generate(forward(*simple(1, 2, 1, 2048))[0], "triton").kernels
    assert not [
        k for k in kernels if k.schedule["kind"] == "scan"
    ]  # 256 products of tiles in a step


def test_what_does_not_fit_is_read_at_each_step_without_a_spill() -> None:
    """An LSTM of 128 units: tiles at addresses that no compiler keeps, each before the product that comes before it."""
    p = generate(trained(lstm(32, 2, 3, 128), "tf32")[0], "triton")
    loops = [k for k in p.kernels if k.schedule["kind"] == "scan"]
    assert [k.schedule["resident"] for k in loops] == [False] * 2
    for k in loops:
        text = "\n".join(p.source.splitlines()[k.lines[0] - 1 : k.lines[1]])
        steps = [
            line.split()[2].split("(")[0]
            for line in text.splitlines()
            if "here +" in line or "tl.dot" in line
        ]
        assert steps[:3] == ["tl.load", "tl.load", "tl.dot"] and steps.count("tl.dot") == 16
    found = build(p, "sm_90", [k.name for k in loops])
    assert [(u.stack, u.matrix) for u in found.values() if isinstance(u, Usage)] == [(0, "mma")] * 2

"""Kernels as machine code: what is compiled ahead of time is what runs, from the disk, without an import of triton; on a stand-in for the driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Value, graph_of
from ir.types import Type
from tests.triton.steps import mlp, train_graph

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.device import Interpreted
from runtime.driver import Driver
from runtime.seat import host
from runtime.triton_program import TritonProgram
from tests.triton.standin import Machine, library

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small() -> Program:
    """One kernel with parameters of several types."""
    types = [("x", "f32"), ("m", "bool"), ("n", "u32"), ("h", "f16")]
    x, m, n, h = (Value(Type(t, (16,)), name=name) for name, t in types)
    out = ops.select(m, x, ops.add(ops.cast(n, dtype="f32"), ops.cast(h, dtype="f32")))
    return generate(graph_of("case", [x, m, n, h], [out, ops.gt(out, x)]), "triton")


def given() -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    x, m, n, h = rng.random(16), rng.random(16) > 0.5, rng.integers(0, 9, 16), rng.random(16)
    return [x.astype("f4"), m, n.astype("u4"), h.astype("f2")]


def test_steps_through_the_driver_are_the_interpreters(shelf: Path) -> None:
    """Whole train steps, each launch as a driver gets it: with the stream, the threads, the addresses and two of no scratch memory."""
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 6, 6), np.float32), rng.integers(0, 10, 5).astype("i4")
    machine = Machine()
    both = [TritonProgram(p, states, d) for d in (machine, Interpreted())]
    for made in both:
        made.fill([x, y])
        for _ in range(3):
            made.step()
    for e in machine.broken:
        raise e
    assert machine.launches == 3 * [(k.name, k.schedule["grid"]) for k in p.kernels]
    for path, t in both[1].states.items():
        np.testing.assert_array_equal(host(both[0].states[path]), host(t), err_msg=path)
    assert len(list(shelf.glob("*.gpu"))) == len(p.kernels)
    assert Driver(0, library()) and machine.cuda.stand_depth() == 0

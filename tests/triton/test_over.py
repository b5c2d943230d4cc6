"""A step over other tensors than the program's own: what a captured stretch of steps is made of, and how many launches that takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import codegen.triton.writer as writer
import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Graph, Role, Value, graph_of
from ir.interpret import interpret
from ir.types import type_of
from tests.triton.steps import mlp, train_graph
from tests.triton.test_loops import case
from tests.triton.test_runtime import stored
from tests.triton.test_scan import simple, trained

pytest.importorskip("triton")
pytest.importorskip("torch")

import torch

from runtime.cuda import CudaExecutable
from runtime.device import Interpreted
from runtime.resident import Resident
from runtime.seat import host
from runtime.triton_program import TritonProgram
from runtime.tune import tune

Array = np.ndarray[Any, Any]


def plain() -> tuple[Graph, list[Array]]:
    """Results that are data, each other, part of what another result is made of, and truth values."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 5)).astype("f4"), rng.integers(0, 9, 3).astype("i4")]
    x, y = (Value(type_of(a), name=n) for a, n in zip(arrays, "xy", strict=True))
    z = ops.contract(x, x, spec="nk,mk->nm")
    row = ops.reduce_sum(z, axes=(1,))
    return graph_of("case", [x, y], [z, y, row, z, ops.lt(row, ops.full_like(row, 1.0))]), arrays


def stacked() -> tuple[Graph, list[Array]]:
    """A loop that reads rows of data and writes rows of results, and results that change places in it."""

    def body(a: Value, b: Value, x: Value, w: Value) -> tuple[Value, ...]:
        new = ops.tanh(ops.add(ops.contract(a, w, spec="nk,km->nm"), x))
        return b, new, a, ops.add(new, x)

    return case(body, 2, 1, (3, 5), (3, 5), (4, 3, 5), (5, 5))


CASES = {"plain": plain, "stacked": stacked, "simple": lambda: trained(simple(2, 3, 1, 5))}


@pytest.mark.parametrize("name", CASES)
def test_other_tensors_take_the_place_of_data_and_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program's own data stay what they were; what was tuned counts."""
    monkeypatch.setattr(writer, "STREAMED", -1)
    graph, arrays = CASES[name]()
    made = TritonProgram(generate(graph, "triton"), {})
    made.fill(arrays)
    tune(made, Interpreted(), lambda work: 1.0)
    for way in (2, 0.5):
        given = [(a * way).astype(a.dtype) for a in arrays]
        data = [torch.from_numpy(a.copy()) for a in given]
        results = [torch.full_like(r, 1) for r in made.results]
        made.over(data, results)()
        for found, expected in zip(results, interpret(graph, given), strict=True):
            np.testing.assert_allclose(host(found), expected, rtol=2e-5, atol=2e-5)
        for own, a in zip(made.data, arrays, strict=True):
            np.testing.assert_array_equal(host(own), a)


def test_a_stretch_of_steps_takes_a_launch_for_its_batches_and_one_to_count_them() -> None:
    graph, states = train_graph(mlp(6, 20), 2)
    program = generate(graph, "triton")
    device = Interpreted()
    exe = CudaExecutable(program, stored(states), device=device)
    drive = exe.drive([np.zeros((36, 6, 6), "f4"), np.zeros(36, "i4")])
    assert isinstance(drive, Resident)
    assert drive._sizes == (18, 2, 1)
    for steps in drive._sizes:
        asked: list[Any] = []
        device.run = asked.append  # type: ignore[method-assign]
        drive._stretch(steps, False)
        assert len(asked) == steps * len(program.kernels) + 2


def test_the_batches_of_a_stretch_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their bytes, and by those of the results, each batch in whole pieces of 64 bytes."""
    nothing = lambda: None
    device = Interpreted()
    sample, batch = device.empty((90, 10), "f32"), device.empty((3, 10), "f32")
    wide = device.empty((3, 100), "f32")
    for bound, results, most in (
        (128 * 7, [], 7), (128 * 7, [wide], 1), (1216 * 5, [wide], 5), (1, [], 1), (1 << 20, [], 30),
    ):  # fmt: skip
        monkeypatch.setattr("runtime.resident.STRETCH", bound)
        over = lambda data, results: nothing
        made = Resident(device, [sample], [batch], nothing, over, nothing, 64, results)
        assert made._sizes[0] == most


def test_results_are_kept_or_those_of_the_last_step() -> None:
    """Of a step that hands out its data and what it makes of them, in stretches of 4 and 1."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((18, 3)).astype("f4"), rng.integers(0, 9, 18).astype("i4")
    values = [Value(type_of(a[:2]), None, 0, n) for a, n in ((x, "x"), (y, "y"))]
    graph = graph_of("case", values, [ops.exp(values[0]), values[1]])
    graph = Graph(graph.name, graph.inputs, graph.nodes, graph.outputs, [Role("data", n) for n in "xy"])  # fmt: skip
    exe = CudaExecutable(generate(graph, "triton"), stored({}), device=Interpreted())
    drive = exe.drive([x, y])
    exe.device.capture = lambda work: work  # type: ignore[method-assign]
    drive._sizes = (4, 1)  # type: ignore[union-attr]
    kept = [np.zeros_like(x), np.zeros_like(y)]
    for into in ((), kept, ()):
        drive.begin(None, into)
        drive.run(0, 6)
        if not into:
            np.testing.assert_allclose(exe.results[0], np.exp(x[10:12]), rtol=1e-6)
            np.testing.assert_array_equal(exe.results[1], y[10:12])
        drive.run(6, 9)
    np.testing.assert_allclose(kept[0], np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal(kept[1], y)

"""What the watching interpreter finds, kernel by kernel. Every kernel of these tests is watched by `pytest tests/triton --watch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

import numpy as np
import torch

import ir.ops as ops
from codegen.pipeline import generate
from ir.graph import Value
from runtime.device import Interpreted
from runtime.executable import defined
from runtime.seat import host
from runtime.triton_program import TritonProgram
from tests.triton.steps import cnn, lstm, mlp, train_graph
from tests.triton.test_loops import case, check
from tests.triton.watch import watched

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
FAULTS = {
    "outside": ("x, y", ["i = tl.arange(0, 16)", "tl.store(y + i, tl.load(x + i + 1))"], "touches bytes 4 to 68 of x"),
    "before": ("x, y", ["i = tl.arange(0, 16)", "tl.store(y + i - 1, tl.load(x + i))"], "touches bytes -4 to 60 of y"),
    "two programs": ("x, y", ["tl.store(y, tl.load(x + tl.program_id(0)))"], "writes what another program writes"),
    "two values": ("x, y", ["i = tl.arange(0, 16)", "tl.store(y + i // 2, tl.load(x + i))"], "writes two values to one place"),
    "no barrier": ("x, y", ["v = tl.load(x)", "tl.store(x, v + 1, mask=tl.program_id(0) == 0)"], "writes what it read without a barrier"),
    "read back": ("x, y", ["p = tl.program_id(0)", "tl.store(y + p, p * 1.0)", "tl.debug_barrier()", "tl.store(x + p, tl.load(y + p))"],
                  "reads what the same program wrote"),
    "twice": ("x, y", ["p = tl.program_id(0)", "tl.store(y + p, p * 1.0)", "tl.store(y + p, p * 2.0)"], "writes twice without a barrier"),
    "neighbour": ("x, y", ["p = tl.program_id(0)", "v = tl.load(x + 1 - p)", "tl.debug_barrier()", "tl.store(x + p, v + 1)"],
                  "leaves other bits in x"),
    "no other": ("x, y", ["i = tl.arange(0, 16) + 16 * tl.program_id(0)", "tl.store(y + i, tl.load(x + i, mask=i < 5), mask=i < 16)"],
                 "leaves other bits in y"),
    "atomic": ("x, y", ["p = tl.program_id(0)", "tl.store(y + p, 1.0)", "tl.atomic_add(y, 1.0)"], "adds to what is read or written"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def interpreted() -> None:
    Interpreted()  # which is to be had without a GPU alone


def launched(params: str, lines: list[str], *tensors: Any) -> Callable[[], None]:
    text = f"{HEAD}def kernel({params}):\n" + "".join(f"    {line}\n" for line in lines)
    return lambda: defined(text, text)["kernel"][(2,)](*tensors)


@pytest.mark.parametrize("name", FAULTS)
def test_a_kernel_that_is_wrong_on_a_device_alone_is_found(name: str) -> None:
    params, lines, what = FAULTS[name]
    memory = torch.arange(64, dtype=torch.float32)
    launch = launched(params, lines, memory[16:32], memory[32:48])
    launch()
    with watched(), pytest.raises(Exception, match=what):
        launch()


def test_what_is_right_leaves_what_one_run_leaves() -> None:
    lines = [
        "i = tl.arange(0, 8) + 8 * tl.program_id(0)",
        "v = tl.load(x + i, mask=i < 13, other=2)",
        "tl.debug_barrier()",
        "tl.store(x + i, v * v, mask=i < 13)",
        "tl.atomic_add(y + i // 8, v)",
    ]
    memory = torch.arange(64, dtype=torch.float32), torch.arange(64, dtype=torch.float32)
    launched("x, y", lines, memory[0][16:32], memory[0][32:48])()
    with watched():
        launched("x, y", lines, memory[1][16:32], memory[1][32:48])()
    assert torch.equal(*memory)


STEPS = {
    "dense": (lambda: mlp(6, 20), 33),
    "convolutions": (lambda: cnn(9, (3, 5)), 3),
    "a loop over time and a lookup": (lambda: lstm(40, 5, 8, 8), 9),
}


@pytest.mark.parametrize("name", STEPS)
def test_whole_steps_do_nothing_that_has_no_meaning_on_a_device(name: str) -> None:
    model, rows = STEPS[name]
    graph, states = train_graph(model(), rows)
    program = generate(graph, "triton")
    rng = np.random.default_rng(0)
    data = [
        rng.integers(0, 10, b.shape) if b.dtype == "i32" else rng.random(b.shape)
        for b in program.buffers
        if b.role == "data"
    ]
    plain = TritonProgram(program, states)
    expected = plain.run(*data)
    with watched() as watch:
        made = TritonProgram(program, states)
        found = made.run(*data)
    assert watch.launches == plain.count
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for path, t in made.states.items():
        np.testing.assert_array_equal(host(t), host(plain.states[path]), err_msg=path)


def test_what_all_rows_of_a_loop_share_is_written_by_one_program() -> None:
    def body(h: Value, c: Value, x: Value) -> tuple[Value, ...]:
        return ops.add(h, x), ops.tanh(c), c

    with watched():
        check(*case(body, 2, 1, (3,), (2,), (4, 3)))

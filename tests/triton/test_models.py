"""The models of `tests/models` trained by Triton's kernels in the interpreter: the losses and the weights of the NumPy target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from codegen.pipeline import generate
from ir.bind import bind
from ir.pipeline import optimise
from kcompile.step import StepFunction
from runtime.executable import Executable
from runtime.store import StateStore
from tests.models.programs import CASES
from tests.triton.plan import faults

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram, host

# launches of a step at batch 4, sgd: what fusion is worth. A greater number is a step back.
LAUNCHES = {
    "mlp": 4, "binary_mlp": 2, "cnn": 14, "cnn_onehot": 10, "lstm": 7, "masked_gru": 14, "seq2seq": 10,
    "two_by_two": 10, "resnet": 21, "transformer": 29, "custom": 4, "depthwise": 15, "conv1d": 10,
}  # fmt: skip


def both(name: str, rows: int) -> tuple[TritonProgram, Executable, StateStore, list[Any]]:
    """A model's train step for both targets, from equal states, and data for it."""
    case = CASES[name]
    kcompile.utils.set_random_seed(0)
    model = case.build(kcompile)
    # Adam makes steps of rounding where gradients are 0
    model.compile(optimizer=kcompile.optimizers.SGD(case.lr), loss=case.loss)
    model.optimizer.build(model.trainable_variables)
    x, y = case.data(np.random.default_rng(1), rows)
    traced = StepFunction(model, "train").trace(x, y, None)
    graph = optimise(bind(traced.graph, N=rows))
    pairs = zip(traced.graph.roles, traced.variables, strict=False)
    states = {r.path: np.array(v.array) for r, v in pairs}
    store = StateStore()
    for path, value in states.items():
        store.adopt(path, value.copy())
    data = [*(x if isinstance(x, list) else [x]), *(y if isinstance(y, list) else [y])]
    ours = TritonProgram(generate(graph, "triton"), states)
    return ours, Executable(generate(graph, "numpy"), store), store, data


def test_a_step_in_halves() -> None:
    """Kernels that are cut apart follow each other: what one's part makes, the next one's reads."""
    before = kcompile.mixed_precision.dtype_policy()
    kcompile.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        ours, theirs, store, data = both("cnn", 1)
    finally:
        kcompile.mixed_precision.set_dtype_policy(before)
    ours.run(*data)
    theirs.run(*data)
    for path in ours.states:
        a, b = host(ours.states[path]), store[path]
        np.testing.assert_allclose(a, b, rtol=4e-3, atol=4e-3, err_msg=path)


@pytest.mark.parametrize("name", CASES)
def test_three_steps(name: str) -> None:
    ours, theirs, store, data = both(name, 4)
    assert len(ours.program.kernels) <= LAUNCHES[name]
    assert faults(ours.program) == []
    for step in range(3):
        ours.run(*data)
        for to, value in zip(theirs.data, data, strict=True):
            np.copyto(to, value)
        theirs.step()
        for path in ours.states:
            a, b = host(ours.states[path]), store[path]
            message = f"{path} after step {step}"
            np.testing.assert_allclose(a, b, rtol=5e-5, atol=5e-5, err_msg=message)

"""Whole train steps as C against the same steps as NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
import runtime.native as native
from kcompile.step import StepFunction
from tests.models.programs import CASES

MODELS = ("mlp", "binary_mlp", "cnn", "lstm", "masked_gru", "resnet", "transformer", "depthwise")


def _leaves(v: Any) -> list[Any]:
    return [x for part in v for x in _leaves(part)] if isinstance(v, (list, tuple)) else [v]


@pytest.mark.parametrize("name", MODELS)
def test_a_train_step_equals_the_numpy_target(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    native.compiler()  # where there is none, its error says so
    case = CASES[name]
    x, y = case.data(np.random.default_rng(1), 6)
    made = []
    for target in ("numpy", "native"):
        monkeypatch.setenv("KCOMPILE_TARGET", target)
        model = case.build(keras)
        model.compile(keras.optimizers.Adam(0.01), case.loss)
        model.optimizer.build(model.trainable_variables)
        exe = StepFunction(model, "train").executable(x, y)
        assert exe.program.target == target
        exe.fill(_leaves([x, y]))
        made.append(exe)
    plain, fast = made
    for a, b in zip(plain.states, fast.states, strict=True):
        b[...] = a
    for _ in range(2):
        start = [a.copy() for a in plain.states]
        plain.step()
        after = [a.copy() for a in plain.states]
        for a, b in zip(plain.states, start, strict=True):  # some states (random ones) are shared
            a[...] = b
        fast.step()
        for a, b in zip(after, fast.states, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4)
        for a, b, c in zip(plain.states, fast.states, after, strict=True):
            a[...], b[...] = c, c

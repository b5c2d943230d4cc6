"""Whether rows of a batch mix: every model predicts a row alone as it does among others where `rows_apart` says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
from ir.rows import rows_apart
from kcompile.fit.runner import step_function
from kcompile.step import StepFunction
from tests.models.programs import CASES

ops = keras.ops
L = keras.layers


@pytest.mark.parametrize("name", CASES)
def test_models_keep_rows_apart_in_prediction_and_mix_them_in_a_loss(name: str) -> None:
    case = CASES[name]
    model = case.build(keras)
    x, y = case.data(np.random.default_rng(1), 6)
    assert rows_apart(StepFunction(model, "predict").trace(x).graph)
    model.compile("sgd", case.loss)
    model.optimizer.build(model.trainable_variables)
    assert not rows_apart(StepFunction(model, "train").trace(x, y).graph)
    assert not rows_apart(StepFunction(model, "test").trace(x, y).graph)


MIXING = {
    "a mean over the batch": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "a sum over all": lambda x: x / ops.sum(x),
    "the size": lambda x: x * ops.cast(ops.shape(x)[0], "float32"),
    "rows sorted": lambda x: ops.sort(x, axis=0),
    "rows flipped": lambda x: ops.flip(x, axis=0),
    "rows shifted": lambda x: ops.concatenate([x[1:], x[:1]], axis=0),
    "a running sum": lambda x: ops.cumsum(x, axis=0),
    "rows by rows": lambda x: ops.matmul(ops.matmul(x, ops.transpose(x)), x),
    "the index of a row": lambda x: x + ops.expand_dims(
        ops.cumsum(ops.ones_like(x[:, 0]), axis=0), 1
    ),
    "the first row": lambda x: x + x[:1],
    "rows as columns": lambda x: ops.reshape(ops.transpose(x), (-1, 4)),
    "twice as many": lambda x: ops.concatenate([x, x], axis=0),
}  # fmt: skip
APART = {
    "a softmax": lambda x: ops.softmax(x),
    "along the row": lambda x: ops.cumsum(ops.sort(x, axis=1), axis=1)[:, ::-1],
    "reshaped and back": lambda x: ops.reshape(ops.exp(ops.reshape(x, (-1, 2))), (-1, 4)),
    "a product": lambda x: ops.matmul(x, ops.ones((4, 3))),
    "of constants": lambda x: ops.ones_like(x),
    "the largest": lambda x: ops.take(ops.arange(4), ops.argmax(x, axis=-1)),
}


@pytest.mark.parametrize("what", [*MIXING, *APART])
def test_single_operations(what: str) -> None:
    """Where rows are said to be apart, a short last batch is the rows of a whole one."""
    call = {**MIXING, **APART}[what]

    class Calling(keras.Model):
        def call(self, x: Any) -> Any:
            return call(x)

    model = Calling()
    x = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
    traced = StepFunction(model, "predict").trace(x)
    apart = traced.named and rows_apart(traced.graph)
    assert apart == (what in APART)
    whole = np.concatenate([np.asarray(call(x[:5])), np.asarray(call(x[5:]))])
    np.testing.assert_allclose(model.predict(x, batch_size=5, verbose=0), whole, rtol=1e-5)
    assert len(step_function(model, "predict").log) == (1 if apart else 2)

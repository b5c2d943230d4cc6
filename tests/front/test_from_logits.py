"""Probabilities that come straight from softmax or sigmoid: the loss is taken from their logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.ops as ops
from ir.interpret import interpret
from ir.types import Type
from kcompile.trace import Trace

X = np.linspace(-3, 3, 12, dtype="float32").reshape(3, 4)
LABELS = np.array([0, 3, 1], "int32")
HOT = np.eye(4, dtype="float32")[LABELS]


def traced(activation: Any, loss: Any, target: Any) -> tuple[set[str], Any]:
    with Trace() as t:
        x = t.data("x", Type("f32", (3, 4)))
        y = loss(target, activation(x))
        graph, variables = t.finish("loss", [y])
    found = interpret(graph, [v.array for v in variables] + [X])[-1]
    return {n.op.name for n in graph.nodes}, found


CASES = [
    (ops.softmax, ops.sparse_categorical_crossentropy, LABELS, "sparse_cross_entropy"),
    (ops.softmax, ops.categorical_crossentropy, HOT, "cross_entropy"),
    (ops.sigmoid, ops.binary_crossentropy, HOT, "binary_cross_entropy"),
]


@pytest.mark.parametrize(("activation", "loss", "target", "name"), CASES)
def test_taken_from_logits(activation: Any, loss: Any, target: Any, name: str) -> None:
    used, found = traced(activation, loss, target)
    assert name in used and "log" not in used
    np.testing.assert_allclose(found, loss(target, np.asarray(activation(X))), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found, loss(target, X, from_logits=True), rtol=1e-6)


@pytest.mark.parametrize(("activation", "loss", "target", "name"), CASES)
def test_seen_through_casts(activation: Any, loss: Any, target: Any, name: str) -> None:
    def half(x: Any) -> Any:
        return ops.cast(activation(ops.cast(x, "float16")), "float32")

    assert name in traced(half, loss, target)[0]


def test_another_axis_is_left_alone() -> None:
    used, _ = traced(lambda x: ops.softmax(x, axis=0), ops.sparse_categorical_crossentropy, LABELS)
    assert "sparse_cross_entropy" not in used and "log" in used

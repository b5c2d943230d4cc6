"""Composites and sigmoids far out: f32 results and gradients stay finite and right where formulas overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.types import Type, type_of

FAR = np.array([-1e30, -1e4, -200.0, -50.0, 0.0, 50.0, 200.0, 1e4, 1e30], np.float32)


def value_and_gradient(f: Callable[..., Value], *arrays: np.ndarray) -> list[np.ndarray]:
    inputs = [Value(type_of(a)) for a in arrays]
    out = f(*inputs)
    (g,) = gradients([out], inputs[:1])
    assert g is not None
    return interpret(graph_of("g", inputs, [out, g]), arrays)


@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (ops.sigmoid, lambda x: x > 0, lambda x: 0 * x),
        (ops.tanh, np.sign, lambda x: 0 * x),
        (ops.softplus, lambda x: np.maximum(x, 0), lambda x: x > 0),
        (ops.elu, lambda x: np.where(x > 0, x, -1), lambda x: x > 0),
        (ops.silu, lambda x: np.maximum(x, 0), lambda x: x > 0),
        (ops.gelu, lambda x: np.maximum(x, 0), lambda x: x > 0),
        (ops.softsign, lambda x: x / (1 + abs(x)), lambda x: (1 / (1 + abs(x))) ** 2),
        (ops.erf, np.sign, lambda x: 0 * x),
    ],
)
def test_far_from_zero(f: Any, value: Any, slope: Any) -> None:
    far = FAR[abs(FAR) >= 50]
    out, g = value_and_gradient(f, far)
    np.testing.assert_allclose(out, value(far), rtol=1e-6, atol=1e-18)
    np.testing.assert_allclose(g, slope(far).astype(np.float32), rtol=1e-6, atol=1e-18)


def test_softmax_of_great_numbers() -> None:
    x = np.array([[1e4, 1e4 - 1, -1e4], [-np.inf, 0.0, 0.0]], np.float32)
    for f in (ops.softmax, ops.log_softmax):
        out, g = value_and_gradient(lambda v, f=f: f(v, axis=1), x)
        assert not np.isnan(out).any() and not np.isnan(g[:1]).any()
    np.testing.assert_allclose(value_and_gradient(lambda v: ops.softmax(v, axis=1), x)[0].sum(1), 1)


def test_logsumexp_of_nothing_possible() -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 3.0], [1e4, -1e4]], np.float32)
    out = value_and_gradient(lambda v: ops.logsumexp(v, axes=(1,)), x)[0]
    np.testing.assert_array_equal(out, np.array([-np.inf, 3.0, 1e4], np.float32))


def test_cross_entropies_of_great_logits() -> None:
    logits = np.array([[1e4, -1e4, 0], [-200, 200, 0]], np.float32)
    labels = np.array([0, 0], np.int32)
    loss, g = value_and_gradient(ops.sparse_cross_entropy, logits, labels)
    np.testing.assert_allclose(loss, [0, 400])
    np.testing.assert_allclose(g, [[0, 0, 0], [-1, 1, 0]], atol=1e-7)
    target = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    loss, g = value_and_gradient(ops.cross_entropy, logits, target)
    np.testing.assert_allclose(loss, [0, 400])
    np.testing.assert_allclose(g, [[0, 0, 0], [-1, 1, 0]], atol=1e-7)
    loss, g = value_and_gradient(ops.binary_cross_entropy, FAR[1:-1], np.ones(7, np.float32))
    np.testing.assert_allclose(loss, [1e4, 200, 50, np.log(2), 0, 0, 0], rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(g, [-1, -1, -1, -0.5, 0, 0, 0], atol=1e-20)


def test_a_row_without_any_allowed_position_attends_evenly() -> None:
    q, k, v = (
        np.random.default_rng(0).normal(size=(1, 1, 3, 2)).astype(np.float32) for _ in range(3)
    )
    mask = np.ones((1, 1, 3, 3), bool)
    mask[0, 0, 1] = False
    out, g = value_and_gradient(lambda *a: ops.attention(*a, scale=1.0), q, k, v, mask)
    np.testing.assert_allclose(out[0, 0, 1], v[0, 0].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(g[0, 0, 1], 0)


def test_variance_of_far_off_data() -> None:
    x = (1e4 + np.random.default_rng(0).normal(size=(1000, 1))).astype(np.float32)
    inputs = Value(Type("f32", (1000, 1)))
    mean, var = interpret(graph_of("m", [inputs], ops.moments(inputs, axes=(0,))), [x])
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var(0), rtol=1e-3)

"""The largest of sums with a product in them: a compiler that rounds them once in one place and twice in another loses the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras

L = keras.layers
X = np.random.default_rng(1).standard_normal((3, 7, 4, 4)).astype("float32")
Y = np.random.default_rng(2).standard_normal((3, 2)).astype("float32")


class Scaled(L.Layer):
    """Two ways to end in a sum of a product: x * a + b, and exp(x) - a * b."""

    def __init__(self, way: int):
        super().__init__()
        self.way = way

    def build(self, shape: Any) -> None:
        self.a = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="a")
        self.b = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="b")

    def call(self, x: Any) -> Any:
        k = keras.ops
        return x * self.a + self.b if self.way else k.exp(x) - k.tanh(x) * self.a


CASES = {
    "group": lambda: [L.GroupNormalization(7, axis=1), L.GlobalMaxPooling2D()],
    "layer": lambda: [L.LayerNormalization(), L.GlobalMaxPooling2D()],
    "batch": lambda: [L.BatchNormalization(), L.MaxPooling2D(2), L.Flatten()],
    "windows": lambda: [L.GroupNormalization(7, axis=1), L.MaxPooling2D(3, 2, "same"), L.Flatten()],
    "scaled": lambda: [Scaled(1), L.GlobalMaxPooling2D()],
    "functions": lambda: [Scaled(0), L.GlobalMaxPooling2D()],
    "a channel": lambda: [Scaled(1), L.Lambda(lambda x: keras.ops.max(x, -1)), L.Flatten()],
}  # fmt: skip


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_its_meaning(name: str, target: str) -> None:
    found = []
    for backend in ("reference", target):
        keras.utils.set_random_seed(3)
        first, last = L.Dense(5, activation="silu"), L.Dense(2)
        model = keras.Sequential([keras.Input(X.shape[1:]), first, *CASES[name](), last])
        model.compile("sgd", "mse", backend=backend)
        model.train_on_batch(X, Y)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

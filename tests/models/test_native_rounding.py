"""Deep networks as C beside NumPy: the same gradients from the same weights, step after step, but for rounding.

With ReLU that would not hold in f32: of a million numbers one or two a step lie nearer to 0 than the rounding of the sums before them, and
C, which adds in another order, may find them on its other side. The gradient then has a term more or less (.5 % of
a layer's, if it is a late one), and Adam, which divides by the size of gradients, makes as much of it in small weights as in large ones. In f64, and
with an activation that has no corner, as here, nothing of the kind is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile as keras

L = keras.layers


def residual(backend: str, optimizer: Any) -> Any:
    def conv(x: Any, width: int, stride: int = 1, size: int = 3) -> Any:
        x = L.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(x)
        return L.BatchNormalization()(x)

    inputs = keras.Input((16, 16, 3))
    x = L.Activation("silu")(conv(inputs, 16))
    for width, stride in ((16, 1), (32, 2)):
        short = conv(x, width, stride, 1) if stride == 2 else x
        h = conv(L.Activation("silu")(conv(x, width, stride)), width)
        x = L.Activation("silu")(L.Add()([h, short]))
    y = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, y)
    model.compile(optimizer, "sparse_categorical_crossentropy", backend=backend)
    return model


def test_gradients_differ_by_rounding_alone() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    x, y = rng.random((8, 16, 16, 3), dtype=np.float32), rng.integers(0, 10, 8).astype("i4")
    guide = residual("numpy", keras.optimizers.Adam(0.001))
    both = [residual(b, keras.optimizers.SGD(1.0)) for b in ("native", "numpy")]
    for _ in range(3):
        now = guide.get_weights()
        moved = []
        for model in both:
            model.set_weights(now)
            model.train_on_batch(x, y)
            moved.append([a - b for a, b in zip(model.get_weights(), now, strict=True)])
        for v, a, b in zip(guide.weights, *moved, strict=True):
            assert np.linalg.norm(a - b) <= 3e-4 * np.linalg.norm(b), v.path
        guide.train_on_batch(x, y)

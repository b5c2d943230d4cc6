"""What is repeated and then convolved or pooled: a convolution whose gradient comes from a mean over positions, or that reads one row everywhere;
and what is made of one position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras

L = keras.layers
X = np.random.default_rng(1).standard_normal((4, 5, 6, 3)).astype("float32")
Y = np.random.default_rng(2).standard_normal((4, 2)).astype("float32")


def mean_of(convolution: Any) -> Any:
    """Its input has a gradient too, which is where windows end at the edge."""
    return [L.Dense(4), convolution, L.GlobalAveragePooling2D(), L.Dense(2)]


def rows(convolution: Any) -> Any:
    return [
        L.GlobalAveragePooling2D(),
        L.Dense(4),
        L.RepeatVector(7),
        convolution,
        L.Flatten(),
        L.Dense(2),
    ]


def one(*layers: Any) -> Any:
    """From one position, as generators begin."""
    start = [L.GlobalAveragePooling2D(), L.Dense(8), L.Reshape((1, 1, 8))]
    return [*start, *layers, L.GlobalMaxPooling2D(), L.Dense(2)]


CASES = {
    "same": lambda: mean_of(L.Conv2D(3, 3, padding="same")),
    "dilated": lambda: mean_of(L.Conv2D(3, 3, padding="same", dilation_rate=2)),
    "strided": lambda: mean_of(L.Conv2D(3, 3, padding="same", strides=2)),
    "valid": lambda: mean_of(L.Conv2D(3, 2)),
    "depthwise": lambda: mean_of(L.DepthwiseConv2D(3, padding="same")),
    "pooled": lambda: mean_of(L.AveragePooling2D(3, strides=2, padding="same")),
    "transposed": lambda: mean_of(L.Conv2DTranspose(3, 3, strides=2, padding="same")),
    "rows": lambda: rows(L.Conv1D(3, 3, padding="same")),
    "largest of rows": lambda: rows(L.MaxPooling1D(2)),
    "one position": lambda: one(L.Conv2DTranspose(3, 2, strides=3, padding="same")),
    "one column": lambda: one(L.Reshape((2, 1, 4)), L.Conv2DTranspose(3, (2, 3), strides=(1, 2))),
    "causal rows": lambda: rows(L.Conv1D(3, 2, padding="causal", strides=2)),
}  # fmt: skip


RUNS = [
    *((name, "numpy") for name in CASES),
    *((name, "native") for name in ("same", "rows")),
    *((name, "triton") for name in ("same", "depthwise", "rows", "one position", "one column")),
]


@pytest.mark.parametrize(("name", "target"), RUNS)
def test_a_step_is_its_meaning(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if target == "triton":
        pytest.importorskip("triton")
        monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")
    found = []
    for backend in ("reference", target):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input(X.shape[1:]), *CASES[name]()])
        model.compile("sgd", "mse", backend=backend)
        model.train_on_batch(X, Y)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

"""Train steps from different sides: one traced for any batch size, the reference target, finite differences.

The programs are those of `programs`, and random chains of smooth layers in float64. Refuses to know Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kcompile
from ir.bind import bind
from ir.key import key
from ir.pipeline import optimise
from kcompile.step import KINDS, StepFunction
from tests.models.programs import CASES

Array = np.ndarray[Any, Any]
L = kcompile.layers


def compiled(name: str, optimizer: str = "Adam") -> tuple[Any, Any, Any]:
    """A model with an optimizer, and data for it."""
    case = CASES[name]
    kcompile.utils.set_random_seed(0)
    model = case.build(kcompile)
    model.compile(optimizer=getattr(kcompile.optimizers, optimizer)(0.01), loss=case.loss)
    model.optimizer.build(model.trainable_variables)
    x, y = case.data(np.random.default_rng(1), 6)
    return model, x, y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_step_for_any_size_is_that_of_this_size(name: str, kind: str) -> None:
    model, x, y = compiled(name)
    batch = (x, None, None) if kind == "predict" else (x, y, None)
    named = StepFunction(model, kind).trace(*batch)
    assert named.named
    static = StepFunction(model, kind)._trace(batch, 6, 0.0)
    assert key(optimise(bind(named.graph, N=6))) == key(optimise(static.graph))


@pytest.mark.parametrize("name", CASES)
def test_the_reference_trains_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for target in ("numpy", "reference"):
        monkeypatch.setenv("KCOMPILE_TARGET", target)
        model, x, y = compiled(name, "SGD")  # Adam makes steps of rounding where gradients are 0
        losses = [model.train_on_batch(x, y) for _ in range(3)]
        found.append([np.asarray(losses), *model.get_weights()])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


SMOOTH: list[Any] = [
    lambda: L.Dense(3, activation="tanh"),
    lambda: L.Conv1D(4, 3, padding="same", activation="gelu"),
    lambda: L.LayerNormalization(),
    lambda: L.BatchNormalization(),
    lambda: L.LSTM(3, return_sequences=True),
    lambda: L.Bidirectional(L.GRU(2, return_sequences=True)),
    lambda: L.SeparableConv1D(3, 2, activation="softplus"),
    lambda: L.AveragePooling1D(2, padding="same"),
    lambda: L.EinsumDense("abc,cd->abd", output_shape=(None, 4), activation="silu"),
    lambda: L.GroupNormalization(groups=1),
    lambda: L.Dense(4, activation="softmax", kernel_regularizer="l2"),
]


def chain(seed: int) -> tuple[Any, Array, Array]:
    """A model of four random layers around attention, with data."""
    rng = np.random.default_rng(seed)
    x = tokens = L.Input((6,), dtype="int32")
    x = L.Embedding(7, 4)(x)
    for i in rng.choice(len(SMOOTH), 4, replace=False):
        x = SMOOTH[i]()(x)
    x = L.MultiHeadAttention(2, 2)(x, x, use_causal_mask=True)
    model = kcompile.Model(tokens, L.Dense(3)(L.GlobalAveragePooling1D()(x)))
    loss = kcompile.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=kcompile.optimizers.SGD(1.0), loss=loss)
    return model, rng.integers(0, 7, (5, 6)).astype("int32"), rng.integers(0, 3, 5).astype("int32")


@pytest.fixture
def double() -> Iterator[None]:
    kcompile.config.set_floatx("float64")
    kcompile.config.set_dtype_policy("float64")  # the policy in use stays when floatx changes
    yield
    kcompile.config.set_floatx("float32")
    kcompile.config.set_dtype_policy("float32")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("double")
def test_gradients_are_finite_differences(seed: int) -> None:
    model, x, y = chain(seed)
    rng = np.random.default_rng(seed)
    start = [w + rng.normal(0, 0.2, w.shape) for w in model.get_weights()]
    assert all(w.dtype == np.float64 for w in model.get_weights())

    def train(weights: list[Array]) -> tuple[float, list[Array]]:
        """The loss in training mode before a step of rate 1, and the weights after it."""
        model.set_weights(weights)
        model.reset_metrics()
        return float(model.train_on_batch(x, y)), model.get_weights()

    _, after = train(start)
    trained = {id(v) for v in model.trainable_variables}
    checked = 0
    for i, v in enumerate(model.weights):
        if id(v) not in trained:
            continue
        way = rng.standard_normal(start[i].shape)
        there, back = (
            train([w + e * way if j == i else w for j, w in enumerate(start)])[0]
            for e in (1e-5, -1e-5)
        )
        found = float(np.sum((start[i] - after[i]) * way))
        assert found == pytest.approx((there - back) / 2e-5, rel=1e-5, abs=1e-8), v.path
        checked += 1
    assert checked >= 11

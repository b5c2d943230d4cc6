"""What does not fit is refused with a clear error before anything changes, and the model stays usable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.layers as layers
from kcompile.errors import KCError
from kcompile.gradient_tape import GradientTape
from kcompile.input_layer import Input
from kcompile.sequential import Sequential

X = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
Y = np.arange(20, dtype="int32") % 3


def model(loss: Any = "sparse_categorical_crossentropy") -> Any:
    m = Sequential([Input((4,)), layers.Dense(3, activation="softmax", name="head")])
    m.compile("adam", loss)
    return m


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "label too large": ({"y": np.where(np.arange(20) == 7, 3, Y)}, "sample 7"),
    "label negative": ({"y": Y - 1}, "between 0 and 2"),
    "label not a number": ({"y": np.where(np.arange(20) == 4, np.nan, Y)}, "NaN"),
    "inputs of another width": ({"x": X[:, :3]}, "head|axis|shape"),
    "inputs of another rank": ({"x": X[:, :, None, None]}, "shape|rank|axes|dim"),
    "texts": ({"x": np.array([["a"] * 4] * 20)}, "numbers"),
    "lengths": ({"y": Y[:19]}, "x: 20, y: 19"),
    "no data": ({"x": X[:0], "y": Y[:0]}, "empty"),
    "batch of none": ({"batch_size": 0}, "batch_size=0"),
    "no targets": ({"y": None}, "target|label"),
    "epochs": ({"epochs": -1}, "epochs"),
    "validation label": ({"validation_data": (X, Y + 1)}, "between 0 and 2"),
    "validation width": ({"validation_data": (X[:, :2], Y), "epochs": 1}, "."),
    "steps": ({"steps_per_epoch": 0}, "steps"),
    "validation_freq": ({"validation_freq": "often"}, "validation_freq"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_before_anything_changes(name: str) -> None:
    kwargs, match = BAD[name]
    m = model()
    before = m.get_weights()
    with pytest.raises((KCError, ValueError, TypeError), match=match):
        m.fit(**{"x": X, "y": Y, "verbose": 0, **kwargs})
    for a, b in zip(before, m.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(m.fit(X, Y, verbose=0).history["loss"]) == 1


def test_batches_are_checked_one_by_one() -> None:
    m = model()
    before = m.get_weights()
    with pytest.raises(KCError, match="between 0 and 2"):
        m.fit(iter([(X, Y + 1)]), verbose=0)
    with pytest.raises(KCError, match="between 0 and 2"):
        m.train_on_batch(X, Y + 1)
    np.testing.assert_array_equal(before[0], m.get_weights()[0])


def test_indices_of_an_embedding() -> None:
    m = Sequential(
        [
            Input((3,), dtype="int32"),
            layers.Embedding(5, 2, name="words"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    m.compile("sgd", "mse")
    x = np.array([[0, 1, 5]])
    for call in (
        lambda: m.fit(x, np.zeros((1, 1)), verbose=0),
        lambda: m.predict(x, verbose=0),
        lambda: m.predict_on_batch(x),
    ):
        with pytest.raises(KCError, match=r"words.*input_dim=5"):
            call()
    assert m.predict(x % 5, verbose=0).shape == (1, 1)


def test_not_compiled() -> None:
    m = Sequential([Input((4,)), layers.Dense(3)])
    for call in (m.fit, m.evaluate, m.train_on_batch, m.test_on_batch):
        with pytest.raises(KCError, match="compile"):
            call(X, Y)
    assert m.predict(X, verbose=0).shape == (20, 3)


def test_labels_of_the_users_own_loss_are_his() -> None:
    def masked(y_true: Any, y_pred: Any) -> Any:
        return (y_pred * 0).sum(axis=-1) if hasattr(y_pred, "sum") else y_pred[..., 0] * 0

    m = model(masked)
    m.fit(X, np.full((20, 3), np.nan, "float32"), verbose=0)


def test_an_unbuilt_model_is_built_from_the_first_batch() -> None:
    m = Sequential([layers.Dense(3, activation="softmax")])
    m.compile("adam", "sparse_categorical_crossentropy")
    assert len(m.fit(X, Y, epochs=2, verbose=0).epoch) == 2
    assert m.weights[0].shape == (4, 3)


def test_a_loop_of_ones_own_is_refused_rather_than_ignored() -> None:
    mine = type("Mine", (Sequential,), {"make_train_function": lambda self: None})
    m = mine([Input((4,)), layers.Dense(3, activation="softmax")])
    m.compile("adam", "sparse_categorical_crossentropy")
    before = m.get_weights()
    with pytest.raises(NotImplementedError, match=r"Mine\.make_train_function"):
        m.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], m.get_weights()[0])
    assert m.predict(X, verbose=0).shape == (20, 3)


def test_a_step_of_ones_own_gives_a_dict() -> None:
    mine = type("Mine", (Sequential,), {"train_step": lambda self, data: self.loss_tracker})
    m = mine([Input((4,)), layers.Dense(3, activation="softmax")])
    m.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"Mine\.train_step, which returned <Mean"):
        m.fit(X, Y, verbose=0)


def test_gradients_belong_into_a_step() -> None:
    m = model("mse")
    with pytest.raises(TypeError, match="train_step"), GradientTape():
        m(X)
    with pytest.raises(TypeError, match=r"zero_grad\(\) outside a step"):
        m.zero_grad()

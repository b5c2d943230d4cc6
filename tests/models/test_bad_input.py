"""What a user gets wrong: a clear error before anything changes, and a model that still works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile as keras
from kcompile import layers

X = np.random.default_rng(0).random((20, 6), dtype=np.float32)
Y = np.arange(20, dtype="int32") % 3


def _model() -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, activation="relu", name="hidden"),
            layers.Dense(3, name="scores"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def _with_nan() -> np.ndarray[Any, Any]:
    y = np.ones((20, 3), np.float32)
    y[7, 1] = np.nan
    return y


def _regression(y: np.ndarray[Any, Any]) -> Callable[[Any], Any]:
    def use(model: Any) -> Any:
        model.compile("sgd", "mse")
        return model.fit(X, y, verbose=0)

    return use


# what is done with the model, and words the message has
BAD: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "wrong width": (lambda m: m.fit(X[:, :5], Y, verbose=0), ("5", "6")),
    "wrong rank": (lambda m: m.fit(X[:, :, None, None], Y, verbose=0), ("6, 1, 1",)),
    "too few labels": (lambda m: m.fit(X, Y[:19], verbose=0), ("20", "19")),
    "label out of range": (lambda m: m.fit(X, np.where(Y == 1, 7, Y), verbose=0), ("7", "3")),
    "negative label": (lambda m: m.fit(X, Y - 1, verbose=0), ("-1",)),
    "NaN label": (_regression(_with_nan()), ("NaN",)),
    "strings": (lambda m: m.fit(np.array([["a"] * 6] * 20), Y, verbose=0), ("dtype",)),
    "objects": (lambda m: m.fit(np.array([[{}] * 6] * 20), Y, verbose=0), ("dtype",)),
    "no data": (lambda m: m.fit(X[:0], Y[:0], verbose=0), ()),
    "batch_size 0": (lambda m: m.fit(X, Y, batch_size=0, verbose=0), ("batch_size",)),
    "negative epochs": (lambda m: m.fit(X, Y, epochs=-1, verbose=0), ("epochs",)),
    "no labels": (lambda m: m.fit(X, verbose=0), ()),
    "sample weights of another length": (
        lambda m: m.fit(X, Y, sample_weight=np.ones(3, np.float32), verbose=0), ("3", "20"),
    ),
    "unknown optimizer": (lambda m: m.compile("addam", "mse"), ("addam", "adam")),
    "unknown loss": (lambda m: m.compile("adam", "mean_square_error"), ("mean_square_error", "mean_squared_error")),
    "unknown activation": (lambda m: layers.Dense(3, activation="rellu"), ("rellu", "relu")),
    "unknown initializer": (lambda m: layers.Dense(3, kernel_initializer="glorot"), ("glorot",)),
    "negative units": (lambda m: layers.Dense(-3), ("units", "-3")),
    "add with an argument": (lambda m: m.add(layers.Dense(2), activation="relu"), ("activation",)),
    "unknown argument": (lambda m: layers.Dense(2, activatoin="relu"), ("activatoin",)),
    "wrong weights": (lambda m: m.set_weights([np.zeros((2, 2))]), ("4", "1")),
    "unknown layer": (lambda m: m.get_layer("nope"), ("nope", "hidden")),
    "predict of another width": (lambda m: m.predict(X[:, :2], verbose=0), ("2", "6")),
    "evaluate with out of range labels": (lambda m: m.evaluate(X, Y + 1, verbose=0), ("3",)),
    "validation_split 1": (lambda m: m.fit(X, Y, validation_split=1.0, verbose=0), ("validation_split",)),
    "missing file": (lambda m: m.load_weights("/nowhere/w.weights.h5"), ("nowhere",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_refused_before_anything_changes(name: str) -> None:
    use, words = BAD[name]
    model = _model()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        use(model)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert not isinstance(caught.value, (IndexError, KeyError, AttributeError))
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    _usable(model)


def _usable(model: Any) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_fit_before_compile() -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    with pytest.raises((ValueError, RuntimeError), match="compile"):
        model.fit(X, Y, verbose=0)


def test_an_embedding_index_out_of_range_names_the_rule() -> None:
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(5, 2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x = np.array([[0, 1, 2, 9]], "int32")
    with pytest.raises((ValueError, IndexError), match=r"index 9 for .embedding"):
        model.fit(x, np.zeros((1, 1), np.float32), verbose=0)
    model.fit(x % 5, np.zeros((1, 1), np.float32), verbose=0)


def test_an_error_in_a_layer_names_the_layer_and_the_line_of_the_user() -> None:
    with pytest.raises(ValueError) as caught:
        keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 9, name="too_big")])
    assert "too_big" in str(caught.value)

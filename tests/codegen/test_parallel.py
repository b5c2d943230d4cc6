"""Sections: the same numbers with one thread and with two, and programs that have them."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile as keras
from kcompile.fit.runner import step_function
from runtime import threads


def dense():
    return [
        keras.Input((784,)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(4, activation="softmax"),
    ]


def convolution():
    return [
        keras.Input((24, 24, 3)),
        keras.layers.Conv2D(16, 3, activation="relu", padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, activation="softmax"),
    ]


def words():
    return [
        keras.Input((40,), dtype="int32"),
        keras.layers.Embedding(5000, 32),
        keras.layers.LSTM(32),
        keras.layers.Dense(4, activation="softmax"),
    ]


def train(monkeypatch, layers, run):
    monkeypatch.setattr(threads, "count", lambda: 2)
    monkeypatch.setattr(threads, "Both", lambda first, second: lambda: run(first, second))
    monkeypatch.setenv("KCOMPILE_CACHE", "off")
    keras.utils.set_random_seed(3)
    model = keras.Sequential(layers())
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    shape = (128, *model.input_shape[1:])
    words = model.input.dtype == "int32"
    x = rng.integers(0, 5000, shape) if words else rng.normal(size=shape).astype("float32")
    y = rng.integers(0, 4, 128)
    losses = model.fit(x, y, epochs=2, batch_size=32, shuffle=False, verbose=0).history["loss"]
    source = step_function(model, "train").log[-1].program.source
    return losses, model.get_weights(), source


@pytest.mark.parametrize("layers", [dense, convolution, words])
def test_two_threads_compute_the_same_bits(monkeypatch, layers):
    both, ran = threads.both, []

    def at_once(first, second):
        ran.append(1)
        both(first, second)

    one, weights, source = train(monkeypatch, layers, threads.in_turn)
    two, others, _ = train(monkeypatch, layers, at_once)
    assert source.count("def second") * 8 == len(ran) > 0
    assert one == two
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layers", [dense, convolution, words])
def test_the_second_part_first(monkeypatch, layers):
    """Parts do not read what the other one writes."""
    one, weights, _ = train(monkeypatch, layers, threads.in_turn)
    two, others, _ = train(monkeypatch, layers, lambda first, second: (second(), first()))
    assert one == two
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_small_stays_in_one_thread(monkeypatch):
    def small():
        return [keras.Input((20,)), keras.layers.Dense(4, activation="softmax")]

    source = train(monkeypatch, small, threads.in_turn)[2]
    assert "def second" not in source

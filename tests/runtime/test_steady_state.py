"""The steady state of training: nothing kept, and no more taken than what ufuncs buffer."""

from __future__ import annotations

import gc
import os
import tracemalloc

import numpy as np
import pytest

import kcompile as keras
from kcompile.fit.runner import step_function

L = keras.layers
BUFFERED = 300_000  # bytes: NumPy's ufuncs buffer 8192 elements an operand where they cast or align


def mlp():
    return keras.Sequential(
        [keras.Input((28, 28)), L.Flatten(), L.Dense(128, activation="relu"), L.Dropout(0.2), L.Dense(10, activation="softmax")]
    )  # fmt: skip


def cnn():
    return keras.Sequential(
        [keras.Input((28, 28)), L.Reshape((28, 28, 1)), L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D(2),
         L.Conv2D(32, 3, activation="relu"), L.Flatten(), L.Dense(10, activation="softmax")]
    )  # fmt: skip


def lstm():
    return keras.Sequential([keras.Input((28, 28)), L.LSTM(32), L.Dense(10, activation="softmax")])


def words():
    """Indices from means of the image: many repeat, so that the gradient of the table is sorted and summed in runs."""
    return keras.Sequential(
        [keras.Input((28, 28)), L.GlobalAveragePooling1D(), L.Rescaling(2000.0), L.Embedding(2000, 16), L.LSTM(16),
         L.Dense(10, activation="softmax")]
    )  # fmt: skip


def transformer():
    x = keras.Input((28, 28))
    y = L.LayerNormalization()(x)
    y = L.MultiHeadAttention(2, 16, dropout=0.1)(y, y)
    y = L.Add()([x, L.Dropout(0.1)(y)])
    y = L.Add()([y, L.Dense(28)(L.Dense(64, activation="gelu")(L.LayerNormalization()(y)))])
    y = L.Dense(10, activation="softmax")(L.GlobalAveragePooling1D()(y))
    return keras.Model(x, y)


def trained(make, rows=256, batch=64):
    rng = np.random.default_rng(0)
    x, y = rng.random((rows, 28, 28), np.float32), rng.integers(0, 10, rows).astype(np.int32)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0)
    return model, x, y


@pytest.mark.parametrize("make", [mlp, cnn, lstm, words, transformer])
def test_a_step_allocates_no_more_than_ufuncs_buffer(make):
    model, _, _ = trained(make)
    exe = step_function(model, "train").log[0].executable
    for _ in range(3):
        exe.step()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        exe.step()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < BUFFERED
    assert after - before < 20_000  # Python's free lists fill once


def test_an_epoch_keeps_nothing():
    model, x, y = trained(mlp, rows=64)
    tracemalloc.start()
    # reading a metric runs a small graph, and the interpreter remembers the last 256 of them
    model.fit(x, y, batch_size=64, epochs=150, verbose=0)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    model.fit(x, y, batch_size=64, epochs=25, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert peak - before < BUFFERED
    assert after - before < 30_000


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
def test_memory_stays_flat_over_10_000_steps():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    rng = np.random.default_rng(0)
    x, y = rng.random((640, 20), np.float32), rng.integers(0, 2, (640, 1)).astype(np.float32)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            L.Dense(16, activation="relu"),
            L.Dropout(0.1),
            L.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=25, verbose=0)
    before = resident()
    model.fit(x, y, epochs=500, verbose=0)  # 20 steps each
    assert resident() - before < 2_000_000

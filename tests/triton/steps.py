"""The step graphs that several tests share: a classifier of dense layers and a small convolutional one."""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile as keras
from ir.bind import bind
from ir.graph import Graph
from ir.pipeline import optimise
from kcompile.step import StepFunction


def mlp(side: int = 28, units: int = 128) -> Any:
    """Flatten, dense relu, dropout, dense softmax; adam."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((side, side)),
            layers.Flatten(),
            layers.Dense(units, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def cnn(side: int = 28, filters: tuple[int, ...] = (32, 64, 64)) -> Any:
    """Convolutions with max-pooling between them, two dense layers, logits; adam."""
    layers = keras.layers
    parts: list[Any] = [keras.Input((side, side, 1))]
    for k, f in enumerate(filters):
        parts.append(layers.Conv2D(f, 3, activation="relu"))
        if k + 1 < len(filters):
            parts.append(layers.MaxPooling2D(2))
    parts += [layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10)]
    model = keras.Sequential(parts)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def lstm(words: int = 10000, length: int = 200, width: int = 32, units: int = 32) -> Any:
    """Embedding, LSTM, one sigmoid; adam: a classifier of texts."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((length,), dtype="int32"),
            layers.Embedding(words, width),
            layers.LSTM(units),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def train_graph(model: Any, rows: int) -> tuple[Graph, dict[str, np.ndarray[Any, Any]]]:
    """The optimised train step for batches of `rows`, and the values of its states by path."""
    given = model.inputs[0]
    x = np.zeros((rows, *given.shape[1:]), given.dtype)
    traced = StepFunction(model, "train").trace(x, np.zeros(rows, "i4"))
    graph = optimise(bind(traced.graph, N=rows))
    states = {
        r.path: np.array(v.array) for r, v in zip(graph.roles, traced.variables, strict=False)
    }
    return graph, states

"""Whole models, each written once for any module that speaks Keras: `build(k)` and data for it.

Random layers have rate 0, so that two implementations can be compared number by number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    build: Callable[[Any], Any]
    data: Callable[[np.random.Generator, int], tuple[Any, Any]]
    loss: Any
    lr: float = 0.05


def images(shape: tuple[int, ...], classes: int, onehot: bool = False) -> Any:
    def make(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        y = rng.integers(0, classes, n).astype("int32")
        x = rng.random((n, *shape), dtype=np.float32)
        return x, np.eye(classes, dtype="float32")[y] if onehot else y

    return make


def tokens(vocab: int, length: int, low: int = 0) -> Any:
    def make(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        x = rng.integers(low, vocab, (n, length)).astype("int32")
        return x, rng.integers(0, 2, (n, 1)).astype("float32")

    return make


def mlp(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((8, 8)), L.Flatten(), L.Dense(16, activation="relu"), L.Dropout(0.0),
        L.Dense(10, activation="softmax"),
    ])  # fmt: skip


def binary_mlp(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((12,)), L.Dense(8, activation="relu"), L.Dense(1, activation="sigmoid"),
    ])  # fmt: skip


def cnn(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((14, 14, 1)), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2),
        L.Conv2D(6, 3, activation="relu"), L.MaxPooling2D(2), L.Conv2D(6, 2, activation="relu"),
        L.Flatten(), L.Dense(8, activation="relu"), L.Dense(5),
    ])  # fmt: skip


def cnn_onehot(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((16, 16, 3)), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2),
        L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(),
        L.Dense(4, activation="softmax"),
    ])  # fmt: skip


def lstm(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((9,), dtype="int32"), L.Embedding(20, 6), L.LSTM(5),
        L.Dense(1, activation="sigmoid"),
    ])  # fmt: skip


def masked_gru(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((9,), dtype="int32"), L.Embedding(20, 6, mask_zero=True),
        L.Bidirectional(L.GRU(4, return_sequences=True)), L.SimpleRNN(3),
        L.Dense(1, activation="sigmoid"),
    ])  # fmt: skip


def seq2seq(k: Any) -> Any:
    L = k.layers
    src, tgt = k.Input((6,), dtype="int32"), k.Input((6,), dtype="int32")
    _, h, c = L.LSTM(5, return_state=True)(L.Embedding(11, 4)(src))
    y = L.LSTM(5, return_sequences=True)(L.Embedding(11, 4)(tgt), initial_state=[h, c])
    return k.Model([src, tgt], L.Dense(11, activation="softmax")(y))


def seq2seq_data(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    draw = [rng.integers(0, 11, (n, 6)).astype("int32") for _ in range(3)]
    return draw[:2], draw[2]


def two_by_two(k: Any) -> Any:
    L = k.layers
    a, b = k.Input((5,), dtype="int32", name="a"), k.Input((5,), dtype="int32", name="b")
    embedding, rnn = L.Embedding(13, 4), L.LSTM(4)
    x, y = rnn(embedding(a)), rnn(embedding(b))
    both = L.Concatenate()([x, y])
    score = L.Dense(1, activation="sigmoid", name="score")(both)
    kind = L.Dense(3, name="kind")(L.Multiply()([x, y]))
    return k.Model([a, b], [score, kind])


def two_by_two_data(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    x = [rng.integers(0, 13, (n, 5)).astype("int32") for _ in range(2)]
    return x, [
        rng.integers(0, 2, (n, 1)).astype("float32"),
        rng.standard_normal((n, 3), np.float32),
    ]


def resnet(k: Any) -> Any:
    L = k.layers

    def conv(x: Any, w: int, s: int = 1, size: int = 3) -> Any:
        x = L.Conv2D(w, size, strides=s, padding="same", use_bias=False)(x)
        return L.BatchNormalization()(x)

    inp = k.Input((8, 8, 3))
    x = L.ReLU()(conv(inp, 4))
    for w, s in ((4, 1), (6, 2)):
        short = conv(x, w, s, 1) if s == 2 else x
        h = conv(L.ReLU()(conv(x, w, s)), w)
        x = L.ReLU()(L.Add()([h, short]))
    return k.Model(inp, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(x)))


def transformer(k: Any) -> Any:
    L = k.layers
    inp = k.Input((7,), dtype="int32")
    x = L.Embedding(17, 8)(inp)
    for _ in range(2):
        x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, L.MultiHeadAttention(2, 4)(x, x)]))
        h = L.Dense(8)(L.Dense(16, activation="gelu")(x))
        x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, h]))
    return k.Model(inp, L.Dense(1, activation="sigmoid")(L.GlobalAveragePooling1D()(x)))


def custom(k: Any) -> Any:
    class Linear(k.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, units: int = 4, **kwargs: Any):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="glorot_uniform"
            )
            self.b = self.add_weight(shape=(self.units,), initializer="zeros")

        def call(self, x: Any) -> Any:
            self.add_loss(0.01 * k.ops.mean(k.ops.square(self.w)))
            return k.ops.matmul(x, self.w) + self.b

    return k.Sequential([k.Input((12,)), Linear(6), k.layers.LeakyReLU(), Linear(4)])


def depthwise(k: Any) -> Any:
    L = k.layers
    reg = k.regularizers.L2(1e-2)
    return k.Sequential([
        k.Input((10, 10, 3)), L.SeparableConv2D(6, 3, padding="same", activation="elu"),
        L.AveragePooling2D(2), L.DepthwiseConv2D(3, depth_multiplier=2, depthwise_initializer="he_normal"),
        L.PReLU(), L.UpSampling2D(2), L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.GlobalMaxPooling2D(), L.Dense(4, kernel_regularizer=reg, activation="softmax"),
    ])  # fmt: skip


def conv1d(k: Any) -> Any:
    L = k.layers
    return k.Sequential([
        k.Input((20, 3)), L.ZeroPadding1D(1), L.Conv1D(5, 3, dilation_rate=2, activation="tanh"),
        L.MaxPooling1D(2), L.TimeDistributed(L.Dense(4)), L.LayerNormalization(), L.Flatten(),
        L.Dense(2, activation="softmax"),
    ])  # fmt: skip


SPARSE, ONEHOT, BINARY = (
    "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy",
)  # fmt: skip

CASES: dict[str, Case] = {
    "mlp": Case(mlp, images((8, 8), 10), SPARSE),
    "binary_mlp": Case(binary_mlp, lambda r, n: (r.random((n, 12), np.float32), r.integers(0, 2, (n, 1)).astype("float32")), BINARY),
    "cnn": Case(cnn, images((14, 14, 1), 5, onehot=True), "mse"),
    "cnn_onehot": Case(cnn_onehot, images((16, 16, 3), 4, onehot=True), ONEHOT),
    "lstm": Case(lstm, tokens(20, 9), BINARY),
    "masked_gru": Case(masked_gru, tokens(20, 9), BINARY),
    "seq2seq": Case(seq2seq, seq2seq_data, SPARSE),
    "two_by_two": Case(two_by_two, two_by_two_data, [BINARY, "mae"]),
    "resnet": Case(resnet, images((8, 8, 3), 3), SPARSE),
    "transformer": Case(transformer, tokens(17, 7), BINARY),
    "custom": Case(custom, lambda r, n: (r.random((n, 12), np.float32), r.random((n, 4), np.float32)), "huber"),
    "depthwise": Case(depthwise, images((10, 10, 3), 4), SPARSE),
    "conv1d": Case(conv1d, images((20, 3), 2), SPARSE),
}  # fmt: skip

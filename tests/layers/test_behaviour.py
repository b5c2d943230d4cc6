"""What a table of outputs does not show: state, randomness, adapting, masks through chains, paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import kcompile.initializers as initializers
import kcompile.layers as layers
import kcompile.random as random
from ir.dims import dim
from ir.types import Type
from kcompile.operation import infer
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from kcompile.tensor import KerasTensor
from kcompile.trace import Trace
from tests.layers.layer_oracle import check, close, data, keras, pair, same_weights, torch

LINE = data(4, 6, 5)


def traced(
    layer: Any, *shapes: Any, training: bool = False, dtype: str = "f32", **call: Any
) -> list[str]:
    """The names of the ops a call becomes, for a named batch."""
    with Trace("call") as trace:
        xs = [trace.data(f"x{i}", Type(dtype, (dim("N"), *s))) for i, s in enumerate(shapes)]
        out = layer(*xs, training=training, **call)
        graph, _ = trace.finish("call", [out[0] if isinstance(out, (list, tuple)) else out])
    return [n.op.name for n in graph.nodes]


@pytest.mark.parametrize(
    "case",
    [
        (lambda: layers.Dense(3, "gelu"), (7, 5), ["contract", "broadcast", "add", "gelu"]),
        (lambda: layers.Dense(3, "softmax", use_bias=False), (5,), ["contract", "softmax"]),
        (lambda: layers.Conv2D(3, 3, activation="relu"), (8, 8, 3), ["contract", "broadcast", "add", "relu"]),
        (lambda: layers.LayerNormalization(), (8, 3), ["layer_norm"]),
        (lambda: layers.BatchNormalization(), (8, 3), ["batch_norm"]),
        (lambda: layers.MaxPooling2D(), (8, 8, 3), ["max_pool"]),
        (lambda: layers.AveragePooling2D(2), (8, 8, 3), ["avg_pool"]),
        (lambda: layers.GlobalAveragePooling2D(), (8, 8, 3), ["reduce_mean"]),
        (lambda: layers.Flatten(), (8, 8, 3), ["reshape"]),
        (lambda: layers.LSTM(3), (dim("T"), 4), ["full", "full", "lstm"]),
        (lambda: layers.GRU(3, dropout=0.5), (6, 4), ["full", "gru"]),
        (lambda: layers.Dropout(0.5), (6, 4), []),
    ],
    ids=lambda c: c[0]().name,
)  # fmt: skip
def test_a_layer_becomes_its_composite(case: Any) -> None:
    make, shape, want = case
    assert traced(make(), shape) == want


def test_attention_and_batch_normalization_become_composites() -> None:
    assert "attention_nomask" in traced(layers.MultiHeadAttention(2, 3), (6, 4), (6, 4))
    assert "attention" in traced(
        layers.MultiHeadAttention(2, 3), (6, 4), (6, 4), use_causal_mask=True
    )
    assert "attention_nomask" in traced(
        layers.MultiHeadAttention(2, 3, dropout=0.1), (6, 4), (6, 4)
    )
    assert "batch_norm_train" in traced(layers.BatchNormalization(), (8, 3), training=True)


def test_the_input_of_a_masked_recurrent_layer_is_projected_outside_the_loop() -> None:
    layer = layers.LSTM(3)
    with Trace("call") as trace:
        x = trace.data("x", Type("f32", (dim("N"), 6, 4)))
        mask = trace.data("mask", Type("bool", (dim("N"), 6)))
        graph, _ = trace.finish("call", [layer(x, mask=mask)])
    outside = [n.op.name for n in graph.nodes]
    (loop,) = (n for n in graph.nodes if n.op.name == "scan")
    inside = [n.op.name for n in loop.attr("body").nodes]
    assert outside.count("contract") == 1 and inside.count("contract") == 1
    assert loop.attr("carries") == 2, "the output is the state, and is not carried twice"


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_stateful(name: str) -> None:
    ours, theirs = pair(name, 3, stateful=True, return_sequences=True)
    ours(LINE), theirs(torch.tensor(LINE))
    same_weights(ours, theirs)
    for side in (ours, theirs):
        side.reset_state()
    for seed in range(3):
        x = data(4, 6, 5, seed=seed)
        close(ours(x), theirs(torch.tensor(x)), what=f"batch {seed}")
    ours.reset_state(), theirs.reset_state()
    close(ours(LINE), theirs(torch.tensor(LINE)))
    assert len(ours.weights) == 3


def test_a_stateful_layer_needs_a_batch_size() -> None:
    with pytest.raises(ValueError, match="batch"):
        layers.LSTM(3, stateful=True)(KerasTensor((None, 6, 5)))


WIDE = np.ones((400, 50), "float32")


def run(layer: Any, x: Any = WIDE, training: bool = True) -> Any:
    return np.asarray(layer(x, training=training))


def test_dropout() -> None:
    y = run(layers.Dropout(0.3))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.02
    np.testing.assert_array_equal(run(layers.Dropout(0.3), training=False), WIDE)
    assert (run(layers.Dropout(1.0)) == 0).all()
    rows = run(layers.Dropout(0.5, noise_shape=(None, 1)))
    assert (rows == rows[:, :1]).all() and 0.3 < (rows[:, 0] == 0).mean() < 0.7


def test_a_seed_repeats_and_calls_differ() -> None:
    one, two = layers.Dropout(0.5, seed=3), layers.Dropout(0.5, seed=3)
    first = run(one)
    np.testing.assert_array_equal(first, run(two))
    assert not np.array_equal(first, run(one))
    free = layers.Dropout(0.5)
    random.reseed(7)
    first = run(free)
    random.reseed(7)
    np.testing.assert_array_equal(first, run(free))


def test_two_layers_of_a_model_draw_differently() -> None:
    layer = layers.Dropout(0.5)
    with Trace("call") as trace:
        x = trace.data("x", Type("f32", (4, 3)))
        graph, _ = trace.finish("call", [layer(x, training=True), layer(x, training=True)])
    streams = [n.attr("stream") for n in graph.nodes if n.op.name == "random_uniform"]
    assert len(set(streams)) == 2


@pytest.mark.parametrize("name", ["SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"])
def test_spatial_dropout_drops_whole_maps(name: str) -> None:
    rank = int(name[-2])
    x = np.ones((20, *(3,) * rank, 30), "float32")
    y = run(getattr(layers, name)(0.4), x)
    first = y[(slice(None), *(slice(0, 1),) * rank)]
    assert (y == first).all() and abs((first == 0).mean() - 0.4) < 0.08


def test_noises() -> None:
    y = run(layers.GaussianNoise(0.5)) - 1
    assert abs(y.mean()) < 0.02 and abs(y.std() - 0.5) < 0.02
    y = run(layers.GaussianDropout(0.2))
    assert abs(y.mean() - 1) < 0.02 and abs(y.std() - math.sqrt(0.2 / 0.8)) < 0.02
    x = np.asarray(layers.Activation("selu")(data(400, 50)))
    y = run(layers.AlphaDropout(0.2), x)
    assert abs(y.mean() - x.mean()) < 0.05 and abs(y.std() - x.std()) < 0.05


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dropout": 0.3, "recurrent_dropout": 0.3}],
)
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_recurrent_dropout_has_one_mask_for_all_steps(
    name: str, settings: dict[str, float]
) -> None:
    calm = initializers.RandomNormal(stddev=0.1, seed=1)
    layer = getattr(layers, name)(
        4, return_sequences=True, recurrent_initializer=calm, seed=1, **settings
    )
    x = np.tile(data(30, 1, 5), (1, 80, 1))
    still, moved = run(layer, x, training=False), run(layer, x)
    assert still.shape == moved.shape and not np.allclose(still, moved)
    # with one mask for all steps and a constant input the states settle; with fresh masks they would not
    assert (
        np.abs(moved[:, -1] - moved[:, -2]).max() < 0.01 * np.abs(moved[:, -1] - still[:, -1]).max()
    )


@pytest.mark.parametrize("axis", [-1, None, (1, 2)])
def test_normalization_adapts_as_in_keras(axis: Any) -> None:
    x = data(40, 6, 5) * 3 + 2
    ours, theirs = pair("Normalization", axis=axis)
    ours.adapt(x), theirs.adapt(x)
    close(ours(x), theirs(torch.tensor(x)), atol=1e-4)
    close([w.numpy() for w in ours.weights[:2]], [w.numpy() for w in theirs.weights[:2]], rtol=1e-4)
    batches = layers.Normalization(axis=axis)
    batches.adapt([x[:10], x[10:37], x[37:]])
    close(batches(x), ours(x), atol=1e-4)


def test_masks_travel_from_the_embedding_to_the_last_layer() -> None:
    ids = np.array([[1, 2, 0, 0], [3, 0, 4, 5], [1, 1, 1, 1]], "int32")

    def chain(side: Any) -> list[Any]:
        lstm = side.LSTM(3, return_sequences=True)
        return [
            side.Embedding(6, 4, mask_zero=True),
            side.Dropout(0.5),
            lstm,
            side.Dense(2),
            side.GRU(2),
        ]

    ours, theirs = chain(layers), chain(keras.layers)
    x, y = ids, torch.tensor(ids)
    for a, b in zip(ours, theirs, strict=True):
        a(x), b(y)
        same_weights(a, b)
        x, y = a(x), b(y)
        close(x, y)
        close(getattr(x, "_keras_mask", None), getattr(y, "_keras_mask", None))


@pytest.mark.parametrize(
    "name", ["Add", "Multiply", "Maximum", "Minimum", "Average", "Concatenate"]
)
@pytest.mark.parametrize("both", [True, False])
def test_masks_of_merges(name: str, both: bool) -> None:
    ids, more = np.array([[1, 2, 0], [3, 0, 0]], "int32"), np.array([[1, 0, 0], [3, 4, 0]], "int32")
    table, other = data(6, 4), data(6, 4, seed=1)

    def merged(side: Any, wrap: Any) -> Any:
        first = side.Embedding(6, 4, mask_zero=True, weights=[table])
        second = side.Embedding(6, 4, mask_zero=both, weights=[other])
        return getattr(side, name)()([first(wrap(ids)), second(wrap(more))])

    mine, want = merged(layers, np.asarray), merged(keras.layers, torch.tensor)
    close(mine, want)
    close(getattr(mine, "_keras_mask", None), getattr(want, "_keras_mask", None))


def test_a_mask_reaches_attention() -> None:
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 1]], "int32")
    table = data(6, 4)
    ours, theirs = pair("MultiHeadAttention", 2, 3)
    e = layers.Embedding(6, 4, mask_zero=True, weights=[table])(ids)
    f = keras.layers.Embedding(6, 4, mask_zero=True, weights=[table])(torch.tensor(ids))
    ours(e, e), theirs(f, f)
    same_weights(ours, theirs)
    f = keras.layers.Embedding(6, 4, mask_zero=True, weights=[table])(torch.tensor(ids))
    got, want = np.asarray(ours(e, e)), theirs(f, f).detach().numpy()
    close(got[ids > 0], want[ids > 0])
    ours, theirs = pair("Attention")
    close(
        ours([LINE, LINE], mask=[None, LINE[:, :, 0] > 0]),
        theirs([torch.tensor(LINE)] * 2, mask=[None, torch.tensor(LINE[:, :, 0] > 0)]),
    )


def test_flatten_drops_the_mask_with_a_warning() -> None:
    e = layers.Embedding(6, 4, mask_zero=True)(np.array([[1, 2, 0]], "int32"))
    with pytest.warns(UserWarning, match="mask"):
        y = layers.Flatten()(e)
    assert getattr(y, "_keras_mask", None) is None


def test_weights_have_the_paths_of_keras() -> None:
    cases = [
        ("Bidirectional", (lambda k: k.LSTM(3, name="l"),), LINE),
        ("RNN", (lambda k: [k.GRUCell(3, name="a"), k.LSTMCell(2, name="b")],), LINE),
        ("TimeDistributed", (lambda k: k.Dense(3, name="d"),), LINE),
    ]
    for name, args, x in cases:
        ours, theirs = pair(name, *args, name="outer")
        ours(x), theirs(torch.tensor(x))
        assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    ours, theirs = pair("MultiHeadAttention", 2, 3, name="outer")
    ours(LINE, LINE), theirs(torch.tensor(LINE), torch.tensor(LINE))
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]


EXCHANGED = [
    ("Dense", (3, "relu"), {"kernel_regularizer": "l2"}, (5,)),
    ("Conv2D", (3, 3), {"padding": "same"}, (6, 6, 2)),
    ("LSTM", (3,), {"return_sequences": True}, (6, 2)),
    ("Bidirectional", (lambda k: k.GRU(3),), {}, (6, 2)),
    ("TimeDistributed", (lambda k: k.Dense(3),), {}, (6, 2)),
    ("RNN", (lambda k: [k.LSTMCell(2), k.GRUCell(3)],), {}, (6, 2)),
    ("BatchNormalization", (), {}, (6, 2)),
    ("MultiHeadAttention", (2, 3), {}, None),
    ("Embedding", (5, 3), {"mask_zero": True}, (4,)),
    ("Normalization", (), {}, (4,)),
    ("Rescaling", (0.5,), {}, (4,)),
    ("PReLU", (), {}, (4,)),
]


@pytest.mark.parametrize("case", EXCHANGED, ids=lambda c: c[0])
def test_configs_go_to_keras_and_back(case: Any) -> None:
    name, args, kwargs, _ = case
    ours, theirs = pair(name, *args, **kwargs)
    there = keras.saving.deserialize_keras_object(serialize_keras_object(ours))
    back = deserialize_keras_object(keras.saving.serialize_keras_object(theirs))
    assert type(there).__name__ == type(back).__name__ == name
    assert type(back) is type(ours)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_interpolates_as_in_keras(interpolation: str) -> None:
    check(*pair("UpSampling2D", (2, 3), interpolation=interpolation), data(2, 4, 5, 3))


def test_unknown_extents_are_followed() -> None:
    x = KerasTensor((None, None, 4))
    cases: list[tuple[Any, tuple[Any, ...]]] = [
        (layers.LSTM(3, return_sequences=True), (None, None, 3)),
        (layers.TimeDistributed(layers.Dense(2)), (None, None, 2)),
        (layers.Conv1D(5, 3, padding="same"), (None, None, 5)),
        (layers.GlobalAveragePooling1D(), (None, 4)),
        (layers.Bidirectional(layers.GRU(3)), (None, 6)),
        (layers.Dense(2), (None, None, 2)),
        (layers.UpSampling1D(2), (None, None, 4)),
        (layers.Reshape((-1, 2)), (None, None, 2)),
        (layers.MaxPooling1D(2), (None, None, 4)),
    ]
    for layer, want in cases:
        assert layer(x).shape == want, layer
        assert layer.compute_output_shape((None, None, 4)) == want, layer
    with pytest.raises(ValueError, match="known"):
        layers.Dense(3)(KerasTensor((None, None)))


def test_custom_cells_and_activations() -> None:
    class Cell(layers.Layer):
        def __init__(self, units: int, **kwargs: Any):
            super().__init__(**kwargs)
            self.units = self.state_size = units

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="ones", name="w"
            )

        def call(self, inputs: Any, states: Any) -> Any:
            h = inputs @ self.w + 0.5 * states[0]
            return h, [h]

    y = np.asarray(layers.RNN(Cell(3), return_sequences=True)(LINE))
    h = np.zeros((4, 3), "float32")
    for t in range(6):
        h = LINE[:, t].sum(-1, keepdims=True) + 0.5 * h
        np.testing.assert_allclose(y[:, t], h, rtol=1e-4, atol=1e-5)
    dense = layers.Dense(
        3,
        activation=lambda x: x * 2.0,
        kernel_initializer=lambda shape, dtype=None: np.ones(shape, dtype),
    )
    np.testing.assert_allclose(
        dense(LINE), np.repeat(2 * LINE.sum(-1, keepdims=True), 3, -1), rtol=1e-4, atol=1e-5
    )


def test_mixed_precision() -> None:
    dense = layers.Dense(3, dtype="mixed_float16")
    assert np.asarray(dense(LINE)).dtype == np.float16 and dense.kernel.numpy().dtype == np.float32
    norm = layers.BatchNormalization(dtype="mixed_float16")
    assert np.asarray(norm(LINE, training=True)).dtype == np.float16
    lstm = layers.LSTM(3, dtype="mixed_float16")
    assert np.asarray(lstm(LINE)).dtype == np.float16


def test_symbolic_calls_change_nothing() -> None:
    layer = layers.BatchNormalization()
    layer.build((None, 5))
    before = layer.get_weights()
    infer(layer, (KerasTensor((None, 5)),), {"training": True})
    close(layer.get_weights(), before)


@pytest.mark.parametrize("case", EXCHANGED[:7], ids=lambda c: c[0])
def test_building_by_hand_gives_the_paths_of_keras(case: Any) -> None:
    name, args, kwargs, shape = case
    ours, theirs = pair(name, *args, **kwargs, name="outer")
    for side in (ours, theirs):
        side.build((2, *shape))
        assert side.built
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert [w.path.count("/") for w in ours.weights] == [w.path.count("/") for w in theirs.weights]
    assert all(w.path.startswith("outer/") for w in ours.weights)
    assert ours.get_build_config() == {"input_shape": (2, *shape)}


def test_a_child_built_by_its_owner_is_under_the_owner() -> None:
    class Block(layers.Layer):
        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.inner = layers.Dense(3, name="inner")

        def build(self, input_shape: Any) -> None:
            self.inner.build(input_shape)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    block = Block(name="block")
    block(LINE)
    assert [w.path for w in block.weights] == ["block/inner/kernel", "block/inner/bias"]

"""Every layer against real Keras: outputs, masks, shapes, weights, config and gradients, in one table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.layers.layer_oracle import check, data, pair

IMAGE = data(2, 7, 6, 4)
FIRST = data(2, 4, 7, 6)
LINE = data(2, 9, 4)
VOLUME = data(2, 5, 6, 4, 2)
FLAT = data(3, 5)
IDS = np.array([[1, 2, 0], [3, 4, 4]], "int32")
PROBABLE = np.abs(data(2, 9, 4)) + 0.1

# name, positional arguments, keyword arguments, input
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("Dense", (3,), {}, FLAT),
    ("Dense", (3, "relu"), {"use_bias": False}, LINE),
    ("Dense", (3,), {"activation": "softmax", "kernel_regularizer": "l2", "bias_constraint": "non_neg"}, IMAGE),
    ("Dense", (3,), {"kernel_initializer": "he_normal", "bias_initializer": "ones", "activity_regularizer": "l1"}, FLAT),
    ("EinsumDense", ("ab,bc->ac", 3), {"bias_axes": "c"}, FLAT),
    ("EinsumDense", ("abc,cd->abd", (None, 3)), {"bias_axes": "d", "activation": "tanh"}, LINE),
    ("EinsumDense", ("...x,xy->...y", 3), {"bias_axes": "y"}, IMAGE),
    ("EinsumDense", ("abc,cde->abde", (None, 2, 3)), {"bias_axes": "de"}, LINE),
    ("EinsumDense", ("abc,bd->acd", (4, 3)), {"bias_axes": "c"}, LINE),
    ("EinsumDense", ("ab...,bc->ac...", 3), {}, LINE),
    ("Embedding", (6, 4), {}, IDS),
    ("Embedding", (6, 4), {"mask_zero": True, "embeddings_regularizer": "l1"}, IDS),
    ("Activation", ("relu",), {}, FLAT),
    ("Activation", ("softmax",), {}, LINE),
    ("Identity", (), {}, FLAT),
    ("Masking", (), {"mask_value": 0.0}, LINE * (LINE[..., :1] > 0)),
    ("ReLU", (), {}, FLAT),
    ("ReLU", (), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, FLAT),
    ("ReLU", (), {"negative_slope": 0.1}, FLAT),
    ("ReLU", (), {"max_value": 6}, 9 * FLAT),
    ("ReLU", (), {"max_value": 0.5, "negative_slope": 0.2}, FLAT),
    ("ReLU", (0.7,), {"threshold": 0.1}, FLAT),
    ("LeakyReLU", (), {}, FLAT),
    ("LeakyReLU", (), {"negative_slope": 0.05}, FLAT),
    ("ELU", (), {}, FLAT),
    ("ELU", (), {"alpha": 0.5}, FLAT),
    ("PReLU", (), {"alpha_regularizer": "l2"}, FLAT),
    ("PReLU", (), {"shared_axes": [1, 2]}, IMAGE),
    ("PReLU", (), {"shared_axes": 1, "alpha_initializer": "ones"}, LINE),
    ("Softmax", (), {}, FLAT),
    ("Softmax", (), {"axis": 1}, LINE),
    ("Softmax", (), {"axis": [1, 2]}, LINE),
    ("Conv1D", (3, 3), {}, LINE),
    ("Conv1D", (3, 3), {"padding": "causal", "dilation_rate": 2}, LINE),
    ("Conv1D", (3, 3), {"padding": "same", "strides": 2, "activation": "relu"}, LINE),
    ("Conv1D", (4, 2), {"groups": 2, "use_bias": False}, LINE),
    ("Conv2D", (3, 3), {}, IMAGE),
    ("Conv2D", (3, (3, 2)), {"padding": "same", "strides": (2, 1)}, IMAGE),
    ("Conv2D", (3, 2), {"dilation_rate": 2, "padding": "same"}, IMAGE),
    ("Conv2D", (4, 3), {"groups": 2, "kernel_regularizer": "l2"}, IMAGE),
    ("Conv2D", (3, 3), {"data_format": "channels_first", "padding": "same", "strides": 2}, FIRST),
    ("Conv3D", (3, 2), {}, VOLUME),
    ("Conv3D", (3, 3), {"padding": "same", "strides": 2, "activation": "tanh"}, VOLUME),
    ("Conv1DTranspose", (3, 3), {}, LINE),
    ("Conv1DTranspose", (3, 3), {"strides": 2, "padding": "same"}, LINE),
    ("Conv1DTranspose", (3, 4), {"strides": 3, "padding": "same", "output_padding": 1}, LINE),
    ("Conv1DTranspose", (3, 3), {"strides": 2, "output_padding": 1}, LINE),
    ("Conv1DTranspose", (3, 5), {"strides": 3, "padding": "same", "output_padding": 2}, LINE),
    ("Conv2DTranspose", (3, 3), {}, IMAGE),
    ("Conv2DTranspose", (3, 3), {"strides": 2, "padding": "same", "output_padding": (1, 0)}, IMAGE),
    ("Conv2DTranspose", (3, 3), {"strides": 2, "padding": "same", "activation": "relu"}, IMAGE),
    ("Conv2DTranspose", (3, 2), {"strides": 3}, IMAGE),
    ("Conv2DTranspose", (3, 2), {"dilation_rate": 2, "use_bias": False}, IMAGE),
    ("Conv2DTranspose", (3, 3), {"strides": 2, "data_format": "channels_first"}, FIRST),
    ("Conv3DTranspose", (3, 2), {"strides": 2}, VOLUME),
    ("DepthwiseConv1D", (3,), {"depth_multiplier": 2}, LINE),
    ("DepthwiseConv2D", (3,), {}, IMAGE),
    ("DepthwiseConv2D", (3,), {"depth_multiplier": 2, "padding": "same", "strides": 2}, IMAGE),
    ("DepthwiseConv2D", (2,), {"dilation_rate": 2, "activation": "relu", "use_bias": False}, IMAGE),
    ("DepthwiseConv2D", (3,), {"data_format": "channels_first"}, FIRST),
    ("SeparableConv1D", (3, 3), {"padding": "same"}, LINE),
    ("SeparableConv2D", (3, 3), {}, IMAGE),
    ("SeparableConv2D", (3, 3), {"depth_multiplier": 2, "padding": "same", "strides": 2}, IMAGE),
    ("MaxPooling1D", (), {}, LINE),
    ("MaxPooling1D", (3,), {"strides": 2, "padding": "same"}, LINE),
    ("MaxPooling2D", (), {}, IMAGE),
    ("MaxPooling2D", (3,), {"strides": 2, "padding": "same"}, IMAGE),
    ("MaxPooling2D", (2,), {"data_format": "channels_first"}, FIRST),
    ("MaxPooling3D", (2,), {}, VOLUME),
    ("AveragePooling1D", (2,), {}, LINE),
    ("AveragePooling2D", (2,), {}, IMAGE),
    ("AveragePooling2D", ((3, 2),), {"strides": 2, "padding": "same"}, IMAGE),
    ("AveragePooling2D", (2,), {"data_format": "channels_first", "strides": 1}, FIRST),
    ("AveragePooling3D", (2,), {}, VOLUME),
    ("GlobalMaxPooling1D", (), {}, LINE),
    ("GlobalMaxPooling2D", (), {"keepdims": True}, IMAGE),
    ("GlobalMaxPooling2D", (), {"data_format": "channels_first"}, FIRST),
    ("GlobalMaxPooling3D", (), {}, VOLUME),
    ("GlobalAveragePooling1D", (), {}, LINE),
    ("GlobalAveragePooling1D", (), {"data_format": "channels_first", "keepdims": True}, LINE),
    ("GlobalAveragePooling2D", (), {}, IMAGE),
    ("GlobalAveragePooling3D", (), {"keepdims": True}, VOLUME),
    ("Flatten", (), {}, IMAGE),
    ("Flatten", (), {"data_format": "channels_first"}, FIRST),
    ("Reshape", ((6, 6),), {}, LINE),
    ("Reshape", ((-1, 2),), {}, LINE),
    ("Permute", ((2, 1),), {}, LINE),
    ("Permute", ((3, 1, 2),), {}, IMAGE),
    ("RepeatVector", (3,), {}, FLAT),
    ("ZeroPadding1D", (), {}, LINE),
    ("ZeroPadding1D", ((1, 2),), {"data_format": "channels_first"}, LINE),
    ("ZeroPadding2D", (), {}, IMAGE),
    ("ZeroPadding2D", (((1, 2), (0, 3)),), {}, IMAGE),
    ("ZeroPadding2D", ((2, 1),), {"data_format": "channels_first"}, FIRST),
    ("ZeroPadding3D", (1,), {}, VOLUME),
    ("Cropping1D", (), {}, LINE),
    ("Cropping1D", ((0, 2),), {}, LINE),
    ("Cropping2D", (), {}, IMAGE),
    ("Cropping2D", (((1, 0), (2, 1)),), {}, IMAGE),
    ("Cropping2D", (1,), {"data_format": "channels_first"}, FIRST),
    ("Cropping3D", (1,), {}, VOLUME),
    ("UpSampling1D", (3,), {}, LINE),
    ("UpSampling2D", (), {}, IMAGE),
    ("UpSampling2D", ((1, 3),), {"data_format": "channels_first"}, FIRST),
    ("UpSampling3D", (), {}, VOLUME),
    ("LayerNormalization", (), {}, LINE),
    ("LayerNormalization", (), {"axis": [1, 2], "epsilon": 1e-5}, LINE),
    ("LayerNormalization", (), {"scale": False}, LINE),
    ("LayerNormalization", (), {"center": False, "gamma_regularizer": "l2"}, LINE),
    ("GroupNormalization", (2,), {}, IMAGE),
    ("GroupNormalization", (-1,), {"scale": False}, IMAGE),
    ("GroupNormalization", (4,), {"axis": 1, "center": False}, FIRST),
    ("RMSNormalization", (), {}, LINE),
    ("RMSNormalization", (), {"axis": [1, 2]}, LINE),
    ("UnitNormalization", (), {}, LINE),
    ("UnitNormalization", (), {"axis": [1, 2]}, LINE),
    ("BatchNormalization", (), {}, IMAGE),
    ("BatchNormalization", (), {"axis": 1}, FIRST),
    ("BatchNormalization", (), {"scale": False, "momentum": 0.9, "epsilon": 1e-5}, FLAT),
    ("BatchNormalization", (), {"center": False}, LINE),
    ("Rescaling", (0.5,), {"offset": 1.0}, FLAT),
    ("Rescaling", (0.5,), {}, IDS),
    ("Normalization", (), {"mean": 1.0, "variance": 4.0}, FLAT),
    ("Normalization", (), {"mean": [1.0, 2.0, 0.0, 1.0], "variance": [1.0, 2.0, 3.0, 4.0], "invert": True}, LINE),
    ("Dropout", (0.5,), {}, FLAT),
    ("Dropout", (0.3,), {"noise_shape": (None, 1, None), "seed": 3}, LINE),
    ("SpatialDropout1D", (0.5,), {}, LINE),
    ("SpatialDropout2D", (0.5,), {}, IMAGE),
    ("SpatialDropout3D", (0.5,), {"data_format": "channels_last"}, VOLUME),
    ("GaussianNoise", (0.5,), {}, FLAT),
    ("GaussianDropout", (0.5,), {"seed": 1}, FLAT),
    ("AlphaDropout", (0.5,), {}, FLAT),
    ("ActivityRegularization", (), {"l1": 0.1, "l2": 0.2}, FLAT),
    ("MultiHeadAttention", (2, 3), {}, None),
    ("SimpleRNN", (3,), {}, LINE),
    ("SimpleRNN", (3,), {"return_sequences": True, "activation": "relu", "use_bias": False}, LINE),
    ("SimpleRNN", (3,), {"go_backwards": True, "return_state": True, "return_sequences": True}, LINE),
    ("LSTM", (3,), {}, LINE),
    ("LSTM", (3,), {"return_sequences": True, "return_state": True}, LINE),
    ("LSTM", (3,), {"go_backwards": True, "return_sequences": True, "unit_forget_bias": False}, LINE),
    ("LSTM", (3,), {"activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False}, LINE),
    ("LSTM", (3,), {"use_bias": False, "unroll": True, "use_cudnn": False}, LINE),
    ("LSTM", (3,), {"dropout": 0.3, "recurrent_dropout": 0.2, "return_sequences": True}, LINE),
    ("GRU", (3,), {}, LINE),
    ("GRU", (3,), {"return_sequences": True, "return_state": True, "use_bias": False}, LINE),
    ("GRU", (3,), {"reset_after": False, "go_backwards": True}, LINE),
    ("GRU", (3,), {"reset_after": False, "activation": "relu", "return_sequences": True}, LINE),
    ("GRU", (3,), {"activation": "relu", "kernel_regularizer": "l2"}, LINE),
    ("RNN", (lambda k: k.LSTMCell(3),), {"return_state": True}, LINE),
    ("RNN", (lambda k: [k.GRUCell(3), k.SimpleRNNCell(2)],), {"return_sequences": True, "return_state": True}, LINE),
    ("RNN", (lambda k: [k.LSTMCell(3), k.LSTMCell(2, activation="relu")],), {"go_backwards": True}, LINE),
    ("Bidirectional", (lambda k: k.LSTM(3),), {}, LINE),
    ("Bidirectional", (lambda k: k.GRU(3, return_sequences=True),), {"merge_mode": "sum"}, LINE),
    ("Bidirectional", (lambda k: k.SimpleRNN(3, return_sequences=True),), {"merge_mode": None}, LINE),
    ("Bidirectional", (lambda k: k.LSTM(3, return_state=True),), {"merge_mode": "ave"}, LINE),
    ("Bidirectional", (lambda k: k.GRU(3),), {"merge_mode": "mul"}, LINE),
    ("TimeDistributed", (lambda k: k.Dense(3),), {}, LINE),
    ("TimeDistributed", (lambda k: k.Conv2D(2, 2),), {}, data(2, 3, 4, 5, 2)),
    ("TimeDistributed", (lambda k: k.LSTM(2),), {}, data(2, 3, 4, 5)),
    ("Resizing", (5, 9), {}, IMAGE),
    ("Resizing", (3, 3), {"interpolation": "nearest", "data_format": "channels_first"}, FIRST),
    ("Resizing", (4, 2), {"crop_to_aspect_ratio": True}, IMAGE),
    ("CenterCrop", (4, 3), {}, IMAGE),
    ("CenterCrop", (5, 2), {"data_format": "channels_first"}, FIRST),
    ("CenterCrop", (9, 4), {}, IMAGE),
    ("CategoryEncoding", (6,), {"output_mode": "one_hot"}, IDS),
    ("CategoryEncoding", (6,), {"output_mode": "one_hot"}, IDS[:, :1]),
    ("CategoryEncoding", (6,), {}, IDS),
    ("CategoryEncoding", (6,), {"output_mode": "count"}, IDS),
]  # fmt: skip
# Keras's own config lacks what these need (RNN cells as lists are fine)
NO_GRADIENT = {"Embedding"}


def _label(case: tuple[Any, ...]) -> str:
    name, args, kwargs = case[:3]
    shown = [str(a) if not callable(a) else "..." for a in args] + [
        f"{k}={v}" for k, v in kwargs.items()
    ]
    return f"{name}({', '.join(shown)})"


@pytest.mark.parametrize("case", CASES, ids=_label)
def test_a_layer_is_keras(case: tuple[str, tuple[Any, ...], dict[str, Any], Any]) -> None:
    name, args, kwargs, x = case
    inputs = (data(2, 4, 5), data(2, 6, 3, seed=1)) if x is None else (x,)
    check(*pair(name, *args, **kwargs), *inputs)


TRAINED = [
    ("BatchNormalization", (), {}, IMAGE),
    ("BatchNormalization", (), {"axis": 1, "momentum": 0.8}, FIRST),
    ("BatchNormalization", (), {"scale": False, "center": False}, FLAT),
    ("BatchNormalization", (), {"trainable": False}, FLAT),
    ("TimeDistributed", (lambda k: k.BatchNormalization(),), {}, LINE),
    ("Dropout", (0.0,), {}, FLAT),
    ("LSTM", (3,), {}, LINE),
    ("Bidirectional", (lambda k: k.LSTM(3),), {}, LINE),
]


@pytest.mark.parametrize("case", TRAINED, ids=_label)
def test_a_layer_trains_as_in_keras(case: tuple[str, tuple[Any, ...], dict[str, Any], Any]) -> None:
    name, args, kwargs, x = case
    check(*pair(name, *args, **kwargs), x, training=True)


MERGES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("Add", {}, [FLAT, data(3, 5, seed=1), data(3, 5, seed=2)]),
    ("Add", {}, [LINE, data(2, 4, seed=1)]),
    ("Subtract", {}, [FLAT, data(3, 5, seed=1)]),
    ("Multiply", {}, [LINE, data(2, 1, 4, seed=1)]),
    ("Average", {}, [FLAT, data(3, 5, seed=1), data(3, 5, seed=2)]),
    ("Maximum", {}, [FLAT, data(3, 5, seed=1)]),
    ("Minimum", {}, [FLAT, data(3, 5, seed=1), data(3, 5, seed=2)]),
    ("Concatenate", {}, [FLAT, data(3, 2, seed=1)]),
    ("Concatenate", {"axis": 1}, [LINE, data(2, 3, 4, seed=1)]),
    ("Dot", {"axes": 1}, [FLAT, data(3, 5, seed=1)]),
    ("Dot", {"axes": (2, 1)}, [LINE, data(2, 4, 3, seed=1)]),
    ("Dot", {"axes": -1, "normalize": True}, [LINE, data(2, 3, 4, seed=1)]),
    ("Dot", {"axes": (2, 1)}, [LINE, data(2, 4, seed=1)]),
    ("Dot", {"axes": 1}, [data(2, 4), data(2, 4, 3, seed=1)]),
]


@pytest.mark.parametrize("case", MERGES, ids=lambda c: f"{c[0]}{c[1]}")
def test_a_merge_is_keras(case: tuple[str, dict[str, Any], list[Any]]) -> None:
    name, kwargs, inputs = case
    check(*pair(name, **kwargs), inputs)


ATTENTION: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    (
        "MultiHeadAttention",
        (2, 3),
        {"value_dim": 4, "output_shape": 6},
        (data(2, 4, 5), data(2, 6, 3)),
        {},
    ),
    ("MultiHeadAttention", (2, 3), {"use_bias": False}, (data(2, 4, 5),) * 3, {}),
    ("MultiHeadAttention", (2, 3), {}, (data(2, 4, 5), data(2, 4, 5)), {"use_causal_mask": True}),
    (
        "MultiHeadAttention",
        (2, 3),
        {},
        (data(2, 4, 5), data(2, 6, 5)),
        {"return_attention_scores": True},
    ),
    (
        "MultiHeadAttention",
        (2, 3),
        {"dropout": 0.2},
        (data(2, 4, 5), data(2, 6, 5)),
        {"attention_mask": np.tril(np.ones((2, 4, 6), "bool"))},
    ),
    (
        "MultiHeadAttention",
        (2, 3),
        {},
        (data(2, 4, 5), data(2, 6, 5)),
        {"attention_mask": np.tril(np.ones((2, 4, 6), "bool"))},
    ),
    ("MultiHeadAttention", (2, 3), {"sliding_window": 2}, (data(2, 4, 5), data(2, 4, 5)), {}),
    ("MultiHeadAttention", (2, 3), {"use_gate": True}, (data(2, 4, 5), data(2, 4, 5)), {}),
    ("MultiHeadAttention", (2, 3), {"attention_axes": (1, 2)}, (data(2, 3, 4, 5),) * 2, {}),
    ("MultiHeadAttention", (2, 3), {"attention_axes": 2}, (data(2, 3, 4, 5),) * 2, {}),
    ("GroupQueryAttention", (3, 4, 2), {}, (data(2, 4, 5), data(2, 6, 5)), {}),
    (
        "GroupQueryAttention",
        (3, 4, 1),
        {"use_bias": False, "dropout": 0.1},
        (data(2, 4, 5),) * 3,
        {},
    ),
    (
        "GroupQueryAttention",
        (3, 4, 4),
        {"use_gate": True},
        (data(2, 4, 5),) * 2,
        {"use_causal_mask": True},
    ),
    ("GroupQueryAttention", (3, 4, 2), {}, (data(2, 4, 5),) * 2, {"return_attention_scores": True}),
    ("Attention", (), {}, ([data(2, 4, 3), data(2, 5, 3, seed=1)],), {}),
    (
        "Attention",
        (),
        {"use_scale": True},
        ([data(2, 4, 3), data(2, 5, 2, seed=1), data(2, 5, 3, seed=2)],),
        {},
    ),
    (
        "Attention",
        (),
        {"use_scale": True, "score_mode": "concat"},
        ([data(2, 4, 3), data(2, 5, 3)],),
        {},
    ),
    ("Attention", (), {}, ([data(2, 4, 3), data(2, 4, 3, seed=1)],), {"use_causal_mask": True}),
    ("Attention", (), {}, ([data(2, 4, 3), data(2, 5, 3)],), {"return_attention_scores": True}),
    ("AdditiveAttention", (), {}, ([data(2, 4, 3), data(2, 5, 3, seed=1)],), {}),
    ("AdditiveAttention", (), {"use_scale": False}, ([data(2, 4, 3), data(2, 5, 3, seed=1)],), {}),
]


@pytest.mark.parametrize("case", ATTENTION, ids=lambda c: f"{c[0]}{c[2]}{list(c[4])}")
def test_attention_is_keras(case: Any) -> None:
    name, args, kwargs, inputs, call = case
    check(*pair(name, *args, **kwargs), *inputs, **call)


MASK = np.array([[0, 1, 1, 0, 1, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1, 1, 1, 1]], bool)
MASKED: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("SimpleRNN", (3,), {"return_sequences": True}),
    ("LSTM", (3,), {}),
    ("LSTM", (3,), {"return_sequences": True, "return_state": True}),
    ("LSTM", (3,), {"go_backwards": True, "return_sequences": True}),
    ("LSTM", (3,), {"zero_output_for_mask": True, "return_sequences": True}),
    ("GRU", (3,), {"return_state": True}),
    ("GRU", (3,), {"reset_after": False, "return_sequences": True, "zero_output_for_mask": True}),
    ("RNN", (lambda k: [k.GRUCell(3), k.LSTMCell(2)],), {"return_sequences": True}),
    ("Bidirectional", (lambda k: k.LSTM(3, return_sequences=True),), {}),
    ("Bidirectional", (lambda k: k.LSTM(3),), {}),
    ("GlobalAveragePooling1D", (), {}),
    ("Softmax", (), {"axis": 1}),
    ("BatchNormalization", (), {}),
]


@pytest.mark.parametrize("case", MASKED, ids=_label)
def test_a_mask_is_heeded_as_in_keras(case: Any) -> None:
    name, args, kwargs = case
    mask = MASK[..., None] if name == "Softmax" else MASK
    check(*pair(name, *args, **kwargs), LINE, mask=mask, training=name == "BatchNormalization")


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("masked", [False, True])
def test_initial_states(name: str, masked: bool) -> None:
    states = [data(2, 3, seed=s) for s in range(2 if name == "LSTM" else 1)]
    more = {"mask": MASK} if masked else {}
    ours, theirs = pair(name, 3, return_sequences=True, return_state=True)
    check(ours, theirs, LINE, initial_state=states, **more)


def test_initial_states_of_bidirectional() -> None:
    states = [data(2, 3, seed=s) for s in range(4)]
    ours, theirs = pair("Bidirectional", lambda k: k.LSTM(3, return_state=True))
    check(ours, theirs, LINE, initial_state=states)

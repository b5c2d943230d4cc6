"""Bad arguments and bad inputs: each a three-part error that names the layer, before anything is made."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import kcompile.layers as layers
from kcompile.errors import KCError

X = np.zeros((2, 6, 4), "float32")

ARGUMENTS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("Dense", (0,), {}, "units"),
    ("Dense", (2.5,), {}, "units"),
    ("Dense", ("8",), {}, "units"),
    ("Dense", (4,), {"activation": "rleu"}, "did you mean 'relu'"),
    ("Dense", (4,), {"kernel_initializer": "golrot_uniform"}, "did you mean 'glorot_uniform'"),
    ("Dense", (4,), {"kernel_regularizer": "l3"}, "l1"),
    ("Dense", (4,), {"weights": [1]}, "set_weights"),
    ("Dense", (4,), {"lora_rank": 2}, "None"),
    ("Embedding", (0, 3), {}, "input_dim"),
    ("Embedding", (3, True), {}, "output_dim"),
    ("Conv2D", (0, 3), {}, "filters"),
    ("Conv2D", (4, (3, 3, 3)), {}, "kernel_size"),
    ("Conv2D", (4, 3), {"padding": "smae"}, "same"),
    ("Conv2D", (4, 3), {"padding": "causal"}, "valid"),
    ("Conv2D", (4, 3), {"strides": 2, "dilation_rate": 2}, "1"),
    ("Conv2D", (4, 3), {"groups": 3}, "groups"),
    ("Conv2D", (4, 3), {"border_mode": "same"}, "padding="),
    ("Conv2D", (4, 3), {"data_format": "NHWC"}, "channels_last"),
    ("Conv2DTranspose", (4, 3), {"strides": 2, "output_padding": 2}, "output_padding"),
    ("DepthwiseConv2D", (3,), {"depth_multiplier": 0}, "depth_multiplier"),
    ("MaxPooling2D", (0,), {}, "pool_size"),
    ("MaxPooling2D", (), {"padding": "full"}, "padding"),
    ("Dropout", (1.5,), {}, "rate"),
    ("Dropout", ("half",), {}, "rate"),
    ("Dropout", (0.5,), {"noise_shape": "x"}, "noise_shape"),
    ("Reshape", ((2, -1, -1),), {}, "target_shape"),
    ("Permute", ((0, 1),), {}, "dims"),
    ("RepeatVector", (0,), {}, "n"),
    ("ZeroPadding2D", ((1, 2, 3),), {}, "padding"),
    ("Cropping2D", (-1,), {}, "cropping"),
    ("UpSampling2D", (0,), {}, "size"),
    ("UpSampling2D", (2,), {"interpolation": "linaer"}, "bilinear"),
    ("BatchNormalization", (), {"axis": 1.5}, "axis"),
    ("GroupNormalization", (0,), {}, "groups"),
    ("LSTM", (-1,), {}, "units"),
    ("LSTM", (3,), {"input_length": 4}, "Input"),
    ("LSTM", (3,), {"use_cudnn": "yes"}, "use_cudnn"),
    ("RNN", (3,), {}, "cell"),
    ("Bidirectional", (3,), {}, "recurrent"),
    ("TimeDistributed", (3,), {}, "layer"),
    ("MultiHeadAttention", (0, 3), {}, "num_heads"),
    ("MultiHeadAttention", (2, 3), {"dropout": 2}, "dropout"),
    ("GroupQueryAttention", (3, 4, 3), {}, "multiple of 3"),
    ("Attention", (), {"score_mode": "dto"}, "did you mean 'dot'"),
    ("Dot", ("a",), {}, "axes"),
    ("LeakyReLU", (-0.1,), {}, "negative_slope"),
    ("Normalization", (), {"mean": 1.0}, "variance"),
    ("Lambda", (3,), {}, "function"),
]


@pytest.mark.parametrize("case", ARGUMENTS, ids=lambda c: f"{c[0]}{c[1]}{c[2]}")
def test_a_bad_argument_is_refused(case: tuple[str, tuple[Any, ...], dict[str, Any], str]) -> None:
    name, args, kwargs, hint = case
    with pytest.raises(KCError) as found:
        getattr(layers, name)(*args, **kwargs)
    text = str(found.value)
    assert (
        hint in text
        and "rule:" in text
        and "what to do:" in text
        and name.removesuffix("QueryAttention") in text
    )


CALLS: list[tuple[Any, Any]] = [
    (lambda: layers.Conv2D(4, 3), X),
    (lambda: layers.Conv1D(3, 3, groups=3), X),
    (lambda: layers.Reshape((5, 5)), X),
    (lambda: layers.Cropping1D((3, 3)), X),
    (lambda: layers.Add(), X),
    (lambda: layers.Add(), [X, X[:, :5]]),
    (lambda: layers.Concatenate(), [X, X[:, :5]]),
    (lambda: layers.Dot(1), [X, X[:, :5]]),
    (lambda: layers.Subtract(), [X, X, X]),
    (lambda: layers.LSTM(3), X[:, 0]),
    (lambda: layers.BatchNormalization(axis=5), X),
    (lambda: layers.GroupNormalization(3), X),
    (lambda: layers.Attention(), X),
    (lambda: layers.EinsumDense("abc,cd->abd", 3), X),
    (lambda: layers.EinsumDense("abc->ab", 3), X),
    (lambda: layers.TimeDistributed(layers.Dense(3)), X[:, 0]),
]


@pytest.mark.parametrize("case", CALLS, ids=[str(i) for i in range(len(CALLS))])
def test_a_bad_input_is_refused_with_the_name_of_the_layer(case: tuple[Any, Any]) -> None:
    make, x = case
    layer = make()
    with pytest.raises(KCError) as found:
        layer(x)
    assert layer.name in str(found.value) and "what to do:" in str(found.value)


def test_a_layer_refuses_another_width_and_stays_usable() -> None:
    layer = layers.Dense(3)
    layer(np.zeros((2, 4), "float32"))
    with pytest.raises(KCError, match="4"):
        layer(np.zeros((2, 5), "float32"))
    assert layer(np.zeros((2, 4), "float32")).shape == (2, 3)


def test_a_stateful_layer_refuses_a_partial_batch() -> None:
    layer = layers.LSTM(3, stateful=True)
    layer(X)
    with pytest.raises(KCError, match="batch"):
        layer(X[:1])


def test_old_spellings() -> None:
    with pytest.warns(UserWarning, match="negative_slope"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    with pytest.warns(UserWarning, match="input_length"):
        layers.Embedding(3, 4, input_length=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = np.arange(12, dtype="float32").reshape(3, 4)
        layer = layers.Embedding(3, 4, weights=[table])
        np.testing.assert_array_equal(layer.get_weights()[0], table)
        assert layers.LSTM(3, implementation=1).cell.implementation == 1


def test_a_lambda_is_not_saved_and_not_loaded() -> None:
    layer = layers.Lambda(lambda x: x * 2)
    np.testing.assert_array_equal(layer(X + 1), 2 * (X + 1))
    with pytest.raises(KCError, match="lambda"):
        layer.get_config()
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wE=", "defaults": None, "closure": None},
    }
    with pytest.raises(KCError, match=r"never run|code"):
        layers.Lambda.from_config({"name": "l", "function": code})

"""Random changes of images: the same numbers change them as in Keras, and training draws numbers as it should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import kcompile.layers as layers
from kcompile.errors import KCError
from kcompile.model import Model
from kcompile.sequential import Sequential
from kcompile.serialization import deserialize_keras_object, serialize_keras_object
from tests.layers.layer_oracle import close, covers, data, keras, pair, plain

X = np.abs(data(3, 7, 6, 2))
UP, DOWN = np.array([0.3, -0.2, 0.05], "float32"), np.array([-0.4, 0.1, 0.25], "float32")


def _turned(layer: Any, share: Any) -> dict[str, Any]:
    n, h, w = X.shape[:3]
    zero = keras.ops.zeros(n)
    matrix = layer._compute_affine_matrix(
        0.5, 0.5, keras.ops.convert_to_tensor(share * 360), zero, zero, zero + 1, zero, zero, h, w
    )
    return {"rotation_matrix": matrix}


def _columns(*numbers: Any) -> Any:
    return [keras.ops.convert_to_tensor(n[:, None].copy()) for n in numbers]


def _shifted(layer: Any, down: Any, right: Any) -> dict[str, Any]:
    h, w = X.shape[1:3]
    return {"translations": keras.ops.concatenate(_columns(right * w, down * h), axis=1)}


def _zoomed(layer: Any, high: Any, wide: Any) -> dict[str, Any]:
    high, wide = _columns(high, wide)
    return {"height_zoom": high, "width_zoom": wide}


def _images(name: str) -> Any:
    return lambda layer, amount: {name: keras.ops.reshape(amount, (-1, 1, 1, 1))}


# name, arguments, the numbers drawn as ours and as Keras's layer takes them
CASES: list[tuple[str, dict[str, Any], tuple[Any, ...], Any]] = [
    ("RandomFlip", {"mode": "horizontal"}, (UP > 0,), _images("flips")),
    ("RandomFlip", {"mode": "vertical"}, (UP > 0,), _images("flips")),
    ("RandomFlip", {}, (UP > 0,), _images("flips")),
    ("RandomContrast", {"factor": 0.4, "value_range": (0, 1)}, (1 + UP,), _images("contrast_factor")),
    ("RandomBrightness", {"factor": (-0.3, 0.2), "value_range": (0, 2)}, (UP,), lambda _, a: _images("rgb_delta")(_, 2 * a)),
    ("RandomRotation", {"factor": 0.3}, (UP,), _turned),
    ("RandomRotation", {"factor": (0, 0.5), "fill_mode": "constant", "fill_value": 0.5}, (UP,), _turned),
    ("RandomTranslation", {"height_factor": 0.3, "width_factor": (-0.4, 0.1)}, (UP, DOWN), _shifted),
    ("RandomTranslation", {"height_factor": 0.3, "width_factor": 0.3, "interpolation": "nearest"}, (UP, DOWN), _shifted),
    ("RandomZoom", {"height_factor": (-0.2, 0.3), "width_factor": 0.4}, (1 + UP, 1 + DOWN), _zoomed),
    ("RandomZoom", {"height_factor": 0.4, "fill_mode": "wrap"}, (1 + UP, 1 + UP), _zoomed),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}{c[1]}")
def test_the_same_numbers_change_images_as_in_keras(case: Any) -> None:
    name, kwargs, drawn, given = case
    ours, theirs = pair(name, **kwargs)
    mine = (drawn[0] * 2 * math.pi,) if name == "RandomRotation" else drawn
    want = theirs.transform_images(keras.ops.convert_to_tensor(X), given(theirs, *drawn))
    close(ours.change(X, *mine), want, atol=1e-4)
    covers(plain(ours.get_config()), plain(theirs.get_config()))
    again = deserialize_keras_object(serialize_keras_object(ours))
    assert again.get_config() == ours.get_config()
    close(ours(X, training=False), X)
    assert ours(X[0], training=True).shape == X[0].shape


def test_each_image_is_drawn_for_in_each_step() -> None:
    ones = np.ones((200, 2, 2, 1), "float32") * np.arange(2)[:, None, None]
    layer = layers.RandomFlip("vertical", seed=3)
    model = Sequential([layers.Input((2, 2, 1)), layer])
    assert (model.predict(ones, verbose=0) == ones).all()

    class Trained(Model):
        def predict_step(self, x: Any) -> Any:
            return layer(x, training=True)

    trained = Trained()
    first, second = (trained.predict(ones, batch_size=100, verbose=0) for _ in range(2))
    turned = (first != ones).any((1, 2, 3))
    assert 60 < turned.sum() < 140 and turned[:100].tolist() != turned[100:].tolist()
    assert (first != second).any()
    assert np.array_equal(first[turned], ones[turned][:, ::-1])


def test_a_number_stays_within_its_factor() -> None:
    x = np.zeros((500, 1, 1, 1), "float32")
    got = layers.RandomBrightness((0.2, 0.5), value_range=(0, 1), seed=1)(x, training=True)
    assert 0.2 <= got.min() < 0.22 and 0.48 < got.max() <= 0.5


@pytest.mark.parametrize("make", [
    lambda: layers.RandomFlip("sideways"), lambda: layers.RandomRotation(1.5), lambda: layers.RandomZoom((0.1, 0.2, 0.3)),
    lambda: layers.RandomTranslation("a", 0.1), lambda: layers.RandomContrast(-0.5), lambda: layers.Resizing(0, 3),
    lambda: layers.RandomRotation(0.1, fill_mode="zero"), lambda: layers.CategoryEncoding(), lambda: layers.CategoryEncoding(3, "ones"),
    lambda: layers.CategoryEncoding(3, sparse=True), lambda: layers.Resizing(3, 3, pad_to_aspect_ratio=True),
    lambda: layers.CategoryEncoding(3)(np.array([1]), count_weights=np.array([1.0])),
])  # fmt: skip
def test_what_cannot_be_is_refused(make: Any) -> None:
    with pytest.raises(KCError) as caught:
        make()
    assert caught.value.code == "KC209"

"""Each loss against real Keras: values under each reduction, weights, masks, gradients, configs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.losses as losses
import kcompile.ops as ops
from kcompile.losses.loss import LossFunctionWrapper
from tests.training.oracle import (
    close,
    gradient,
    keras,
    one_hot,
    plain,
    probabilities,
    torch_gradient,
    traced,
)  # fmt: skip

N, C = 6, 4
R = np.random.default_rng(7)
NUMBERS = R.normal(size=(N, 3)).astype(np.float32), R.normal(size=(N, 3)).astype(np.float32)
POSITIVE = tuple(np.abs(a) + 0.1 for a in NUMBERS)
LOGITS = R.normal(size=(N, C)).astype(np.float32) * 2
PROBS = probabilities(R, N, C)
LABELS = R.integers(0, C, N).astype(np.int32)
HOT = one_hot(LABELS, C)
BITS = R.integers(0, 2, (N, 3)).astype(np.float32)
CHANCES = R.random((N, 3)).astype(np.float32)
UNIT = (lambda e: e / np.linalg.norm(e, axis=1, keepdims=True))(R.normal(size=(N, 5))).astype(
    np.float32
)

CASES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("MeanSquaredError", {}, *NUMBERS),
    ("MeanAbsoluteError", {}, *NUMBERS),
    ("MeanAbsolutePercentageError", {}, *NUMBERS),
    ("MeanSquaredLogarithmicError", {}, *POSITIVE),
    ("Huber", {}, *NUMBERS),
    ("Huber", {"delta": 0.3}, *NUMBERS),
    ("LogCosh", {}, *NUMBERS),
    ("CosineSimilarity", {}, *NUMBERS),
    ("CategoricalCrossentropy", {}, HOT, PROBS),
    ("CategoricalCrossentropy", {"from_logits": True}, HOT, LOGITS),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, HOT, PROBS),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, HOT, LOGITS),
    ("SparseCategoricalCrossentropy", {}, LABELS, PROBS),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, LOGITS),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS[:, None], LOGITS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, LABELS, PROBS),
    (
        "SparseCategoricalCrossentropy",
        {"ignore_class": -1, "from_logits": True},
        LABELS - 1,
        LOGITS,
    ),
    ("BinaryCrossentropy", {}, BITS, CHANCES),
    ("BinaryCrossentropy", {"from_logits": True}, BITS, NUMBERS[0]),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, BITS, CHANCES),
    ("BinaryFocalCrossentropy", {}, BITS, CHANCES),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 3.0}, BITS, CHANCES),
    ("BinaryFocalCrossentropy", {"from_logits": True}, BITS, NUMBERS[0]),
    ("CategoricalFocalCrossentropy", {}, HOT, PROBS),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "alpha": 0.5}, HOT, LOGITS),
    ("KLDivergence", {}, probabilities(R, N, C), PROBS),
    ("Poisson", {}, POSITIVE[0], POSITIVE[1]),
    ("Hinge", {}, BITS, NUMBERS[0]),
    ("Hinge", {}, 2 * BITS - 1, NUMBERS[0]),
    ("SquaredHinge", {}, BITS, NUMBERS[0]),
    ("CategoricalHinge", {}, HOT, LOGITS),
    ("Dice", {}, BITS, CHANCES),
    ("Dice", {"axis": (1,)}, BITS, CHANCES),
    ("Tversky", {"alpha": 0.3, "beta": 0.7}, BITS, CHANCES),
    ("Tversky", {"axis": (1,)}, BITS, CHANCES),
    ("Circle", {}, np.array([0, 1, 0, 1, 2, 2]), UNIT),
    ("Circle", {"gamma": 32.0, "margin": 0.25}, np.array([0, 1, 0, 1, 2, 2]), UNIT),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, LABELS, PROBS),
]
IDS = [f"{n}-{'-'.join(map(str, k.values()))}" for n, k, _, _ in CASES]
WEIGHTS = np.array([1, 0.5, 0, 2, 1, 3], np.float32)


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]
)
@pytest.mark.parametrize("name, kwargs, y_true, y_pred", CASES, ids=IDS)
def test_value(name: str, kwargs: Any, y_true: Any, y_pred: Any, reduction: Any) -> None:
    ours = getattr(losses, name)(reduction=reduction, **kwargs)
    theirs = getattr(keras.losses, name)(reduction=reduction, **kwargs)
    close(ours(y_true, y_pred), theirs(y_true, y_pred))
    if name in ("Dice", "Tversky") and not kwargs.get("axis"):
        return
    close(
        ours(y_true, y_pred, sample_weight=WEIGHTS), theirs(y_true, y_pred, sample_weight=WEIGHTS)
    )


@pytest.mark.parametrize("name, kwargs, y_true, y_pred", CASES, ids=IDS)
def test_traced_value_and_gradient(name: str, kwargs: Any, y_true: Any, y_pred: Any) -> None:
    ours, theirs = getattr(losses, name)(**kwargs), getattr(keras.losses, name)(**kwargs)
    close(traced(ours, y_true, y_pred)[0], theirs(y_true, y_pred))
    found, expected = gradient(ours, y_true, y_pred), torch_gradient(theirs, y_true, y_pred)
    close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, kwargs, y_true, y_pred", CASES, ids=IDS)
def test_function(name: str, kwargs: Any, y_true: Any, y_pred: Any) -> None:
    ours = getattr(losses, name)(**kwargs)
    same = getattr(losses, ours.fn.__name__)
    theirs = getattr(keras.losses, ours.fn.__name__)
    tensor = keras.ops.convert_to_tensor
    close(same(y_true, y_pred, **kwargs), theirs(tensor(y_true), tensor(y_pred), **kwargs))


def test_functions_take_what_keras_takes() -> None:
    for alias in ("mse", "MSE", "mae", "MAE", "mape", "msle", "bce", "kld", "KLD"):
        assert losses.get(alias).__name__ == keras.losses.get(alias).__name__
    for name in ("mean_squared_error", "MeanSquaredError", "binary_crossentropy", "Huber", "hinge"):
        ours, theirs = losses.get(name), keras.losses.get(name)
        assert getattr(ours, "__name__", type(ours).__name__) == getattr(
            theirs, "__name__", type(theirs).__name__
        )
    assert losses.get(None) is None
    assert isinstance(losses.get(losses.Hinge), losses.Hinge)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="binary_crossentropy"):
        losses.get("binary_crosentropy")
    with pytest.raises(ValueError, match="reduction"):
        losses.MeanSquaredError(reduction="average")


@pytest.mark.parametrize("name, kwargs, y_true, y_pred", CASES, ids=IDS)
def test_config(name: str, kwargs: Any, y_true: Any, y_pred: Any) -> None:
    ours = getattr(losses, name)(name="my_name", reduction="sum", **kwargs)
    config = losses.serialize(ours)
    again = losses.deserialize(config)
    assert type(again) is type(ours) and again.name == "my_name" and again.reduction == "sum"
    if name == "CategoricalGeneralizedCrossEntropy":  # which real Keras cannot read back
        return
    theirs = keras.losses.deserialize(dict(config))
    close(again(y_true, y_pred), theirs(y_true, y_pred))
    back = losses.deserialize(keras.losses.serialize(getattr(keras.losses, name)(**kwargs)))
    assert type(back) is type(ours)


def test_function_config() -> None:
    config = losses.serialize(losses.mean_squared_error)
    assert losses.deserialize(config) is losses.mean_squared_error
    given = keras.losses.serialize(keras.losses.mean_squared_error)
    assert losses.deserialize(given) is losses.mean_squared_error


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize(
    "weight",
    [None, WEIGHTS, WEIGHTS[:, None] * np.ones((1, 5), np.float32)],
    ids=["none", "sample", "step"],
)
def test_masks(reduction: str, weight: Any) -> None:
    y_true, y_pred = R.integers(0, C, (N, 5)), probabilities(R, N, 5, C)
    mask = R.random((N, 5)) > 0.4
    theirs_pred = keras.ops.convert_to_tensor(y_pred)
    theirs_pred._keras_mask = keras.ops.convert_to_tensor(mask)
    theirs = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
    given = (
        weight
        if weight is None or weight.ndim == 2
        else weight[:, None] * np.ones((1, 5), np.float32)
    )
    expected = theirs(y_true, theirs_pred, sample_weight=given)

    def masked(t: Any, p: Any, m: Any, w: Any = None) -> Any:
        p._keras_mask = m
        return losses.SparseCategoricalCrossentropy(reduction=reduction)(t, p, sample_weight=w)

    weights = [] if weight is None else [weight]
    close(traced(masked, y_true, y_pred, mask, *weights)[0], expected)


def test_weights_of_steps_and_columns() -> None:
    y_true, y_pred = R.normal(size=(N, 5, 2)).astype("f4"), R.normal(size=(N, 5, 2)).astype("f4")
    ours, theirs = losses.MeanSquaredError(), keras.losses.MeanSquaredError()
    step = R.random((N, 5)).astype("f4")
    close(ours(y_true, y_pred, step), theirs(y_true, y_pred, step))
    column = R.random((N, 1)).astype("f4")
    close(ours(y_true, y_pred, column), theirs(y_true, y_pred, column))
    close(ours(y_true, y_pred, column[:, 0]), theirs(y_true, y_pred, column))
    flat_true, flat_pred = R.normal(size=(N,)).astype("f4"), R.normal(size=(N, 1)).astype("f4")
    close(ours(flat_true, flat_pred, WEIGHTS), theirs(flat_true, flat_pred, WEIGHTS))


def test_own_losses() -> None:
    class Cubed(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.power(ops.abs(y_true - y_pred), 3), axis=-1)

    def fourth(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.square(y_true - y_pred)), axis=-1)

    d = NUMBERS[0] - NUMBERS[1]
    assert Cubed().name == "cubed"
    close(Cubed()(*NUMBERS), np.mean(np.abs(d) ** 3))
    close(LossFunctionWrapper(fourth)(*NUMBERS), np.mean(d**4))
    assert losses.get(fourth) is fourth


def test_labels_keep_their_integers() -> None:
    big = np.array([16_777_217])  # not a float32
    seen: list[Any] = []

    def spy(y_true: Any, y_pred: Any) -> Any:
        seen.append(y_true.dtype)
        return ops.sum(y_pred, axis=-1)

    spy.integer_targets = True  # type: ignore[attr-defined]
    LossFunctionWrapper(spy)(big, np.ones((1, 2), np.float32))
    assert "int" in str(seen[0])


def test_saturated_probabilities_stay_finite() -> None:
    extreme = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    labels = np.array([1, 1])
    close(
        losses.SparseCategoricalCrossentropy()(labels, extreme),
        keras.losses.SparseCategoricalCrossentropy()(labels, extreme),
    )
    close(
        losses.BinaryCrossentropy()(extreme, 1 - extreme),
        keras.losses.BinaryCrossentropy()(extreme, 1 - extreme),
    )
    found = gradient(losses.SparseCategoricalCrossentropy(), labels, extreme)
    assert np.isfinite(plain(found)).all()

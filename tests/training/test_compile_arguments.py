"""What `compile(loss=, loss_weights=, metrics=, weighted_metrics=)` means, against real Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.losses as losses
import kcompile.metrics as metrics
import kcompile.ops as ops
from kcompile.input_layer import Input
from kcompile.layers import Dense
from kcompile.losses.compile_loss import CompileLoss
from kcompile.metrics.compile_metrics import CompileMetrics
from kcompile.sequential import Sequential
from tests.training.oracle import close, keras, plain, probabilities, traced

compile_utils = pytest.importorskip("keras.src.trainers.compile_utils")

N = 6
R = np.random.default_rng(2)
A_TRUE, A_PRED = R.normal(size=(N, 2)).astype("f4"), R.normal(size=(N, 2)).astype("f4")
B_TRUE, B_PRED = R.integers(0, 3, (N,)).astype("i4"), probabilities(R, N, 3)
WEIGHT = R.random(N).astype("f4")
LIST_T, LIST_P, NAMES = [A_TRUE, B_TRUE], [A_PRED, B_PRED], ["a", "b"]
DICT_T, DICT_P = {"a": A_TRUE, "b": B_TRUE}, {"a": A_PRED, "b": B_PRED}
SCCE = "sparse_categorical_crossentropy"


def tensors(structure: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, structure)


LOSSES: list[tuple[Any, Any, Any, Any, Any]] = [
    # loss, loss_weights, output_names, y_true, y_pred
    ("mse", None, ["a"], A_TRUE, A_PRED),
    ("mse", 0.5, ["a"], A_TRUE, A_PRED),
    (["mse"], None, ["a"], A_TRUE, A_PRED),
    (["mse"], [0.25], ["a"], A_TRUE, A_PRED),
    ({"a": "mse"}, None, ["a"], A_TRUE, A_PRED),
    (losses.Huber, None, None, A_TRUE, A_PRED),
    ("crossentropy", None, ["b"], B_TRUE, B_PRED),
    (["mse", SCCE], None, NAMES, LIST_T, LIST_P),
    (["mse", SCCE], [0.5, 2.0], NAMES, LIST_T, LIST_P),
    ({"a": "mse", "b": SCCE}, None, NAMES, LIST_T, LIST_P),
    ({"b": SCCE, "a": "mse"}, {"a": 0.5, "b": 2.0}, NAMES, LIST_T, LIST_P),
    ({"a": "mse", "b": SCCE}, {"a": 0.5, "b": 2.0}, NAMES, LIST_T, LIST_P),
    ({"a": "mse", "b": SCCE}, None, NAMES, DICT_T, LIST_P),
    ({"a": "mse", "b": SCCE}, None, NAMES, DICT_T, DICT_P),
    ({"a": "mse", "b": SCCE}, {"a": 3.0, "b": 1.0}, None, DICT_T, DICT_P),
    (["mse", SCCE], None, NAMES, DICT_T, DICT_P),
    ("mse", None, NAMES, [A_TRUE, A_TRUE], [A_PRED, A_PRED]),
    (["mse", None], None, NAMES, LIST_T, LIST_P),
    (["mse", SCCE], None, None, LIST_T, LIST_P),
    (("mse", SCCE), None, NAMES, (A_TRUE, B_TRUE), LIST_P),
    ({"b": SCCE}, None, NAMES, DICT_T, DICT_P),
]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "loss, loss_weights, names, y_true, y_pred", LOSSES, ids=range(len(LOSSES))
)
def test_losses(
    loss: Any, loss_weights: Any, names: Any, y_true: Any, y_pred: Any, weight: Any
) -> None:
    ours = CompileLoss(loss, loss_weights, output_names=names)
    their_loss = keras.losses.Huber() if loss is losses.Huber else loss
    theirs = compile_utils.CompileLoss(their_loss, loss_weights, output_names=names)
    expected = theirs(tensors(y_true), tensors(y_pred), None if weight is None else tensors(weight))
    close(ours(y_true, y_pred, weight), expected)
    assert [m.name for m in ours.metrics] == [m.name for m in theirs.metrics]
    for m, k in zip(ours.metrics, theirs.metrics, strict=True):
        close(m.result(), k.result())


def test_losses_traced() -> None:
    ours = CompileLoss(["mse", SCCE], [0.5, 2.0], output_names=NAMES)
    ours.build(LIST_T, LIST_P)
    found = traced(lambda t, u, p, q, w: ours([t, u], [p, q], w), *LIST_T, *LIST_P, WEIGHT)[0]
    theirs = compile_utils.CompileLoss(["mse", SCCE], [0.5, 2.0], output_names=NAMES)
    close(found, theirs(tensors(LIST_T), tensors(LIST_P), tensors(WEIGHT)))
    for m, k in zip(ours.metrics, theirs.metrics, strict=True):
        close(m.result(), k.result())


def test_several_losses_of_one_output_add_up() -> None:
    found = CompileLoss(["mse", "mae"], output_names=["a"])(A_TRUE, A_PRED)
    close(found, np.mean((A_TRUE - A_PRED) ** 2) + np.mean(np.abs(A_TRUE - A_PRED)))


def test_weights_for_each_output() -> None:
    ours = CompileLoss(["mse", SCCE], output_names=NAMES)
    theirs = compile_utils.CompileLoss(["mse", SCCE], output_names=NAMES)
    close(
        ours(LIST_T, LIST_P, [WEIGHT, WEIGHT * 2]),
        theirs(tensors(LIST_T), tensors(LIST_P), tensors([WEIGHT, WEIGHT * 2])),
    )


def test_targets_only_for_outputs_with_a_loss() -> None:
    ours = CompileLoss(["mse", None], output_names=NAMES)
    close(ours([A_TRUE], LIST_P), np.mean((A_TRUE - A_PRED) ** 2))


@pytest.mark.parametrize(
    "loss, loss_weights, y_true",
    [
        ({"a": "mse", "c": SCCE}, None, LIST_T),
        ({"a": "mse"}, None, LIST_T),
        (["mse", SCCE, "mae"], None, LIST_T),
        (["mse", SCCE], [1.0], LIST_T),
        (["mse", SCCE], 2.0, LIST_T),
        (["mse", SCCE], None, [A_TRUE]),
        (["mse", SCCE], None, {"a": A_TRUE, "c": B_TRUE}),
    ],
)
def test_mismatched_losses(loss: Any, loss_weights: Any, y_true: Any) -> None:
    with pytest.raises(ValueError, match="what to do"):
        CompileLoss(loss, loss_weights, output_names=NAMES)(y_true, LIST_P)


def test_unknown_names_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="mean_squared_error"):
        CompileLoss("mean_squard_error")
    with pytest.raises(ValueError, match="accuracy"):
        CompileMetrics(["acuracy"], None)
    with pytest.raises(ValueError, match="list"):
        CompileMetrics("accuracy", None)
    with pytest.raises(ValueError, match="loss_weights"):
        CompileLoss("mse", loss_weights="many")


def own_metric(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def their_metric(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


their_metric.__name__ = "own_metric"

HOT = np.eye(3, dtype="f4")[B_TRUE]
BIT, CHANCE = R.integers(0, 2, N).astype("i4"), R.random((N, 1)).astype("f4")
METRICS: list[tuple[Any, Any, Any, Any, Any]] = [
    # metrics, weighted_metrics, output_names, y_true, y_pred
    (["mse"], None, ["a"], A_TRUE, A_PRED),
    (["mse", "mae", "MeanSquaredError"], None, ["a"], A_TRUE, A_PRED),
    (["mse", "mse", "mse"], None, ["a"], A_TRUE, A_PRED),
    (["mse"], ["mse"], ["a"], A_TRUE, A_PRED),
    (["mse"], ["mse", "mse", "mae"], ["a"], A_TRUE, A_PRED),
    (["accuracy"], None, ["b"], B_TRUE, B_PRED),
    (["acc"], ["accuracy"], ["b"], B_TRUE, B_PRED),
    (["accuracy"], None, ["b"], HOT, B_PRED),
    (["accuracy"], None, ["b"], BIT, CHANCE),
    (["accuracy"], None, ["b"], BIT[:, None], CHANCE),
    ({"b": ["accuracy"]}, None, ["b"], B_TRUE, B_PRED),
    ([["mse", "mae"], ["accuracy"]], None, NAMES, LIST_T, LIST_P),
    (["mse", "accuracy"], None, NAMES, LIST_T, LIST_P),
    ({"a": "mse", "b": ["accuracy", SCCE]}, None, NAMES, LIST_T, LIST_P),
    ({"b": "accuracy"}, None, NAMES, LIST_T, LIST_P),
    ({"b": "accuracy"}, {"b": ["accuracy"], "a": ["mse"]}, NAMES, LIST_T, LIST_P),
    ([None, "accuracy"], ["mse", None], NAMES, LIST_T, LIST_P),
    ({"a": "mse", "b": ["accuracy"]}, None, None, DICT_T, DICT_P),
    ({"a": "mse", "b": ["accuracy"]}, None, NAMES, DICT_T, DICT_P),
    ([["mse"], ["accuracy"]], [["mse"], ["accuracy"]], None, LIST_T, LIST_P),
    ([], None, NAMES, LIST_T, LIST_P),
    (None, None, None, A_TRUE, A_PRED),
]


@pytest.mark.parametrize("given, weighted, names, y_true, y_pred", METRICS, ids=range(len(METRICS)))
def test_metrics(given: Any, weighted: Any, names: Any, y_true: Any, y_pred: Any) -> None:
    ours = CompileMetrics(given, weighted, output_names=names)
    theirs = compile_utils.CompileMetrics(given, weighted, output_names=names)
    for _ in range(2):
        ours.update_state(y_true, y_pred, WEIGHT)
        theirs.update_state(tensors(y_true), tensors(y_pred), tensors(WEIGHT))
    found, expected = ours.result(), theirs.result()
    assert list(found) == list(expected)
    for key, value in expected.items():
        close(found[key], value)
    assert [m.name for m in ours.metrics] == [m.name for m in theirs.metrics]


def test_objects_and_functions() -> None:
    ours = CompileMetrics(
        [own_metric, metrics.MeanSquaredError(name="m"), metrics.AUC, losses.Huber()], None
    )
    theirs = compile_utils.CompileMetrics(
        [
            their_metric,
            keras.metrics.MeanSquaredError(name="m"),
            keras.metrics.AUC(),
            keras.losses.Huber(),
        ],
        None,
    )
    y_true, y_pred = (A_TRUE > 0).astype("f4"), 1 / (1 + np.exp(-A_PRED))
    ours.update_state(y_true, y_pred)
    theirs.update_state(tensors(y_true), tensors(y_pred))
    assert [k.split("_")[0] for k in ours.result()] == [k.split("_")[0] for k in theirs.result()]
    for a, b in zip(ours.result().values(), theirs.result().values(), strict=True):
        close(a, b)


@pytest.mark.parametrize(
    "given", [["mse"], ["mse", "mae", "mse"], {"c": "mse"}, {"a": "mse", "c": "mse"}]
)
def test_mismatched_metrics(given: Any) -> None:
    with pytest.raises(ValueError, match="what to do"):
        CompileMetrics(given, None, output_names=NAMES).update_state(LIST_T, LIST_P)


def test_keys_of_a_real_history() -> None:
    x = keras.Input((3,))
    a, b = (
        keras.layers.Dense(2, name="a")(x),
        keras.layers.Dense(3, activation="softmax", name="b")(x),
    )
    model = keras.Model(x, [a, b])
    arguments: dict[str, Any] = {
        "loss": {"a": "mse", "b": SCCE},
        "metrics": {"a": ["mae"], "b": ["accuracy"]},
        "weighted_metrics": {"b": ["accuracy"]},
    }
    model.compile("sgd", **arguments)
    history = model.fit(
        R.normal(size=(N, 3)), {"a": A_TRUE, "b": B_TRUE}, verbose=0, epochs=1, batch_size=N
    )
    ours = CompileLoss(arguments["loss"], output_names=NAMES)
    ours(LIST_T, LIST_P)
    own = CompileMetrics(arguments["metrics"], arguments["weighted_metrics"], output_names=NAMES)
    own.update_state(LIST_T, LIST_P)
    keys = ["loss", *(m.name for m in ours.metrics), *own.result()]
    assert sorted(keys) == sorted(history.history)
    assert plain(own.result())


def test_a_wrong_name_for_the_only_output_is_refused() -> None:
    with pytest.raises(ValueError, match=r"named \['a'\]"):
        CompileLoss("mse", output_names=["a"])({"wrong": A_TRUE}, A_PRED)
    close(
        CompileLoss("mse", output_names=["a"])({"a": A_TRUE}, A_PRED),
        np.mean((A_TRUE - A_PRED) ** 2),
    )


@pytest.mark.parametrize("arguments", [{"run_eagerly": True}, {"steps_per_execution": 8}])
def test_what_changes_nothing_says_so(arguments: dict[str, Any]) -> None:
    model = Sequential([Input((2,)), Dense(1)])
    with pytest.warns(UserWarning, match="changes nothing"):
        model.compile("sgd", "mse", **arguments)
    model.compile("sgd", "mse", jit_compile=False)

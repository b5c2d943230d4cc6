"""Losses, metrics and optimizers inside compiled training steps, against `fit` of real Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from tests.training.oracle import close, keras

ROWS, BATCH, EPOCHS = 20, 8, 2
R = np.random.default_rng(21)
X = R.normal(size=(ROWS, 6)).astype("f4")
LABELS = R.integers(0, 3, ROWS).astype("i4")
NUMBERS = R.normal(size=(ROWS, 3)).astype("f4")
BITS = R.integers(0, 2, (ROWS, 3)).astype("f4")
WEIGHTS = R.random(ROWS).astype("f4")


def both(make: Any, x: Any, y: Any, **fit: Any) -> tuple[Any, Any]:
    """Fit the model that `make` builds with either package from equal weights; compare everything."""
    theirs, ours = make(keras), make(kcompile)
    ours.set_weights(theirs.get_weights())
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0, **fit}
    expected = theirs.fit(x, y, **arguments).history
    found = ours.fit(x, y, **arguments).history
    assert list(found) == list(expected)
    for key, values in expected.items():
        close(found[key], values, rtol=1e-4, atol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        close(a, b, rtol=1e-3, atol=2e-5)
    weight: dict[str, Any] = (
        {"sample_weight": fit["sample_weight"]} if "sample_weight" in fit else {}
    )
    weight |= {"verbose": 0, "batch_size": BATCH, "return_dict": True}
    results = theirs.evaluate(x, y, **weight)
    evaluated = ours.evaluate(x, y, **weight)
    assert sorted(evaluated) == sorted(results)
    for key, value in results.items():
        close(evaluated[key], value, rtol=1e-4, atol=1e-5)
    return ours, theirs


def dense(k: Any, activation: Any, **compiling: Any) -> Any:
    layers = [k.layers.Dense(8, activation="tanh"), k.layers.Dense(3, activation=activation)]
    model = k.Sequential([k.Input((6,)), *layers])
    model.compile(**compiling)
    return model


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"global_clipnorm": 0.1}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}),
    ("Adam", {"gradient_accumulation_steps": 2}),
    ("Adam", {"clipnorm": 0.05, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.1, "learning_rate": 0.01}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Nadam", {}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Lion", {}),
]


@pytest.mark.parametrize(
    "name, kwargs", OPTIMIZERS, ids=[f"{n}-{'-'.join(k)}" for n, k in OPTIMIZERS]
)
def test_optimizers(name: str, kwargs: Any) -> None:
    def make(k: Any) -> Any:
        return dense(k, None, optimizer=getattr(k.optimizers, name)(**kwargs), loss="mse")

    ours, theirs = both(make, X, NUMBERS)
    for a, b in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        close(a.numpy(), b.numpy(), rtol=1e-3, atol=2e-5)


def test_schedule() -> None:
    def make(k: Any) -> Any:
        schedule = k.optimizers.schedules.CosineDecay(0.1, 5, warmup_target=0.3, warmup_steps=2)
        return dense(k, None, optimizer=k.optimizers.SGD(schedule), loss="mse")

    both(make, X, NUMBERS)


def test_loss_scale() -> None:
    def make(k: Any) -> Any:
        inner = k.optimizers.Adam(0.01)
        return dense(k, None, optimizer=k.optimizers.LossScaleOptimizer(inner), loss="mse")

    both(make, X, NUMBERS)


@pytest.mark.parametrize("weighted", [False, True])
def test_classification(weighted: bool) -> None:
    def make(k: Any) -> Any:
        metrics = [
            "accuracy",
            k.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2"),
            "sparse_categorical_crossentropy",
        ]
        return dense(
            k, "softmax", optimizer="sgd", loss="sparse_categorical_crossentropy",
            metrics=metrics, weighted_metrics=["accuracy"],
        )  # fmt: skip

    both(make, X, LABELS, **({"sample_weight": WEIGHTS} if weighted else {}))


def test_detection() -> None:
    def make(k: Any) -> Any:
        metrics = [
            "accuracy",
            k.metrics.AUC(name="auc"),
            k.metrics.AUC(curve="PR", multi_label=True, name="pr"),
            k.metrics.Precision(name="precision"),
            k.metrics.Recall(thresholds=0.4, name="recall"),
            k.metrics.F1Score(average="macro", threshold=0.5),
            k.metrics.FalsePositives(name="fp"),
        ]
        loss = k.losses.BinaryCrossentropy(label_smoothing=0.1)
        return dense(k, "sigmoid", optimizer="adam", loss=loss, metrics=metrics)

    both(make, X, BITS, sample_weight=WEIGHTS)


def test_regression() -> None:
    def make(k: Any) -> Any:
        metrics = [
            "mae",
            k.metrics.RootMeanSquaredError(),
            k.metrics.R2Score(),
            k.metrics.CosineSimilarity(),
        ]
        return dense(k, None, optimizer="sgd", loss=k.losses.Huber(0.5), metrics=metrics)

    both(make, X, NUMBERS)


def test_masked_sequences() -> None:
    tokens = R.integers(0, 5, (ROWS, 7)).astype("i4")
    tags = R.integers(0, 3, (ROWS, 7)).astype("i4")

    def make(k: Any) -> Any:
        model = k.Sequential(
            [
                k.Input((7,), dtype="int32"),
                k.layers.Embedding(5, 4, mask_zero=True),
                k.layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    both(make, tokens, tags)


def test_dicts_of_outputs() -> None:
    def make(k: Any) -> Any:
        x = k.Input((6,))
        hidden = k.layers.Dense(5, activation="tanh")(x)
        outputs = {
            "tag": k.layers.Dense(3, activation="softmax", name="tag")(hidden),
            "box": k.layers.Dense(3, name="box", kernel_regularizer="l2")(hidden),
        }
        model = k.Model(x, outputs)
        model.compile(
            "sgd",
            {"tag": "sparse_categorical_crossentropy", "box": "mse"},
            loss_weights={"tag": 1.0, "box": 0.3},
            metrics={"tag": ["accuracy"], "box": ["mae"]},
        )
        return model

    both(make, X, {"tag": LABELS, "box": NUMBERS})


def test_own_loss_and_metric() -> None:
    def make(k: Any) -> Any:
        def cubes(y_true: Any, y_pred: Any) -> Any:
            return k.ops.mean(k.ops.power(k.ops.abs(y_true - y_pred), 3), axis=-1)

        class Bias(k.metrics.Metric):
            def __init__(self) -> None:
                super().__init__(name="bias")
                self.total = self.add_weight(name="total", initializer="zeros", shape=())

            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                self.total.assign_add(k.ops.mean(y_pred - y_true))

            def result(self) -> Any:
                return self.total

        return dense(k, None, optimizer="sgd", loss=cubes, metrics=[Bias(), cubes])

    both(make, X, NUMBERS)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str) -> None:
    def make(k: Any) -> Any:
        k.mixed_precision.set_global_policy(policy)
        try:
            loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
            return dense(k, None, optimizer=k.optimizers.Adam(0.02), loss=loss)
        finally:
            k.mixed_precision.set_global_policy("float32")

    theirs, ours = make(keras), make(kcompile)
    assert type(ours.optimizer).__name__ == type(theirs.optimizer).__name__
    ours.set_weights(theirs.get_weights())
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    close(
        ours.fit(X, LABELS, **arguments).history["loss"],
        theirs.fit(X, LABELS, **arguments).history["loss"],
        rtol=5e-3,
    )


def test_compile_configs_are_exchanged_with_keras() -> None:
    def make(k: Any) -> Any:
        return dense(
            k,
            "softmax",
            optimizer=k.optimizers.Adam(
                k.optimizers.schedules.CosineDecay(0.1, 100), clipnorm=1.0, name="adam"
            ),
            loss=k.losses.SparseCategoricalCrossentropy(),
            metrics=["accuracy", k.metrics.SparseTopKCategoricalAccuracy(k=2)],
            weighted_metrics=[k.metrics.SparseCategoricalCrossentropy(name="ce")],
        )

    theirs, ours = make(keras), make(kcompile)
    given, written = theirs.get_compile_config(), ours.get_compile_config()
    assert written["optimizer"]["config"] == given["optimizer"]["config"]
    ours.compile_from_config(given)
    theirs.compile_from_config(written)
    ours.set_weights(theirs.get_weights())
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    found, expected = ours.fit(X, LABELS, **arguments), theirs.fit(X, LABELS, **arguments)
    assert list(found.history) == list(expected.history)
    for key, values in expected.history.items():
        close(found.history[key], values, rtol=1e-4, atol=1e-5)


def test_metric_objects_of_several_outputs_are_reported_once() -> None:
    def make(k: Any) -> Any:
        a = k.Input((6,))
        left, right = k.layers.Dense(3, name="left")(a), k.layers.Dense(3, name="right")(a)
        model = k.Model(a, [left, right])
        metrics = [[k.metrics.RootMeanSquaredError()], ["mae", k.metrics.R2Score(name="r2")]]
        model.compile("sgd", ["mse", "mse"], metrics=metrics)
        return model

    both(make, X, [NUMBERS, NUMBERS])


def test_the_history_is_in_the_order_of_keras() -> None:
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    keys = []
    for k in (kcompile, keras):
        m = k.Sequential([k.Input((2,)), k.layers.Dense(1)])
        m.compile("sgd", "mse", weighted_metrics=["mae", "mse"], metrics=["mae"])
        keys.append(list(m.fit(x, y, validation_data=(x, y), verbose=0).history))
    assert keys[0] == keys[1]

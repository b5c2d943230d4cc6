"""fit, evaluate and predict beside real Keras: the same weights and order give the same histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.layers as our_layers
from kcompile.input_layer import Input
from kcompile.model import Model
from kcompile.sequential import Sequential

keras = pytest.importorskip("keras")


class Ours:
    """The part of the public module that these tests use."""

    layers, Input, Model, Sequential = our_layers, Input, Model, Sequential


KERAS: Any = keras
RNG = np.random.default_rng(3)
X = RNG.standard_normal((50, 6)).astype("float32")
LABELS = RNG.integers(0, 3, 50).astype("int32")
TARGETS = RNG.standard_normal((50, 2)).astype("float32")
WEIGHTS = RNG.random(50).astype("float32")


def classifier(k: Any) -> Any:
    m = k.Sequential([
        k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(3, activation="softmax")
    ])  # fmt: skip
    m.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["sparse_categorical_crossentropy"],
    )
    return m


def two_outputs(k: Any) -> Any:
    a = k.Input((6,), name="a")
    h = k.layers.Dense(5, activation="tanh")(a)
    left, right = k.layers.Dense(3, name="left")(h), k.layers.Dense(2, name="right")(h)
    m = k.Model(a, [left, right])
    m.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.5], metrics=[["mae"], ["mse"]])
    return m


def pair(build: Any) -> tuple[Any, Any]:
    theirs, ours = build(KERAS), build(Ours)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    return theirs, ours


def agree(theirs: Any, ours: Any) -> None:
    assert list(ours) == list(theirs)
    for k, v in theirs.items():
        np.testing.assert_allclose(ours[k], v, rtol=2e-4, atol=2e-5, err_msg=k)


CASES: dict[str, dict[str, Any]] = {
    "partial batch": {"batch_size": 16},
    "validation split": {"batch_size": 16, "validation_split": 0.3},
    "validation data": {"validation_data": (X[:20], LABELS[:20]), "validation_batch_size": 7},
    "weighted validation": {"validation_data": (X[:20], LABELS[:20], WEIGHTS[:20])},
    "validation every second": {"validation_split": 0.2, "validation_freq": 2},
    "validation at": {"validation_split": 0.2, "validation_freq": [1, 3]},
    "sample weight": {"sample_weight": WEIGHTS, "batch_size": 20},
    "class weight": {"class_weight": {0: 0.5, 1: 2.0}, "batch_size": 20},
    "steps": {"steps_per_epoch": 2, "batch_size": 10},
    "later epoch": {"initial_epoch": 1},
    "validation steps": {
        "validation_data": (X, LABELS),
        "validation_steps": 2,
        "validation_batch_size": 8,
    },
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("name", CASES)
def test_history(name: str) -> None:
    theirs, ours = pair(classifier)
    kwargs = {"epochs": 3, "shuffle": False, "verbose": 0, **CASES[name]}
    a, b = theirs.fit(X, LABELS, **kwargs), ours.fit(X, LABELS, **kwargs)
    assert b.epoch == a.epoch
    agree(a.history, b.history)
    for v, w in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("style", ["list", "array", "dict"])
def test_several_outputs(style: str) -> None:
    theirs, ours = pair(two_outputs)
    y = [np.eye(3, dtype="float32")[LABELS], TARGETS]
    given = {"left": y[0], "right": y[1]} if style == "dict" else y
    x = {"a": X} if style == "dict" else [X] if style == "list" else X
    kwargs = {
        "epochs": 2,
        "shuffle": False,
        "verbose": 0,
        "batch_size": 16,
        "validation_split": 0.2,
    }
    a, b = theirs.fit(x, given, **kwargs), ours.fit(x, given, **kwargs)
    agree(a.history, b.history)
    agree(
        theirs.evaluate(x, given, verbose=0, return_dict=True),
        ours.evaluate(x, given, verbose=0, return_dict=True),
    )
    np.testing.assert_allclose(
        ours.evaluate(x, given, verbose=0),
        theirs.evaluate(x, given, verbose=0),
        rtol=2e-4,
        atol=1e-5,
    )
    for p, q in zip(theirs.predict(x, verbose=0), ours.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)


def test_generators_and_on_batch() -> None:
    theirs, ours = pair(classifier)

    def batches() -> Any:
        while True:
            for i in range(0, 50, 10):
                yield X[i : i + 10], LABELS[i : i + 10]

    kwargs = {"epochs": 2, "steps_per_epoch": 4, "verbose": 0, "shuffle": False}
    a, b = theirs.fit(batches(), **kwargs), ours.fit(batches(), **kwargs)
    agree(a.history, b.history)
    kwargs = {"steps": 3, "verbose": 0, "return_dict": True}
    agree(theirs.evaluate(batches(), **kwargs), ours.evaluate(batches(), **kwargs))
    np.testing.assert_allclose(ours.predict(batches(), steps=3, verbose=0), theirs.predict(batches(), steps=3, verbose=0), rtol=1e-4, atol=1e-5)  # fmt: skip
    for method in ("train_on_batch", "test_on_batch"):
        for more in ({}, {"sample_weight": WEIGHTS[:9]}):
            got = getattr(ours, method)(X[:9], LABELS[:9], return_dict=True, **more)
            agree(getattr(theirs, method)(X[:9], LABELS[:9], return_dict=True, **more), got)
        np.testing.assert_allclose(getattr(ours, method)(X[:9], LABELS[:9]), getattr(theirs, method)(X[:9], LABELS[:9]), rtol=2e-4)  # fmt: skip
    np.testing.assert_allclose(
        ours.predict_on_batch(X[:4]), theirs.predict_on_batch(X[:4]), rtol=1e-4, atol=1e-5
    )


class Recorder:
    """Every event of a `Callback` class, as (name, index, keys of the logs)."""

    def __new__(cls, base: Any, events: list[Any]) -> Any:
        def method(name: str) -> Any:
            def record(self: Any, *args: Any, **kwargs: Any) -> None:
                logs = kwargs.get("logs", args[-1] if args else None)
                keys = sorted(logs) if isinstance(logs, dict) else None
                index = args[0] if args and isinstance(args[0], int) else None
                events.append((name, index, keys or None))

            return record

        names = [
            n for n in dir(base) if n.startswith("on_") and "_batch_" in n.replace("on_batch", "x")
        ]
        names += [n for n in dir(base) if n.startswith("on_") and "batch" not in n]
        return type("Recorder", (base,), {n: method(n) for n in names})()


def test_events_come_in_the_order_of_keras() -> None:
    from kcompile.callbacks import Callback

    theirs, ours = pair(classifier)
    seen: list[list[Any]] = []
    for model, base in ((theirs, KERAS.callbacks.Callback), (ours, Callback)):
        events: list[Any] = []
        recorder = Recorder(base, events)
        model.fit(
            X,
            LABELS,
            epochs=2,
            batch_size=25,
            validation_split=0.5,
            verbose=0,
            callbacks=[recorder],
            shuffle=False,
        )
        model.evaluate(X, LABELS, verbose=0, callbacks=[recorder])
        model.predict(X, verbose=0, callbacks=[recorder])
        seen.append(events)
    assert seen[1] == seen[0]


def test_a_callback_of_real_keras_works() -> None:
    _, ours = pair(classifier)
    found: list[float] = []
    ours.fit(X, LABELS, epochs=2, verbose=0, callbacks=[KERAS.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: found.append(logs["loss"]))])  # fmt: skip
    assert len(found) == 2

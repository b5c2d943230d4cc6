"""Callbacks: what each does, beside real Keras where numbers can be compared, and the lines of progress."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile.callbacks as callbacks
import kcompile.layers as layers
from kcompile.callbacks.callback import overrides
from kcompile.callbacks.callback_list import CallbackList
from kcompile.input_layer import Input
from kcompile.saving.loading import load_model
from kcompile.sequential import Sequential

keras = pytest.importorskip("keras")
KERAS: Any = keras


class Model:
    """A model for callbacks alone: a learning rate, weights, and what they save."""

    name, compiled, metrics = "m", True, ()

    class Optimizer:
        learning_rate: Any = 1.0

    def __init__(self) -> None:
        self.optimizer, self.stop_training, self.history = self.Optimizer(), False, None
        self.weights, self.saved = [0], []

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, w: list[int]) -> None:
        self.weights = list(w)

    def save(self, path: str, overwrite: bool = True) -> None:
        self.saved.append(path)

    save_weights = save


def drive(callback: Any, values: list[float], key: str = "val_loss") -> tuple[Model, list[float]]:
    """Run `callback` over epochs with these values; the model and the learning rates."""
    model, rates = Model(), []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, v in enumerate(values):
        model.weights = [epoch]
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {key: v, "loss": v})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    callback.on_train_end()
    return model, rates


CURVES = [
    [3.0, 2.0, 2.0, 2.1, 1.0, 1.5, 1.6, 1.7, 1.8, 1.9],
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, 0.99, 0.98, 0.97, 0.96, 0.5, 0.51, 0.52, 0.53],
]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "kwargs",
    [
        {"patience": 2}, {"patience": 1, "min_delta": 0.05}, {"patience": 2, "mode": "max"},
        {"patience": 1, "baseline": 1.5}, {"patience": 2, "start_from_epoch": 3},
        {"patience": 2, "restore_best_weights": True}, {"patience": 0},
    ],
)  # fmt: skip
def test_early_stopping_stops_where_keras_does(curve: list[float], kwargs: dict[str, Any]) -> None:
    ours, theirs = callbacks.EarlyStopping(**kwargs), KERAS.callbacks.EarlyStopping(**kwargs)
    a, _ = drive(ours, curve)
    b, _ = drive(theirs, curve)
    assert (a.stop_training, a.weights) == (b.stop_training, b.weights)
    assert (ours.stopped_epoch, ours.best_epoch, ours.best) == (
        theirs.stopped_epoch,
        theirs.best_epoch,
        theirs.best,
    )


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "kwargs",
    [
        {"patience": 1},
        {"patience": 2, "cooldown": 2},
        {"patience": 1, "min_lr": 0.05, "factor": 0.5},
    ],
)
def test_reduce_lr_as_keras(curve: list[float], kwargs: dict[str, Any]) -> None:
    _, ours = drive(callbacks.ReduceLROnPlateau(**kwargs), curve)
    _, theirs = drive(KERAS.callbacks.ReduceLROnPlateau(**kwargs), curve)
    np.testing.assert_allclose(ours, theirs)


def test_learning_rate_scheduler_takes_both_forms() -> None:
    assert drive(callbacks.LearningRateScheduler(lambda e, lr: lr * 0.5), [1.0] * 3)[1] == [
        0.5,
        0.25,
        0.125,
    ]
    assert drive(callbacks.LearningRateScheduler(lambda e: 1.0 / (e + 1)), [1.0] * 2)[1] == [
        1.0,
        0.5,
    ]
    with pytest.raises(ValueError, match="float"):
        drive(callbacks.LearningRateScheduler(lambda e: "fast"), [1.0])


def test_checkpoint_names_and_best_only() -> None:
    model, _ = drive(callbacks.ModelCheckpoint("m-{epoch:02d}-{val_loss:.2f}.keras"), [1.0, 2.0])
    assert model.saved == ["m-01-1.00.keras", "m-02-2.00.keras"]
    model, _ = drive(
        callbacks.ModelCheckpoint(
            "m-{epoch}.weights.h5", save_best_only=True, save_weights_only=True
        ),
        [3.0, 4.0, 2.0],
    )
    assert model.saved == ["m-1.weights.h5", "m-3.weights.h5"]
    for bad in (
        {"filepath": "m"},
        {"filepath": "m.keras", "save_weights_only": True},
        {"filepath": "m.keras", "save_freq": "batch"},
    ):
        with pytest.raises(ValueError):
            callbacks.ModelCheckpoint(**bad)
    with pytest.raises(KeyError, match="val_acc"):
        drive(callbacks.ModelCheckpoint("{val_acc}.keras"), [1.0])


def test_csv(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.csv", tmp_path / "b.csv"
    drive(callbacks.CSVLogger(ours), [1.0, 2.0])
    drive(callbacks.CSVLogger(ours, append=True), [3.0])
    drive(KERAS.callbacks.CSVLogger(theirs), [1.0, 2.0])
    drive(KERAS.callbacks.CSVLogger(theirs, append=True), [3.0])
    assert ours.read_text().split() == theirs.read_text().split()


def test_terminate_on_nan_and_lambda() -> None:
    c = callbacks.TerminateOnNaN()
    model = Model()
    c.set_model(model)
    c.on_train_batch_end(0, {"loss": 1.0})
    assert not model.stop_training
    c.on_train_batch_end(1, {"loss": math.nan})
    assert model.stop_training
    with pytest.raises(RuntimeError, match="batch 3"):
        callbacks.TerminateOnNaN(raise_error=True).on_train_batch_end(3, {"loss": math.inf})
    with pytest.raises(TypeError, match="on_epoch_ends"):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_only_overridden_events_are_called() -> None:
    class Old(callbacks.Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    assert overrides(Old(), "on_train_batch_end") and not overrides(Old(), "on_train_batch_begin")
    assert overrides(callbacks.LambdaCallback(on_train_batch_begin=print), "on_train_batch_begin")
    quiet = CallbackList(
        [callbacks.ModelCheckpoint("m.keras"), callbacks.EarlyStopping()], add_history=True
    )
    assert not quiet.wants("on_train_batch_end") and not quiet.wants("on_test_batch_begin")
    assert CallbackList([callbacks.TerminateOnNaN()]).wants_logs("on_train_batch_end")
    with pytest.raises(TypeError, match="parentheses"):
        CallbackList([callbacks.EarlyStopping])


X, Y = np.ones((40, 4), "float32"), np.zeros((40, 1), "float32")


def small() -> Any:
    m = Sequential([Input((4,)), layers.Dense(1)])
    m.compile("sgd", "mse", metrics=["mae"])
    return m


def test_progress_in_a_pipe_is_one_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    m = small()
    m.fit(X, Y, epochs=3, validation_split=0.5)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert not out and len(lines) == 3 and not any(c in err for c in "\b\r\x1b")
    assert (
        lines[0].startswith("Epoch 1/3:  loss ")
        and "val_mae" in lines[0]
        and "to compile" in lines[0]
    )
    assert "to compile" not in lines[2] and "samples/s" in lines[2]
    m.evaluate(X, Y)
    m.predict(X)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "Evaluate",
        "Predict",
    ]
    m.fit(X, Y, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("kcompile.callbacks.progbar_logger.INTERVAL", 0.0)
    small().fit(X, Y, epochs=2, batch_size=4)
    assert "Epoch 2/2:  loss" in capsys.readouterr().err


def test_many_batches_run_at_once_unless_each_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    class Samples(callbacks.Callback):
        """Hears of some batches, as the bar does."""

        hears_each_batch = reads_batch_logs = False

        def __init__(self) -> None:
            super().__init__()
            self.heard: list[int] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.heard.append(batch)

    class Each(Samples):
        hears_each_batch = True

    fitted: list[Any] = []
    for one in (Samples(), Each()):
        m = small()
        if fitted:
            m.set_weights(fitted[0][1])
        first = m.get_weights()
        m.fit(X, Y, batch_size=1, epochs=2, verbose=0, shuffle=False, callbacks=[one])
        fitted.append((one, first, m.get_weights()))
    (some, _, got), (every, _, want) = fitted
    n = len(X)
    assert every.heard == [*range(n), *range(n)]
    assert some.heard == sorted(set(some.heard[: len(some.heard) // 2])) * 2
    assert some.heard[-1] == n - 1 and len(some.heard) < n
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_is_restored_where_it_was_interrupted(tmp_path: Path) -> None:
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    straight, broken = small(), small()
    broken.set_weights(straight.get_weights())
    kwargs = {"epochs": 4, "verbose": 0, "shuffle": False}
    want = straight.fit(X, Y, **kwargs).history["loss"]
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, callbacks=[callbacks.BackupAndRestore(tmp_path / "b"), Stop()], **kwargs)
    again = small().fit(X, Y, callbacks=[callbacks.BackupAndRestore(tmp_path / "b")], **kwargs)
    assert again.epoch == [2, 3]
    np.testing.assert_allclose(again.history["loss"], want[2:], rtol=1e-6)
    assert not (tmp_path / "b").exists()


def test_checkpoints_of_a_real_model(tmp_path: Path) -> None:
    m = small()
    path = tmp_path / "new" / "best.keras"
    h = m.fit(
        X,
        Y,
        epochs=2,
        verbose=0,
        validation_split=0.5,
        callbacks=[callbacks.ModelCheckpoint(path, save_best_only=True)],
    )
    assert load_model(path).evaluate(X[20:], Y[20:], verbose=0)[0] == pytest.approx(
        min(h.history["val_loss"]), rel=1e-5
    )
    every = callbacks.ModelCheckpoint(
        tmp_path / "b{batch}.weights.h5", save_weights_only=True, save_freq=2
    )
    m.fit(X, Y, batch_size=10, verbose=0, callbacks=[every])
    assert sorted(p.name for p in tmp_path.glob("b*")) == ["b2.weights.h5", "b4.weights.h5"]
    early = callbacks.EarlyStopping(
        "val_mae", patience=0, min_delta=1e9, restore_best_weights=True
    )  # nothing is that much better
    stopped = m.fit(X, Y, epochs=50, verbose=0, validation_data=(X, Y), callbacks=[early])
    assert stopped.epoch == [0, 1]

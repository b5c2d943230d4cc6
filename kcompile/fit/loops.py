"""`fit`, `evaluate`, `predict` and the `*_on_batch` functions, with Keras 3's meaning of every argument.

Each takes the model first; the model's methods of the same names call them. Refuses to know what a step
does (`kcompile.step`), where batches come from (`kcompile.fit.sources`) and how one is run (`runner`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

import kcompile.arguments as arguments
import kcompile.config as config
from kcompile.callbacks.callback_list import CallbackList
from kcompile.callbacks.history import History
from kcompile.callbacks.tally import Tally
from kcompile.errors import KCValueError
from kcompile.fit.batch import Batch, unpack
from kcompile.fit.build import ensure_built
from kcompile.fit.checks import Labels
from kcompile.fit.runner import Runner
from kcompile.fit.sources import Arrays, Stream, check_positive, make_batch, source_of
from kcompile.fit.split import split
from kcompile.steps import own
from kcompile.trace import map_structure


def fit(
    model: Any,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool | str = True,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | list[int] = 1,
) -> History:
    """Train the model; see `keras.Model.fit`. Returns the History.

    Raises before anything changes: KC301 for a model that is not compiled, KC303 for data that do not
    fit, KC304 for labels that do not, KC305 for arguments.
    """
    require_compiled(model, "fit")
    epochs = _checked_epochs(epochs)
    if not arguments.is_int(initial_epoch) or initial_epoch < 0:
        raise KCValueError(
            "KC305", f"initial_epoch={initial_epoch!r}", "`initial_epoch` is an integer, at least 0", "pass for example 3",
        )  # fmt: skip
    steps_per_epoch = _checked_steps(steps_per_epoch)
    check_positive("validation_steps", validation_steps)
    check_positive("validation_batch_size", validation_batch_size)
    _check_freq(validation_freq)
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
    source = source_of(
        x,
        y,
        sample_weight,
        batch_size=batch_size,
        steps=steps_per_epoch,
        shuffle=shuffle,
        class_weight=class_weight,
    )
    validation = None
    if validation_data is not None:
        validation = _validation(
            validation_data, validation_batch_size or batch_size, validation_steps
        )
    ensure_built(model, source.first(), training=True)
    _check_labels(model, source)
    if validation is not None:
        _check_labels(model, validation)

    tally = Tally()
    if not isinstance(callbacks, CallbackList):
        callbacks = CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose not in (0, False),
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps_per_epoch or source.num_batches,
            tally=tally,
        )
    runner = Runner(model, "train", tally)
    runner.executable(source.first())  # what cannot be compiled is refused before training begins
    if validation is not None:
        Runner(model, "test", tally).executable(validation.first())
    model.stop_training = False
    logs: dict[str, Any] = {}
    callbacks.on_train_begin()
    start = model.__dict__.pop("_initial_epoch", None) or initial_epoch  # BackupAndRestore sets it
    for epoch in range(start, epochs):
        if isinstance(source, Stream) and source.at_end:
            warnings.warn(
                f"The generator is used up after {epoch - start} of {epochs - start} epochs; training stops. "
                "Pass an iterable that can begin anew, such as a PyDataset or a list of batches.",
                stacklevel=3,
            )
            break
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        runner.more = epoch + 1 < epochs
        runner.run(source, steps_per_epoch, callbacks, runner.results)
        logs = runner.results()
        if validation is not None and _is_due(epoch, validation_freq):
            seen = tally.samples, tally.seconds  # of training: what the epoch's line shows
            found = _evaluate(model, validation, validation_steps, callbacks, tally)
            tally.samples, tally.seconds = seen
            logs = dict(sorted({**logs, **{f"val_{k}": v for k, v in found.items()}}.items()))
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    finalize = getattr(model.optimizer, "finalize_variable_values", None)
    if finalize is not None and epochs > 0:
        finalize(model.trainable_variables)
    callbacks.on_train_end(logs)
    history: History = model.history
    return history


def evaluate(
    model: Any,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    verbose: Any = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    callbacks: Any = None,
    return_dict: bool = False,
) -> Any:
    """Loss and metrics on data: a list (a float for the loss alone), or a dict. Raises as `fit` does."""
    require_compiled(model, "evaluate")
    steps = _checked_steps(steps)
    source = source_of(x, y, sample_weight, batch_size=batch_size, steps=steps)
    ensure_built(model, source.first(), training=False)
    _check_labels(model, source)
    tally = Tally()
    callbacks = _callbacks(model, callbacks, verbose, steps or source.num_batches, tally)
    logs = _evaluate(model, source, steps, callbacks, tally)
    return logs if return_dict else flatten_logs(model, logs)


def predict(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    verbose: Any = "auto",
    steps: int | None = None,
    callbacks: Any = None,
) -> Any:
    """The model's outputs for data, as arrays in the structure of its outputs. Raises as `fit` does."""
    steps = _checked_steps(steps)
    source = source_of(x, batch_size=batch_size, steps=steps)
    specs = source.first()
    ensure_built(model, specs, training=None)
    _check_labels(model, source)
    tally = Tally()
    callbacks = _callbacks(model, callbacks, verbose, steps or source.num_batches, tally)
    runner = Runner(model, "predict", tally)
    exe = runner.executable(Batch(specs.x))
    outputs = runner.step_function.outputs(specs.x)
    model.stop_predicting = False
    callbacks.on_predict_begin()
    source = _only_x(source)
    if runner.is_quiet(source, callbacks) and all(
        a.shape[:1] == (source.batch_size,) for a in exe.results
    ):
        whole = [np.empty((source.samples, *a.shape[1:]), a.dtype) for a in exe.results]
        ran = runner.run(source, steps, callbacks, dict, into=whole)
        whole = [a[: ran * source.batch_size] for a in whole]
    else:
        whole = _collected(runner, source, steps, callbacks, outputs)
    callbacks.on_predict_end()
    return map_structure(lambda i: whole[i], outputs)


def _collected(
    runner: Runner,
    source: Arrays | Stream,
    steps: int | None,
    callbacks: CallbackList,
    outputs: Any,
) -> list[np.ndarray[Any, Any]]:
    """The results of all batches, each result as one array; callbacks see those of each batch."""
    parts: list[list[np.ndarray[Any, Any]]] = []
    wants = callbacks.wants("on_predict_batch_end")

    def keep(exe: Any) -> dict[str, Any]:
        parts.append([a.copy() for a in exe.results])
        return {"outputs": map_structure(lambda i: parts[-1][i], outputs)} if wants else {}

    runner.run(source, steps, callbacks, dict, keep)
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def train_on_batch(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    return_dict: bool = False,
) -> Any:
    """One training step on one batch; returns loss and metrics of that batch. Raises as `fit` does."""
    require_compiled(model, "train_on_batch")
    return _on_batch(
        model, "train", make_batch(Batch(x, y, sample_weight), class_weight), return_dict
    )


def test_on_batch(
    model: Any, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
) -> Any:
    """Loss and metrics of one batch. Raises as `fit` does."""
    require_compiled(model, "test_on_batch")
    return _on_batch(model, "test", make_batch(Batch(x, y, sample_weight)), return_dict)


def predict_on_batch(model: Any, x: Any) -> Any:
    """The outputs for one batch."""
    batch = make_batch(Batch(x))
    ensure_built(model, batch.specs(), training=None)
    Labels(model)(batch)
    runner = Runner(model, "predict", Tally())
    exe = runner.fill(batch)
    exe.step()
    return map_structure(
        lambda i: exe.results[i].copy(), runner.step_function.outputs(batch.specs().x)
    )


def flatten_logs(model: Any, logs: Mapping[str, Any]) -> Any:
    """Logs as Keras lists them: loss first, then by metric; a single value stands alone."""
    names: list[str] = []
    for metric in model.metrics:
        inner = getattr(metric, "metrics", None)
        names += [m.name for m in inner] if inner is not None else [metric.name]
    order = [n for n in dict.fromkeys(names) if n in logs] + sorted(
        k for k in logs if k not in names
    )
    values = [logs[n] for n in order]
    return values[0] if len(values) == 1 else values


def require_compiled(model: Any, what: str) -> None:
    """Raise KCValueError KC301 unless the model is compiled."""
    if not getattr(model, "compiled", False):
        raise KCValueError(
            "KC301", f"{what}() of the model {model.name!r}", "You must call `compile()` before using the model",
            "call model.compile(optimizer=..., loss=...)",
        )  # fmt: skip
    trains = what in ("fit", "train_on_batch")
    if trains and model.optimizer is None and "train_step" not in own(model, "train"):
        raise KCValueError(
            "KC301",
            f"{what}() of the model {model.name!r} compiled with optimizer=None",
            "training needs an optimizer",
            "call model.compile('adam', loss=...)",
        )


def _evaluate(
    model: Any, source: Arrays | Stream, steps: int | None, callbacks: CallbackList, tally: Tally
) -> dict[str, Any]:
    source.reset()
    model.stop_evaluating = False
    runner = Runner(model, "test", tally)
    callbacks.on_test_begin()
    model.reset_metrics()
    runner.run(source, steps, callbacks, runner.results)
    logs = runner.results()
    callbacks.on_test_end(logs)
    return logs


def _on_batch(model: Any, kind: str, batch: Batch, return_dict: bool) -> Any:
    ensure_built(model, batch.specs(), training=kind == "train")
    Labels(model)(batch)
    runner = Runner(model, kind, Tally())
    exe = runner.fill(batch)
    model.reset_metrics()
    exe.step()
    runner.ran = exe
    logs = runner.results()
    return logs if return_dict else flatten_logs(model, logs)


def _validation(data: Any, batch_size: int | None, steps: int | None) -> Arrays | Stream:
    if isinstance(data, (tuple, list)) and not isinstance(data, Batch) and not 2 <= len(data) <= 3:
        raise KCValueError(
            "KC305", f"validation_data of {len(data)} parts", "it is (x, y), (x, y, sample_weight) or an iterable of batches",
            "pass validation_data=(x_val, y_val)",
        )  # fmt: skip
    batch = unpack(data) if isinstance(data, (tuple, list)) else Batch(data)
    return source_of(*batch, batch_size=batch_size, steps=steps)


def _only_x(source: Arrays | Stream) -> Arrays | Stream:
    """`source` without targets and weights, for prediction."""
    if isinstance(source, Arrays):
        source.data = Batch(source.data.x)
    else:
        source.only_x = True
    return source


def _check_labels(model: Any, source: Arrays | Stream) -> None:
    if isinstance(source, Arrays):
        Labels(model)(source.data)


def _callbacks(
    model: Any, callbacks: Any, verbose: Any, steps: int | None, tally: Tally
) -> CallbackList:
    if isinstance(callbacks, CallbackList):
        return callbacks
    return CallbackList(
        callbacks,
        add_progbar=verbose not in (0, False),
        model=model,
        verbose=verbose,
        epochs=1,
        steps=steps,
        tally=tally,
    )


def _checked_epochs(epochs: Any) -> int:
    if not arguments.is_int(epochs) or epochs < 0:
        raise KCValueError(
            "KC305",
            f"epochs={epochs!r}",
            "`epochs` is an integer, at least 0",
            "pass for example epochs=5",
        )
    cap = config.max_epochs()
    if cap and cap < epochs:
        warnings.warn(f"Limiting epochs to {cap}", stacklevel=3)
        return int(cap)
    return int(epochs)


def _checked_steps(steps: Any) -> int | None:
    check_positive("steps", steps)
    cap = config.max_steps_per_epoch()
    if cap and (steps is None or cap < steps):
        warnings.warn(f"Limiting steps_per_epoch to {cap}", stacklevel=3)
        return int(cap)
    return None if steps is None else int(steps)


def _check_freq(freq: Any) -> None:
    if not (arguments.is_int(freq) and freq > 0) and not isinstance(freq, (list, tuple, set)):
        raise KCValueError(
            "KC305", f"validation_freq={freq!r}", "Expected `validation_freq` to be a list or int",
            "pass validation_freq=1",
        )  # fmt: skip


def _is_due(epoch: int, freq: Any) -> bool:
    return (epoch + 1) % freq == 0 if arguments.is_int(freq) else epoch + 1 in freq

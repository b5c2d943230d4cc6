"""What a step of a model does, on traced tensors: the methods `train_step`, `test_step` and `predict_step` of models,
which a model may define itself.

`one`, the step that is traced, is the model's own where it has one; what that returns are the logs of a batch, as in Keras. Refuses to
trace (`kcompile.step`) and to read results (`kcompile.fit`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from ir.graph import at
from ir.ops import size
from kcompile.errors import KCNotImplementedError, KCTypeError
from kcompile.fit.batch import pack, unpack
from kcompile.gradient_tape import gradients
from kcompile.tensor import Tensor
from kcompile.trace import leaves, map_structure

_OWN = {
    "train": ("train_step", "compute_metrics"),
    "test": ("test_step", "compute_metrics"),
    "predict": ("predict_step",),
}


def own(model: Any, kind: str) -> list[str]:
    """The methods of a step of this kind that the model defines itself."""
    return [name for name in _OWN[kind] if _defines(model, name)]


def refuse_functions(model: Any, kind: str) -> None:
    """Raise KCNotImplementedError KC109 for a model that defines the loop around its steps."""
    name = f"make_{kind}_function"
    if _defines(model, name):
        raise KCNotImplementedError(
            "KC109", f"{type(model).__name__}.{name}", "a step is compiled with the loop around it, which is not overridden",
            f"define {kind}_step, which is traced once and compiled",
        )  # fmt: skip


def _defines(model: Any, name: str) -> bool:
    found = getattr(type(model), name, None)
    return found is not None and not found.__module__.startswith("kcompile.")


def one(model: Any, kind: str, x: Any, y: Any, sample_weight: Any) -> Any:
    """The step on a batch: predictions, or logs as a dict of tensors; none where metrics hold them all."""
    data = pack(x, y, sample_weight)
    if kind == "predict":
        return model.predict_step(data)
    if own(model, kind):
        logs = model.train_step(data) if kind == "train" else model.test_step(data)
        return _logs(model, kind, logs)
    (_train if kind == "train" else _test)(model, x, y, sample_weight, model.update_metrics)
    return {}


def train_step(model: Any, data: Any) -> dict[str, Any]:
    """One step of training on a batch `x`, (x, y) or (x, y, sample_weight); returns the metrics by name."""
    x, y, sample_weight = unpack(data)
    predicted = _train(model, x, y, sample_weight)
    logs: dict[str, Any] = model.compute_metrics(x, y, predicted, sample_weight=sample_weight)
    return logs


def test_step(model: Any, data: Any) -> dict[str, Any]:
    """Loss and metrics of a batch, see `train_step`."""
    x, y, sample_weight = unpack(data)
    predicted = _test(model, x, y, sample_weight)
    logs: dict[str, Any] = model.compute_metrics(x, y, predicted, sample_weight=sample_weight)
    return logs


def predict_step(model: Any, data: Any) -> Any:
    """The outputs for a batch."""
    return model(unpack(data)[0], training=False)


def _train(model: Any, x: Any, y: Any, sample_weight: Any, update: Any = None) -> Any:
    """Forward, loss, metrics (`update`, where given) and the optimizer's update; returns the predictions."""
    predicted, loss = _loss(model, x, y, sample_weight, training=True)
    if update is not None:
        with at("metrics"):
            update(y, predicted, sample_weight)
    variables = model.trainable_variables
    if variables:
        optimizer = model.optimizer
        with at("loss"):
            found = gradients([optimizer.scale_loss(loss)], variables)
        with at("optimizer"):
            grads = [
                ops.zeros(v.shape, dtype=v.dtype) if g is None else g
                for v, g in zip(variables, found, strict=True)
            ]
            optimizer.apply(grads, variables)
    return predicted


def _test(model: Any, x: Any, y: Any, sample_weight: Any, update: Any = None) -> Any:
    predicted, _ = _loss(model, x, y, sample_weight, training=False)
    if update is not None:
        with at("metrics"):
            update(y, predicted, sample_weight)
    return predicted


def _loss(model: Any, x: Any, y: Any, sample_weight: Any, training: bool) -> tuple[Any, Any]:
    """The predictions, and the loss, which the model's tracker has seen."""
    predicted = model(x, training=training)
    with at("loss"):
        loss = model.compute_loss(
            x=x, y=y, y_pred=predicted, sample_weight=sample_weight, training=training
        )
        rows = Tensor(size(dim=leaves(x)[0].dims[0], dtype="f32"))
        model.loss_tracker.update_state(loss, sample_weight=rows)
    return predicted, loss


def _logs(model: Any, kind: str, logs: Any) -> Any:
    """What a step of the model's own gave, as tensors. Raises KCTypeError KC203 for what is no dict."""
    if not isinstance(logs, dict):
        raise KCTypeError(
            "KC203", f"{type(model).__name__}.{kind}_step, which returned {logs!r}", "a step returns a dict of names and numbers",
            "return for example {m.name: m.result() for m in self.metrics}",
        )  # fmt: skip
    return map_structure(ops.convert_to_tensor, logs)

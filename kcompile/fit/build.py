"""Making a model ready for its first step: weights, optimizer slots and metric states.

Everything a step updates must exist before the step is traced. Refuses to trace or compile steps.
"""

from __future__ import annotations

from typing import Any

from kcompile.fit.batch import Batch, Spec
from kcompile.steps import own
from kcompile.tensor import KerasTensor
from kcompile.trace import map_structure


def ensure_built(model: Any, specs: Batch, training: bool | None) -> None:
    """Build the model from a batch's specification where it is not built, and what training needs.

    training: True also builds the optimizer; None (prediction) only the model.
    """
    kind = "predict" if training is None else "train" if training else "test"
    if not model.calls and own(model, kind):
        model.built = True  # its parts are built as its step calls them
    else:
        _build(model, specs, training)
    if training:
        build_optimizer(model)


def _build(model: Any, specs: Batch, training: bool | None) -> None:
    """Call the model on symbols where it, its losses or its metrics need that to be built."""
    unbuilt = not model.built or any(not layer.built for layer in getattr(model, "layers", ()))
    losses, metrics = (
        getattr(model, "_compile_loss", None),
        getattr(model, "_compile_metrics", None),
    )
    pending = training is not None and any(p is not None and not p.built for p in (losses, metrics))
    if unbuilt or pending:
        x, y = map_structure(_symbol, specs.x), map_structure(_symbol, specs.y)
        predicted = model(x, training=False)
        model._predicted = predicted  # a subclassed model tells its outputs' shapes nowhere else
        if pending and metrics is not None and not metrics.built:
            metrics.build(y, predicted)
        if pending and losses is not None and not losses.built:
            losses.build(y, predicted)


def build_optimizer(model: Any) -> None:
    """Make the optimizer's variables for a built model, where there is one and it has none."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built and model.built:
        optimizer.build(model.trainable_variables)


def _symbol(spec: Spec) -> KerasTensor:
    return KerasTensor((None, *spec.shape[1:]), dtype=spec.dtype)

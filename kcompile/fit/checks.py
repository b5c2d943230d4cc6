"""What is checked about data before a step runs: labels against the loss, indices against embeddings.

A label out of range or NaN is refused before anything is updated, with the name of the output. Refuses to
check shapes: tracing does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.errors import KCIndexError, KCValueError
from kcompile.fit.batch import Batch
from kcompile.trace import leaves


class Labels:
    """Callable on a `Batch` of arrays: raises KCValueError KC304 or KCIndexError KC104, or returns None.

    Checks what can be told: NaN where the loss is one of ours, integer labels under a sparse
    categorical crossentropy, and integer inputs that go straight into an Embedding.
    """

    def __init__(self, model: Any):
        self.model = model
        self.targets = _targets(model)
        self.embeddings = _embeddings(model)

    def __call__(self, batch: Batch) -> None:
        found = leaves(batch.y)
        for i, y in enumerate(found):
            name, classes, ignored, builtin = (
                self.targets[i] if i < len(self.targets) else ("", None, None, False)
            )
            where = f"the labels of output {name!r}" if name and len(found) > 1 else "the labels"
            if builtin and y.dtype.kind == "f":
                _no_nan(y, where)
            if classes is not None:
                _in_range(y, classes, ignored, where)
        for i, x in enumerate(leaves(batch.x)):
            known = self.embeddings.get(i)
            if known is not None and getattr(x, "size", 0) and not hasattr(x, "dense"):
                low, high = x.min(), x.max()
                if low < 0 or high >= known[1]:
                    bad = low if low < 0 else high
                    raise KCIndexError(
                        "KC104", f"the index {int(bad)} for {known[0]!r}, an Embedding of input_dim={known[1]}",
                        f"indices lie between 0 and {known[1] - 1}",
                        "raise input_dim, or map rare words to one index",
                    )  # fmt: skip


def _no_nan(y: np.ndarray[Any, Any], where: str) -> None:
    # a sum is NaN if anything in it is, and is cheaper than a mask
    if y.size and np.isnan(np.sum(y)) and np.isnan(y).any():
        row = int(np.argwhere(np.isnan(y))[0][0])
        raise KCValueError(
            "KC304", f"{where} hold NaN, first in sample {row}", "labels are numbers",
            "drop or fill those samples before training",
        )  # fmt: skip


def _in_range(y: np.ndarray[Any, Any], classes: int, ignored: Any, where: str) -> None:
    if not y.size:
        return
    if y.min() >= 0 and y.max() < classes:
        return
    bad = (y < 0) | (y >= classes)
    if ignored is not None:
        bad &= y != ignored
    if not bad.any():
        return
    row = int(np.argwhere(bad)[0][0])
    raise KCValueError(
        "KC304", f"{where} hold {y[bad].flat[0].item():g}, first in sample {row}",
        f"with {classes} classes a label lies between 0 and {classes - 1}",
        "count labels from 0, or give the last layer more units",
    )  # fmt: skip


def _targets(model: Any) -> list[tuple[str, int | None, Any, bool]]:
    """(name, classes, ignored class, loss is ours) for each output, in the order of the targets."""
    losses = getattr(getattr(model, "_compile_loss", None), "losses_by_output", None)
    outputs = leaves(getattr(model, "outputs", None) or [])
    if losses is None:
        return []
    found = []
    for i, (name, loss) in enumerate(losses()):
        sparse = type(loss).__name__ == "SparseCategoricalCrossentropy"
        shape = outputs[i].shape if i < len(outputs) else None
        axis = getattr(loss, "axis", -1)
        classes = None
        if sparse and shape is not None and axis in (-1, len(shape) - 1) and shape[-1] is not None:
            classes = int(shape[-1])
        ours = type(loss).__module__.startswith("kcompile.") and type(loss).__name__ != "LossFunctionWrapper"
        found.append((name, classes, getattr(loss, "ignore_class", None), ours))
    return found


def _embeddings(model: Any) -> dict[int, tuple[str, int]]:
    """For each input (by place) that only goes straight into an Embedding: its name and input_dim."""
    inputs = leaves(getattr(model, "inputs", None) or [])
    found: dict[int, tuple[str, int]] = {}
    for layer in getattr(model, "layers", ()):
        if type(layer).__name__ != "Embedding":
            continue
        for node in getattr(layer, "_inbound_nodes", ()):
            for t in getattr(node, "input_tensors", ()):
                for i, given in enumerate(inputs):
                    if t is given:
                        found[i] = (layer.name, int(layer.input_dim))
    return found

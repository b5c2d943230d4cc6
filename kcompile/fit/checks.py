"""What is checked about data before a step runs: labels against the loss, indices against embeddings.

A label out of range or NaN is refused before anything is updated, with the name of the output. Refuses to
check shapes: tracing does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import kcompile.tree as tree
from kcompile.errors import KCIndexError, KCValueError
from kcompile.fit.batch import Batch
from kcompile.losses.outputs import align
from kcompile.steps import own
from kcompile.trace import leaves


class Labels:
    """Callable on a `Batch` of arrays: raises KCValueError KC304 or KCIndexError KC104, or returns None.

    Checks what can be told: NaN where the loss is one of ours, integer labels under a sparse
    categorical crossentropy, and integer inputs that go straight into an Embedding. A model with a `train_step` of
    its own may do anything with its targets: they are not checked.
    """

    def __init__(self, model: Any):
        self.model = model
        self.loss = getattr(model, "_compile_loss", None)
        self.terms = [] if "train_step" in own(model, "train") else _terms(model, self.loss)
        self.embeddings = _embeddings(model)

    def __call__(self, batch: Batch) -> None:
        if batch.y is not None and self.terms:
            targets = align(
                batch.y, _predicted(self.model), self.loss._outputs, self.loss._used, "targets"
            )
            for term in self.terms:
                y = targets[term.output]
                if y is None:
                    continue
                where = "the labels" if len(targets) == 1 else f"the labels of output {term.name!r}"
                if y.dtype.kind == "f":
                    _no_nan(y, where)
                if term.classes is not None:
                    _in_range(y, term.classes, term.ignored, where)
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


class _Term(NamedTuple):
    """What is known about the targets of one output: classes and the class that is ignored, if any."""

    output: int
    name: str
    classes: int | None
    ignored: Any


def _terms(model: Any, loss: Any) -> list[_Term]:
    """One for each output whose loss is one of ours; others may give NaN or any label a meaning."""
    if loss is None or not loss.built:
        return []
    shapes = [tuple(t.shape) for t in tree.flatten(_predicted(model))]
    found = []
    for term in loss._terms:
        fn = getattr(term.loss, "fn", None)
        if not str(getattr(fn, "__module__", "")).startswith("kcompile."):
            continue
        classes, settings = None, getattr(term.loss, "_fn_kwargs", {})
        shape = shapes[term.output] if term.output < len(shapes) else ()
        if (
            fn.__name__ == "sparse_categorical_crossentropy"
            and shape
            and settings.get("axis", -1) in (-1, len(shape) - 1)
        ):
            classes = shape[-1]
        found.append(_Term(term.output, term.name, classes, settings.get("ignore_class")))
    return found


def _predicted(model: Any) -> Any:
    """The model's outputs as symbols, in their structure (see `kcompile.fit.build`)."""
    found = getattr(model, "_predicted", None)
    return found if found is not None else getattr(model, "output", None)


def _embeddings(model: Any) -> dict[int, tuple[str, int]]:
    """For each input (by place) that only goes straight into an Embedding: its name and input_dim."""
    inputs = leaves(getattr(model, "inputs", None) or [])
    found: dict[int, tuple[str, int]] = {}
    for layer in getattr(model, "layers", ()):
        if type(layer).__name__ != "Embedding":
            continue
        for node in getattr(layer, "_inbound_nodes", ()):
            for t in node.inputs:
                for i, given in enumerate(inputs):
                    if t is given:
                        found[i] = (layer.name, int(layer.input_dim))
    return found

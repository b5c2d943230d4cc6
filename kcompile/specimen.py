"""What a batch of a model would look like, for tracing without data: shapes and dtypes with names for
what is unknown.

Refuses to trace and to hold numbers.
"""

from __future__ import annotations

from typing import Any

import kcompile.tree as tree
from ir.dims import dim
from kcompile.errors import KCValueError
from kcompile.fit.batch import Batch, Spec
from kcompile.fit.build import ensure_built
from kcompile.tensor import KerasTensor
from kcompile.trace import map_structure


def specimen(model: Any, kind: str) -> Batch:
    """The specification of a batch for the step `kind`, one sample long; unknown extents are named.

    Targets have the shape of the outputs, or that of class numbers under a sparse loss. Raises
    KCValueError KC202 for a model whose inputs are not known yet.
    """
    inputs = inputs_of(model)
    if inputs is None:
        raise KCValueError(
            "KC202", f"the model {model.name!r}, whose inputs are not known", "a model is traced for inputs of known shape",
            "begin it with keras.Input(shape), or call it on a batch of data first",
        )  # fmt: skip
    names: dict[Any, int] = {}
    x = map_structure(lambda t: _spec(t, names), inputs)
    if kind == "predict":
        return Batch(x)
    y = _targets(model, names)
    batch = Batch(x, y)
    ensure_built(model, batch, training=kind == "train")
    return batch


def inputs_of(model: Any) -> Any:
    """The model's inputs as symbols: a subclassed model's are like those it was first called with.

    None when they are not known.
    """
    if not getattr(model, "built", False):
        return None
    found = getattr(model, "input", None)
    return model.__dict__.get("_called_with") if found is None else found


def outputs_of(model: Any) -> Any:
    """The model's outputs as symbols."""
    found = getattr(model, "output", None)
    if found is None:
        found = model.__dict__.get("_predicted")
    return model(inputs_of(model), training=False) if found is None else found


def _spec(t: KerasTensor, names: dict[Any, int]) -> Spec:
    shape: list[Any] = [1]
    for d in t.shape[1:]:
        if d is None:
            n = names.setdefault(len(names), len(names))
            shape.append(dim("T" if n == 0 else f"T{n}"))
        else:
            shape.append(d)
    return Spec(tuple(shape), "float32" if t.dtype == "bfloat16" else t.dtype)


def _targets(model: Any, names: dict[Any, int]) -> Any:
    outputs = outputs_of(model)
    loss = getattr(model, "_compile_loss", None)
    given = getattr(loss, "_user_loss", None)
    flat = tree.flatten(outputs)
    kinds = list(tree.flatten(given)) if tree.is_nested(given) else [given] * len(flat)
    made = []
    for t, identifier in zip(flat, kinds + [None] * len(flat), strict=False):
        sparse = "sparse" in _name(identifier)
        shape = t.shape[:-1] if sparse else t.shape
        made.append(
            Spec((1, *(4 if d is None else d for d in shape[1:])), "int32" if sparse else "float32")
        )
    return tree.pack_sequence_as(outputs, made)


def _name(loss: Any) -> str:
    fn = getattr(loss, "fn", loss)
    return (fn if isinstance(fn, str) else str(getattr(fn, "__name__", ""))).lower()

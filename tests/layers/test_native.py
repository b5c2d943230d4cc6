"""Every layer's train step has C: what falls to NumPy is listed here, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
from codegen.pipeline import generate
from ir.bind import bind
from ir.pipeline import optimise
from kcompile.step import StepFunction
from tests.codegen.test_native import in_numpy
from tests.layers.layer_oracle import data
from tests.layers.test_layers import CASES

IN_NUMPY: dict[str, str] = {}  # layer: why some of it has no C


def train_graph(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], x: Any) -> Any:
    """The graph of a step that trains the layer, and a Dense before it where its input is of floats."""
    give = lambda v: v(keras.layers) if getattr(v, "__name__", "") == "<lambda>" else v
    layer = getattr(keras.layers, name)(*map(give, args), **{k: give(v) for k, v in kwargs.items()})
    values = [data(2, 4, 5), data(2, 6, 3, seed=1)] if x is None else [x]
    ins = [keras.Input(a.shape[1:], dtype=str(a.dtype).replace("64", "32")) for a in values]
    first = [keras.layers.Dense(a.shape[-1])(i) if a.dtype.kind == "f" else i for i, a in zip(ins, values, strict=True)]  # fmt: skip
    out = layer(*first)
    model = keras.Model(ins, out)
    model.compile("sgd", "mse")
    shapes = [tuple(int(d) for d in t.shape[1:]) for t in model.outputs]
    y = [np.zeros((len(values[0]), *s), "float32") for s in shapes]
    traced = StepFunction(model, "train").trace(
        values if len(values) > 1 else values[0], y if len(y) > 1 else y[0]
    )
    return bind(traced.graph, N=len(values[0])) if traced.named else traced.graph


@pytest.mark.parametrize("name", dict.fromkeys(c[0] for c in CASES))
def test_a_train_step_of_a_layer_is_c(name: str) -> None:
    for found, args, kwargs, x in CASES:
        if found == name:
            graph = train_graph(name, args, kwargs, x)
            rest = in_numpy(generate(optimise(graph), "native"))
            assert bool(rest) == (name in IN_NUMPY), (args, kwargs, rest)

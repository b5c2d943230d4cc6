"""Whole train steps as C under the address and undefined-behaviour sanitizers, every buffer in memory of its own; names of the user in none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
from codegen.pipeline import generate
from codegen.program import Program
from ir.bind import bind
from ir.graph import Graph
from ir.pipeline import optimise
from kcompile.step import StepFunction
from tests.codegen.test_native import in_numpy, run_with_sanitizers
from tests.models.programs import CASES


def train_step(model: Any, x: Any, y: Any, rows: int) -> tuple[Program, Graph]:
    traced = StepFunction(model, "train").trace(x, y)
    static = bind(traced.graph, N=rows) if traced.named else traced.graph
    graph = optimise(static)
    return generate(graph, "native"), graph


@pytest.mark.parametrize("name", CASES)
def test_no_byte_outside_is_touched(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = case.build(keras)
    model.compile(keras.optimizers.Adam(0.01), case.loss)
    program, graph = train_step(model, *case.data(np.random.default_rng(1), 5), 5)
    assert not in_numpy(program)
    run_with_sanitizers(program, graph, tmp_path)


@pytest.mark.parametrize("name", ['a"""b', "line\nint main", "back\\slash", "%s {x}"])
def test_no_name_of_a_layer_is_in_the_source(name: str) -> None:
    plain, odd = (
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name=n)]) for n in ("d", name)
    )
    made = []
    for model in (plain, odd):
        model.compile("sgd", "mse")
        made.append(train_step(model, np.ones((4, 3), "f"), np.ones((4, 2), "f"), 4)[0])
    assert made[0].source == made[1].source

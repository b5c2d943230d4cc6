"""Whole train steps as C, alone in a process (`standalone`): under sanitizers, by halves, by each compiler; names of the user in none of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
from codegen.pipeline import generate
from codegen.program import Program
from ir.bind import bind
from ir.graph import Graph
from ir.interpret import interpret
from ir.pipeline import optimise
from kcompile.step import StepFunction
from runtime.compiler import FLAGS
from tests.codegen import standalone
from tests.codegen.test_native import in_numpy, run_with_sanitizers, same, tame
from tests.codegen.test_native_machines import compilers
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


HALVES = {"cnn": "mixed_float16", "transformer": "mixed_bfloat16"}


@pytest.mark.parametrize("name", HALVES)
def test_nor_is_one_by_halves(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(HALVES[name])
    try:
        model = case.build(keras)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    model.compile(keras.optimizers.SGD(0.01), case.loss)
    program, graph = train_step(model, *case.data(np.random.default_rng(1), 5), 5)
    assert not in_numpy(program)
    run_with_sanitizers(program, graph, tmp_path, 3e-2)


@pytest.mark.parametrize("name", ["cnn", "masked_gru", "transformer"])
@pytest.mark.parametrize("cc", compilers(), ids=lambda c: Path(shlex.split(c)[0]).name)
def test_each_compiler_makes_the_same_step(cc: str, name: str, tmp_path: Path) -> None:
    """As a program is compiled for use, in vectors, each kernel held to its buffers."""
    case = CASES[name]
    model = case.build(keras)
    model.compile(keras.optimizers.Adam(0.01), case.loss)
    program, graph = train_step(model, *case.data(np.random.default_rng(1), 5), 5)
    given = tame(program)
    same(standalone.run(program, given, tmp_path, [*shlex.split(cc), *FLAGS]), interpret(graph, given))  # fmt: skip


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

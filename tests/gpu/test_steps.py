"""Whole train steps against f64: the small models of the tests and the ten of the benchmarks, in f32 and in mixed precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
from benchmarks.models import MODELS, keras_model
from codegen.pipeline import generate
from ir.bind import bind
from ir.graph import Graph
from ir.interpret import interpret
from ir.pipeline import optimise
from kcompile.step import StepFunction
from tests.gpu.exact import exactly
from tests.gpu.judge import judge
from tests.models.programs import CASES

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.seat import host
from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]
SLACK = {"float32": 1e-5, "mixed_bfloat16": 8e-3, "mixed_float16": 1e-3}


@pytest.fixture(params=list(SLACK))
def policy(request: pytest.FixtureRequest) -> Any:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(request.param)
    yield request.param
    keras.mixed_precision.set_dtype_policy(before)


def check(model: Any, x: Any, y: Any, loss: Any, policy: str) -> None:
    """One step of plain descent at rate 1, so that a weight's error is its gradient's."""
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.optimizer.build(model.trainable_variables)
    traced = StepFunction(model, "train").trace(x, y)
    data = [*(x if isinstance(x, list) else [x]), *(y if isinstance(y, list) else [y])]
    graph: Graph = optimise(bind(traced.graph, N=len(data[0])))
    states = [np.array(v.array) for v in traced.variables]
    made = TritonProgram(
        generate(graph, "triton"), {r.path: a for r, a in zip(graph.roles, states, strict=False)}
    )
    made.run(*data)
    found = [host(made.tensors[n]) for n in made.program.states]
    given = [*states, *data]
    eager, exact = interpret(graph, given), exactly(graph, given)
    n = graph.n_states
    factor = "bf16" if policy == "mixed_bfloat16" else "ieee"
    judge(found, eager[:n], exact[:n], factor, SLACK[policy])


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.sample) if n == "mlp" else n for n in CASES],
)
def test_a_small_model(name: str, policy: str) -> None:
    case = CASES[name]
    keras.utils.set_random_seed(0)
    check(case.build(keras), *case.data(np.random.default_rng(1), 5), case.loss, policy)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_users_sizes(name: str, policy: str) -> None:
    entry = MODELS[name]
    keras.utils.set_random_seed(0)
    xs, y = entry["data"](np.random.default_rng(1), 8)
    check(keras_model(name, keras), xs if len(xs) > 1 else xs[0], y, entry["loss"], policy)

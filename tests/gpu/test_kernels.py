"""Every kind of kernel at sizes that users have, in every dtype and precision, against f64; what is integer or random, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.grad import gradients
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.pipeline import optimise
from ir.types import Type, round_bf16, type_of
from tests.gpu.exact import exactly
from tests.gpu.judge import judge
from tests.gpu.test_ops import some
from tests.ops.cases import TYPED, Case, graph_for
from tests.triton.test_attention import built, dropped
from tests.triton.test_scan import gru, lstm, old_gru, simple, trained

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]
SINGLE = {"ieee": 1e-5, "tf32": 5e-3, "bf16": 3e-2}  # what a product adds to the error of f32


def check(graph: Graph, arrays: list[Array], precision: str = "ieee", slack: float = 1e-5) -> None:
    """As exact as the same operations one by one; products in less than f32 within `slack`."""
    found = TritonProgram(generate(graph, "triton"), {}).run(*arrays)
    judge(found, interpret(graph, arrays), exactly(graph, arrays), precision, slack)


def stored(a: Array, dtype: str) -> Array:
    """Numbers as an array of this dtype holds them."""
    return round_bf16(a.astype("f4")) if dtype == "bf16" else a.astype({"f16": "f2"}.get(dtype, "f4"))  # fmt: skip


OTHER = [p.values for p in TYPED if p.values[1] != "f32" and "body" not in p.values[0].attrs]


@pytest.mark.parametrize("case", some(OTHER, 60), ids=lambda case: f"{case[0].id}-{case[1]}")
def test_an_op_in_its_other_dtypes(case: tuple[Case, str]) -> None:
    graph, arrays = graph_for(*case)
    check(graph, list(arrays), slack=1e-3 if case[1] == "f16" else 1e-5)


ROWS = [(1, 1), (3, 33), (64, 1000), (5, 100_000), (70_000, 7)]


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("shape", some(ROWS, 5))
def test_rows(shape: tuple[int, int], dtype: str) -> None:
    """Sums over rows and columns, extremes, softmax and normalization with their gradients."""
    rng = np.random.default_rng(sum(shape))
    arrays = [stored(rng.standard_normal(s), dtype) for s in (shape, (shape[1],), (shape[1],), shape)]  # fmt: skip
    x, w, b, ct = (Value(Type(dtype, a.shape), name=f"x{k}") for k, a in enumerate(arrays))
    soft = ops.log_softmax(x, axis=1)
    normal = ops.layer_norm(x, w, b, axes=(1,), epsilon=1e-3)
    outs = [ops.reduce_sum(x, axes=(0,)), ops.reduce_max(x, axes=(1,)), ops.argmax(x, axis=1), soft, normal]  # fmt: skip
    outs += [g for y, of in ((soft, [x]), (normal, [x, w, b])) for g in gradients([y], of, [ct]) if g is not None]  # fmt: skip
    graph = optimise(graph_of("case", [x, w, b, ct], outs))
    slack = {"f32": 1e-5, "f16": 1e-3, "bf16": 8e-3}[dtype]
    check(graph, arrays, "bf16" if dtype == "bf16" else "ieee", slack)


CELLS = [(simple, 3, 1, 7), (lstm, 32, 20, 32), (gru, 33, 7, 64), (old_gru, 5, 6, 48), (lstm, 16, 9, 128), (gru, 7, 5, 300), (simple, 2, 3, 600)]  # fmt: skip


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
@pytest.mark.parametrize("case", some(CELLS, 7))
def test_a_recurrent_layer_and_its_gradients(case: tuple[Any, ...], precision: str) -> None:
    cell, n, t, u = case
    graph, arrays = trained(cell(n, t, 3, u), precision)
    check(graph, arrays, precision, SINGLE[precision])


HEADS = [(1, 1, 3, 2, 4, "p"), (2, 4, 128, 128, 32, ""), (1, 2, 257, 130, 64, "f"), (2, 2, 65, 65, 128, "cp"), (1, 1, 64, 64, 256, "c"), (1, 1, 2048, 2048, 64, "c")]  # fmt: skip


@pytest.mark.parametrize("case", some(HEADS, 6))
def test_attention_and_its_gradients(case: tuple[Any, ...]) -> None:
    check(*built(*case))


@pytest.mark.parametrize("case", some([c for c in HEADS if "f" not in c[-1]], 6))
def test_attention_with_dropout_and_its_gradients(case: tuple[Any, ...]) -> None:
    """Of the masks that such a graph is built with."""
    check(*dropped(*case))


TABLES = [(7, 3, 2), (20_000, 6_400, 128), (250_000, 6_400, 32), (300, 20_000, 768)]


@pytest.mark.parametrize("case", some(TABLES, 4))
def test_the_gradient_of_an_embedding(case: tuple[int, int, int]) -> None:
    """Twice the same bits, many of them one word."""
    words, count, width = case
    rng = np.random.default_rng(words)
    arrays = [np.minimum(rng.integers(0, words, count), rng.integers(0, 2 * words, count)).astype("i4"), rng.standard_normal((count, width)).astype("f4")]  # fmt: skip
    idx, rows = (Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays))
    graph = graph_of("case", [idx, rows], [ops.scatter_add(idx, rows, axis=0, extent=words)])
    check(graph, arrays)
    pair = [TritonProgram(generate(graph, "triton"), {}).run(*arrays)[0] for _ in range(2)]
    np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize("shape", some([(3, 7), (3, 1000), (1, 100_000), (2000, 65)], 4))
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_order(shape: tuple[int, int], dtype: str) -> None:
    """Sorted lines and where their numbers stood, equal ones in their order."""
    a = np.random.default_rng(0).integers(-99, 99, shape).astype(dtype)
    x = Value(type_of(a), None, 0, "x")
    graph = graph_of("case", [x], [ops.sort(x, axis=1), ops.argsort(x, axis=1), ops.cumsum(x, axis=1)])  # fmt: skip
    check(graph, [a], slack=1e-4)


@pytest.mark.parametrize("count", some([33, 1_000_003], 2))
def test_random_numbers_are_those_of_every_target(count: int) -> None:
    given = [np.array(7, "u4"), np.array(3, "u4")]
    seed, step = (Value(type_of(a), None, 0, n) for a, n in zip(given, ("seed", "step"), strict=True))  # fmt: skip
    draws = (ops.random_bits, ops.random_uniform)
    graph = graph_of("case", [seed, step], [d(seed, step, stream=2, shape=(count,)) for d in draws])
    found = TritonProgram(generate(graph, "triton"), {}).run(*given)
    for a, b in zip(found, interpret(graph, given), strict=True):
        np.testing.assert_array_equal(a, b)

"""Attention without scores in memory: forward and all gradients against the meaning, over awkward sizes, masked and causal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from ir.grad import gradients
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.passes.precision import precision
from ir.pipeline import optimise
from ir.types import NUMPY, Type, round_bf16, type_of

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_build import build
from runtime.triton_program import TritonProgram
from runtime.triton_report import Usage

Array = np.ndarray[Any, Any]


def causal(t: int, s: int) -> Value:
    row, column = (ops.iota(shape=(t, s), axis=a, dtype="i32") for a in (0, 1))
    out: Value = ops.ge(row, column)
    return out


def built(
    n: int, h: int, t: int, s: int, d: int, mask: str, back: bool = True, dtype: str = "f32"
) -> tuple[Graph, list[Array]]:
    """The result of attention, and the gradients of q, k and v for a given gradient of it. mask: which of "c", "p" (padding), "f" (full)."""
    rng = np.random.default_rng(t * 1000 + s)
    shapes = [(n, h, t, d), (n, h, s, d), (n, h, s, d), (n, h, t, d)]
    given = [round_bf16(rng.standard_normal(x).astype("f4")) for x in shapes]
    arrays: list[Array] = [a.astype(NUMPY[dtype]) for a in given]
    arrays.append(rng.random((n, s)) < 0.7)
    arrays.append(rng.random((n, h, t, s)) < 0.7)
    types = [*(Type(dtype, a.shape) for a in arrays[:4]), *map(type_of, arrays[4:])]
    values = [Value(t, None, 0, f"x{k}") for k, t in enumerate(types)]
    q, k, v, g, padding, full = values
    shape = (n, h, t, s)
    parts = []
    if "c" in mask:
        parts.append(ops.broadcast(causal(t, s), shape=shape, axes=(2, 3)))
    if "p" in mask:
        parts.append(ops.broadcast(padding, shape=shape, axes=(0, 3)))
    if "f" in mask:
        parts.append(full)
    if parts:
        allowed = parts[0]
        for m in parts[1:]:
            allowed = ops.logical_and(allowed, m)
        o = ops.attention(q, k, v, allowed, scale=d**-0.5)
    else:
        o = ops.attention_nomask(q, k, v, scale=d**-0.5)
    outs = [o]
    if back:
        outs += [x for x in gradients([o], [q, k, v], [g]) if x is not None]
    return optimise(graph_of("case", values, outs)), arrays


def dropped(
    n: int, h: int, t: int, s: int, d: int, mask: str, order: str = "nhts"
) -> tuple[Graph, list[Array]]:
    """As `built` does, with dropout of the probabilities, and what the mask forbids 0 behind the softmax as Keras's layers do it.
    order: of the scores' axes."""
    rng = np.random.default_rng(t * 1000 + s)
    shapes = [(n, h, t, d), (n, h, s, d), (n, h, s, d), (n, h, t, d)]
    arrays: list[Array] = [rng.standard_normal(x).astype("f4") for x in shapes]
    arrays += [np.array(7, "u4"), np.array(3, "u4"), rng.random((n, s)) < 0.7]
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    q, k, v, g, seed, step, padding = values
    shape = tuple({"n": n, "h": h, "t": t, "s": s}[c] for c in order)
    at = order.index
    full = lambda x, dtype: ops.full(value=x, shape=shape, dtype=dtype)
    parts = []
    if "c" in mask:
        axes = tuple(sorted((at("t"), at("s"))))
        row, column = (
            ops.iota(shape=tuple(shape[a] for a in axes), axis=axes.index(at(c)), dtype="i32")
            for c in "ts"
        )
        parts.append(ops.broadcast(ops.ge(row, column), shape=shape, axes=axes))
    if "p" in mask:
        parts.append(ops.broadcast(padding, shape=shape, axes=(at("n"), at("s"))))
    scores = ops.contract(q, k, spec=f"nhtd,nhsd->{order}")
    allowed = parts[0] if parts else None
    for m in parts[1:]:
        allowed = ops.logical_and(allowed, m)
    if allowed is not None:
        scores = ops.select(allowed, scores, full(-1e9, "f32"))
    p = ops.softmax(scores, axis=at("s"))
    if allowed is not None:
        p = ops.select(allowed, p, full(0.0, "f32"))
    keep = ops.ge(ops.random_uniform(seed, step, stream=2, shape=shape), full(0.3, "f32"))
    p = ops.select(keep, ops.mul(p, full(1 / 0.7, "f32")), full(0.0, "f32"))
    o = ops.contract(p, v, spec=f"{order},nhsd->nhtd")
    outs = [o, *(x for x in gradients([o], [q, k, v], [g]) if x is not None)]
    return optimise(graph_of("case", values, outs)), arrays


def check(graph: Graph, arrays: list[Array], kernels: int, tol: float = 2e-5) -> str:
    program = generate(graph, "triton")
    kinds = [k.schedule["kind"] for k in program.kernels]
    assert kinds.count("attention") == kernels, kinds
    found = TritonProgram(program, {}).run(*arrays)
    for a, b in zip(found, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(a.astype("f4"), b.astype("f4"), rtol=tol, atol=tol)
    return program.source


@pytest.mark.parametrize("t", [1, 2, 3, 7, 16, 17, 31, 33, 63, 65, 127, 129])
@pytest.mark.parametrize("mask", ["", "c"])
def test_lengths(t: int, mask: str) -> None:
    if t == 1:
        graph, arrays = built(1, 1, 1, 1, 4, mask)
        program = generate(graph, "triton")
        for a, b in zip(
            TritonProgram(program, {}).run(*arrays), interpret(graph, arrays), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    else:
        check(*built(1, 2, t, t, 4, mask), 3)


@pytest.mark.parametrize(("t", "s"), [(3, 40), (40, 3), (17, 33), (33, 17)])
@pytest.mark.parametrize("mask", ["", "c", "p", "cp", "f"])
def test_lengths_that_differ_and_masks(t: int, s: int, mask: str) -> None:
    check(*built(2, 2, t, s, 5, mask), 3)


@pytest.mark.parametrize("d", [1, 3, 16, 17, 33, 65, 128])
def test_heads(d: int) -> None:
    check(*built(1, 1, 5, 6, d, "p"), 3 if d > 1 else 0)


def test_wide_heads_and_those_that_stay_as_they_were() -> None:
    check(*built(1, 1, 17, 18, 129, "c"), 3)
    check(*built(1, 1, 3, 4, 257, ""), 0)


@pytest.mark.parametrize("mask", ["", "c", "cp"])
@pytest.mark.parametrize(("t", "s"), [(5, 8), (17, 33), (36, 20)])
def test_dropout_is_drawn_in_the_kernels(t: int, s: int, mask: str) -> None:
    """Bit for bit the words of the graph, a tile in fours (columns that divide so) or one by one."""
    check(*dropped(2, 2, t, s, 3, mask), 3)


@pytest.mark.parametrize("how", ["mul", "div"])
@pytest.mark.parametrize("masked", [False, True])
def test_scores_that_are_scaled_behind_the_product(how: str, masked: bool) -> None:
    """As attention is written by hand: a mask's fill is not scaled."""
    rng = np.random.default_rng(0)
    arrays: list[Array] = [rng.standard_normal((2, 2, n, 5)).astype("f4") for n in (17, 33, 33, 17)]
    arrays.append(rng.random((2, 2, 17, 33)) < 0.7)
    values = [Value(type_of(a), None, 0, f"x{k}") for k, a in enumerate(arrays)]
    q, k, v, g, mask = values
    scores = ops.contract(q, k, spec="nhtd,nhsd->nhts")
    scores = (ops.mul if how == "mul" else ops.div)(scores, ops.full_like(scores, 3.0))
    if masked:
        scores = ops.select(mask, scores, ops.full_like(scores, -1e9))
    o = ops.contract(ops.softmax(scores, axis=3), v, spec="nhts,nhsd->nhtd")
    outs = [o, *(x for x in gradients([o], [q, k, v], [g]) if x is not None)]
    check(optimise(graph_of("case", values, outs)), arrays, 3)


def test_dropout_of_scores_in_another_order() -> None:
    check(*dropped(2, 3, 8, 12, 4, "c", "tnhs"), 3)
    check(*dropped(2, 3, 8, 12, 4, "", "nsht"), 3)


def test_without_gradients_only_the_result_is_written() -> None:
    source = check(*built(2, 1, 7, 9, 4, "p", back=False), 1)
    assert source.count("tl.store") == 2  # the scaled queries, and the result


def test_what_a_causal_mask_forbids_is_not_computed() -> None:
    source = check(*built(1, 1, 70, 70, 4, "c"), 3)
    assert source.count("stop = ") == 2 and source.count("start = ") == 1
    assert "stop = " not in check(*built(1, 1, 40, 40, 4, "cp"), 3)


@pytest.mark.parametrize(
    ("dtype", "how", "tol"), [("f16", "ieee", 4e-3), ("bf16", "ieee", 3e-2), ("f32", "bf16", 3e-2)]
)
@pytest.mark.parametrize("mask", ["", "cp"])
def test_halves(dtype: str, how: str, tol: float, mask: str) -> None:
    graph, arrays = built(1, 2, 17, 40, 5, mask, dtype=dtype)
    check(precision(graph, how), arrays, 3, tol)


def test_precision_and_dtype_reach_the_products() -> None:
    graph, _ = built(1, 1, 32, 32, 16, "")
    for how, text in (("tf32", 'input_precision="tf32"'), ("bf16", ".to(tl.bfloat16)")):
        source = generate(precision(graph, how), "triton").source
        assert source.count("tl.dot(") == 9
        assert source.count(text) == (9 if how == "tf32" else 18)


def test_heads_of_64_do_not_spill() -> None:
    p = generate(built(1, 1, 256, 256, 64, "c")[0], "triton")
    found = build(p, "sm_90", [k.name for k in p.kernels if k.schedule["kind"] == "attention"])
    assert [u.stack for u in found.values() if isinstance(u, Usage)] == [0] * 3

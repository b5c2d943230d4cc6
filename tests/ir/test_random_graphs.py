"""Properties of every graph: it prints and parses back, passes keep its value, gradients are slopes."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.grad import gradients
from ir.graph import Graph, Value, graph_of
from ir.interpret import interpret
from ir.key import equal, key
from ir.ops import add, mul, reduce_sum
from ir.passes.cse import cse
from ir.passes.dce import dce
from ir.passes.decompose import decompose
from ir.passes.fold import fold
from ir.passes.layout import layout
from ir.passes.merge_scans import merge_scans
from ir.passes.order import order
from ir.passes.recompute import recompute
from ir.passes.simplify import simplify
from ir.pipeline import optimise
from ir.text import dump, parse
from ir.verify import verify
from tests.ir.graphs import arrays, graphs

FEW = settings(max_examples=60, deadline=None, derandomize=True)
PASSES = (cse, dce, decompose, fold, layout, merge_scans, order, recompute, simplify, optimise)


@FEW
@given(graphs())
def test_text_reads_back(graph: Graph) -> None:
    verify(graph)
    text = dump(graph)
    back = parse(text)
    verify(back)
    assert equal(back, graph)
    assert dump(back) == text


@FEW
@given(graphs(dtype="f64"), st.sampled_from(PASSES))
def test_passes_keep_the_value(graph: Graph, run: Callable[[Graph], Graph]) -> None:
    after = run(graph)
    verify(after)
    assert run(after) is after or key(run(after)) == key(after), "not idempotent"
    given_arrays = arrays(graph)
    for a, b in zip(interpret(graph, given_arrays), interpret(after, given_arrays), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def squared(graph: Graph) -> Value:
    """The sum of the squares of all outputs."""
    terms = [reduce_sum(mul(v, v), axes=tuple(range(len(v.shape)))) for v in graph.outputs]
    return reduce(add, terms)


def slope(graph: Graph, operands: list[np.ndarray], i: int) -> np.ndarray:
    """The gradient of the first output to operand `i`, by central differences."""
    out = np.zeros_like(operands[i])
    for at in np.ndindex(*operands[i].shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in operands]
            moved[i][at] += step
            ends.append(float(interpret(graph, moved)[0]))
        out[at] = (ends[0] - ends[1]) / 2e-6
    return out


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs(dtype="f64", smooth=True, steps=8))
def test_gradients_are_slopes(graph: Graph) -> None:
    loss = squared(graph)
    grads = gradients([loss], graph.inputs)
    found = [(i, g) for i, g in enumerate(grads) if g is not None]
    slopes = graph_of("slopes", graph.inputs, [loss, *(g for _, g in found)])
    verify(slopes)
    operands = arrays(graph)
    plain = graph_of("loss", graph.inputs, [loss])
    results = interpret(slopes, operands)
    scale = 1e-6 * max(1.0, abs(float(results[0])))
    for (i, _), g in zip(found, results[1:], strict=True):
        np.testing.assert_allclose(g, slope(plain, operands, i), rtol=2e-5, atol=20 * scale)
    for a, b in zip(results, interpret(optimise(slopes), operands), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-10 * max(1.0, float(np.abs(a).max())))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(graphs(dtype="f64", smooth=True, steps=4))
def test_second_order(graph: Graph) -> None:
    first = [g for g in gradients([squared(graph)], graph.inputs) if g is not None]
    if not first:
        return
    inner = squared(graph_of("g", graph.inputs, first))
    second = gradients([inner], graph.inputs)
    found = [(i, g) for i, g in enumerate(second) if g is not None]
    curved = graph_of("curved", graph.inputs, [inner, *(g for _, g in found)])
    verify(curved)
    operands = arrays(graph)
    plain = graph_of("inner", graph.inputs, [inner])
    results = interpret(curved, operands)
    scale = max(1.0, abs(float(results[0])))
    for (i, _), g in zip(found, results[1:], strict=True):
        np.testing.assert_allclose(g, slope(plain, operands, i), rtol=1e-4, atol=1e-4 * scale)

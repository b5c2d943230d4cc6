"""Comparing random words gives what comparing uniform numbers gives, at the edges too."""

from __future__ import annotations

import numpy as np
import pytest

from ir.graph import Value, graph_of
from ir.ops import full, ge, random_uniform
from ir.ops.random import uniform_of_bits
from ir.passes.simplify import simplify
from ir.types import Type

BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


@pytest.mark.parametrize("c", [1e-9, 0.1, 0.2, 0.25, 0.5, 0.75, 0.9, 0.999999, BELOW_ONE])
def test_the_interval_is_exact(c):
    seed, step = Value(Type("u32", ())), Value(Type("u32", ()))
    u = random_uniform(seed, step, stream=0, shape=(4,))
    got = simplify(graph_of("f", [seed, step], [ge(u, full(value=c, shape=(4,), dtype="f32"))]))
    compared = got.outputs[0].node
    apart, width = (v.node for v in compared.inputs)
    assert compared.op.name == "lt" and apart.op.name == "sub"
    first = apart.inputs[1].node.attrs[0]
    assert width.attrs[0] == 2**32 - 2 * first
    edge = np.array([first - 2, first - 1, first, first + 1], np.int64) % 2**31
    words = np.concatenate([edge, 2**32 - 1 - edge]).astype(np.uint32)
    inside = (words - np.uint32(first)) < np.uint32(2**32 - 2 * first)
    np.testing.assert_array_equal(uniform_of_bits(words) >= np.float32(c), inside)

"""A window over a stretch of a longer axis finds fill beside the stretch, not what lies there in memory."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.pipeline import generate
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.ops import contract, slice_, tanh, unfold
from ir.types import Type
from runtime.executable import Executable
from runtime.store import StateStore

WINDOW = (("i", "o", "t", 1, 1, 1),)


def convolved(x, w):
    return contract(x, w, spec="nic,tcf->nof", windows=WINDOW, out=(4,))


def gradient(x, w):
    return contract(x, w, spec="noc,tcf->nif", windows=(("i", "o", "t", 1, 1, 1),), out=(4,))


def unfolded(x, w):
    return tanh(unfold(x, windows=((1, 3, 1, 1, 1, 4),), fill=-3.0))


@pytest.mark.parametrize("build", [convolved, gradient, unfolded])
@pytest.mark.parametrize("start, step", [(2, 1), (0, 2), (4, 1)])
def test_a_window_over_a_slice(build, start, step, rng):
    x, w = Value(Type("f32", (2, 9, 3))), Value(Type("f32", (3, 3, 2)))
    stop = start + 3 * step + 1
    cut = slice_(x, start=(0, start, 0), stop=(2, stop, 3), step=(1, step, 1))
    graph = graph_of("step", [x, w], [build(cut, w)], [Role("data", "x"), Role("data", "w")])
    data = [rng.normal(size=v.shape).astype(np.float32) for v in (x, w)]
    exe = Executable(generate(graph, "numpy"), StateStore())
    (got,), (want,) = exe.run(*data), interpret(graph, data)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

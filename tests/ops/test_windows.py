"""Windows against their definition: the sum over all (i, o, t) with i = stride*o + dilation*t - low."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ir.ops as ops
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.types import type_of

windows = st.tuples(
    st.integers(1, 3),  # stride
    st.integers(1, 3),  # dilation
    st.integers(-2, 4),  # low
    st.integers(0, 7),  # extent of positions
    st.integers(0, 5),  # extent of outputs
    st.integers(1, 4),  # extent of taps
)


def relation(stride: int, dilation: int, low: int, i: int, o: int, t: int) -> np.ndarray:
    """1 where the position belongs to the output and the tap."""
    position, output, tap = np.indices((i, o, t))
    return (position == stride * output + dilation * tap - low).astype(np.float64)


def run(f: Any, *arrays: np.ndarray) -> np.ndarray:
    inputs = [Value(type_of(a)) for a in arrays]
    return interpret(graph_of("f", inputs, [f(*inputs)]), arrays)[0]


@settings(max_examples=60, deadline=None)
@given(windows, windows)
def test_contract_in_three_directions(first: Any, second: Any) -> None:
    (s1, d1, p1, i, h, a), (s2, d2, p2, j, w, b) = first, second
    r1, r2 = relation(*first), relation(*second)
    both = (("i", "h", "a", s1, d1, p1), ("j", "w", "b", s2, d2, p2))
    rng = np.random.default_rng(0)
    arrays = {
        "nijc": rng.normal(size=(2, i, j, 2)),
        "abcf": rng.normal(size=(a, b, 2, 3)),
        "nhwf": rng.normal(size=(2, h, w, 3)),
    }
    for x, y, out, extents in (
        ("nijc", "abcf", "nhwf", (h, w)),
        ("nhwf", "abcf", "nijc", (i, j)),
        ("nijc", "nhwf", "abcf", (a, b)),
    ):
        got = run(
            lambda u, v, s=f"{x},{y}->{out}", e=extents: ops.contract(
                u, v, spec=s, windows=both, out=e
            ),
            arrays[x],
            arrays[y],
        )
        want = np.einsum(f"{x},{y},iha,jwb->{out}", arrays[x], arrays[y], r1, r2)
        np.testing.assert_allclose(got, want, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(windows, st.booleans())
def test_unfold_and_fold(window: Any, fill: bool) -> None:
    s, d, p, i, o, t = window
    r = relation(*window)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, i, 3)), rng.normal(size=(2, o, 3, t))
    value = 7.0 if fill else 0.0
    got = run(lambda v: ops.unfold(v, windows=((1, t, s, d, p, o),), fill=value), x)
    want = np.einsum("nic,iot->noct", x, r) + value * (r.sum(0) == 0)[None, :, None, :]
    np.testing.assert_allclose(got, want, atol=1e-12)
    got = run(lambda v: ops.fold(v, windows=((1, t, s, d, p, i),)), y)
    np.testing.assert_allclose(got, np.einsum("noct,iot->nic", y, r), atol=1e-12)

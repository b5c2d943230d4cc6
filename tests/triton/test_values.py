"""Every op at values where a formula may fail: zeros, infinities, NaN, what is close to a limit or beyond it, whole quotients.

In the interpreter, against the meaning. What compiled code makes of the same text is in `test_compiled`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.triton.spelling import SPELLING
from ir.graph import Value
from ir.interpret import interpret
from ir.op import TABLE
from ir.types import NUMPY
from tests.triton.test_kernels import made

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]
INF, NAN = float("inf"), float("nan")
VALUES = [
    0.0, -0.0, 1, -1, 0.5, -0.5, 1e-3, -1e-3, 1e-6, 1e-10, 2, -2, 3, 10, -10, 50, -50, 88.5, -88.5, 89.2, 100, -100,
    1e4, -1e4, 1e10, -1e10, 1e20, -1e20, 3e38, -3e38, INF, -INF, NAN, 0.2, -0.2, 0.19, 0.24999, 0.25, 0.9999999,
    -0.9999999, 1.0000001, 2.5, 3.5, -2.5, 4194303.5, 8388607.5, 7, 6, -7, 0.1,
]  # fmt: skip
NUMBERS = [n for n in SPELLING if n in TABLE and not TABLE[n].attrs and "logical" not in n]
UNARY, BINARY = ([n for n in NUMBERS if TABLE[n].arity == k] for k in (1, 2))
# An exponent in f32: compiled, it is multiplied by log2(e) and rounded, and has few digits behind the point if many before it.
BOUND = {
    "f32": dict.fromkeys(("exp", "expm1", "sinh", "cosh", "sigmoid", "power"), 1e-5),
    "f64": {},
}
LARGE = 2.0**20  # quotients from which on a remainder is nothing but rounding


def both(build: Any, *arrays: Array) -> list[tuple[Array, Array]]:
    """What the kernels make of arrays, and what is meant."""
    graph, program = made(build, *arrays)
    with np.errstate(all="ignore"):
        expected = interpret(graph, list(arrays))
        return list(zip(TritonProgram(program, {}).run(*arrays), expected, strict=True))


def differ(name: str, dtype: str, found: Array, expected: Array) -> Array:
    """Where results are not as close as they should be; numbers below the normal ones are as good as zero."""
    bound = BOUND[dtype].get(name, 2e-6 if dtype == "f32" else 1e-12)
    a, b = found.astype("f8"), expected.astype("f8")
    with np.errstate(all="ignore"):
        close = np.isclose(a, b, rtol=bound, atol=2e-38, equal_nan=True)
    return np.flatnonzero(~close)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_an_op_of_one_value(name: str, dtype: str) -> None:
    x = np.array(VALUES, NUMPY[dtype])
    ((found, expected),) = both(lambda v: TABLE[name](v), x)
    at = differ(name, dtype, found, expected)
    assert not [(x[i], found[i], expected[i]) for i in at]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", BINARY)
def test_an_op_of_two_values(name: str, dtype: str) -> None:
    line = np.array(VALUES, NUMPY[dtype])
    x, y = (a.ravel() for a in np.meshgrid(line, line))
    if name == "atan2":
        x = x + 0.0  # no angle of a zero that is negative
        keep = ~((x == 0) & (y == 0) | np.isinf(x) & np.isinf(y))
    elif name == "power":
        keep = ~((x == 0) & np.signbit(x) & (y < 0))
    elif name in ("mod", "floordiv"):
        if dtype == "f64":
            pytest.importorskip("triton", "3.9")  # interpreted, f64's fma rounds twice before
        with np.errstate(all="ignore"):
            keep = np.isfinite(x) & ~(np.abs(x / y) > LARGE) & (y != 0)
    else:
        keep = np.full(x.shape, True)
    x, y = x[keep], y[keep]
    ((found, expected),) = both(lambda v, w: TABLE[name](v, w), x, y)
    at = differ(name, dtype, found, expected)
    assert not [(x[i], y[i], found[i], expected[i]) for i in at][:9]


def test_quotients_that_are_whole_numbers_have_no_rest() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(1, 100, 4000).astype("f4") * rng.choice([-1, 1], 4000).astype("f4")
    x = y * rng.integers(-5000, 5000, 4000).astype("f4")
    build = lambda a, b: (ops.floordiv(a, b), ops.mod(a, b))
    for found, expected in both(build, x, y):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_nan_is_an_extreme_wherever_it_is(dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((7, 21)).astype(NUMPY[dtype])
    x[0], x[1, 3], x[2, 20], x[3], x[4, 5], x[5] = NAN, NAN, NAN, -INF, INF, INF

    def build(v: Value) -> tuple[Value, ...]:
        least, most = ops.reduce_min(v, axes=(1,)), ops.reduce_max(v, axes=(1,))
        return (
            least,
            most,
            ops.argmin(v, axis=1),
            ops.argmax(v, axis=1),
            ops.reduce_max(v, axes=(0,)),
        )

    for found, expected in both(build, x):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [40000, 20, 3])
def test_nan_is_an_extreme_of_parts(n: int) -> None:
    """Split among programs, walked, and window by window."""
    x = np.random.default_rng(n).standard_normal((n, 3)).astype("f4")
    x[n // 2, 1] = NAN
    build = lambda v: (ops.reduce_max(v, axes=(0,)), ops.reduce_min(v, axes=(0,)))
    for found, expected in both(build, x):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [40000, 300])
def test_what_an_extreme_is_compared_with_is_the_same_number_in_each_kernel(n: int) -> None:
    """Compiled, which of two products is rounded before they are added depends on what else is made of them."""
    rng = np.random.default_rng(n)
    x, y = (rng.standard_normal((5, n)).astype("f4") for _ in range(2))
    scale, shift = (rng.standard_normal(n).astype("f4") for _ in range(2))

    def build(a: Value, b: Value, c: Value, d: Value) -> tuple[Value, ...]:
        c, d = (ops.broadcast(v, shape=a.shape, axes=(1,)) for v in (c, d))
        p, q = ops.mul(a, c), ops.mul(b, d)
        v = ops.sub(ops.add(p, q), ops.mul(d, d))
        top = ops.reduce_max(v, axes=(1,))
        hit = ops.eq(v, ops.broadcast(top, shape=a.shape, axes=(0,)))
        return top, ops.select(hit, ops.exp(p), q), ops.select(hit, p, q)

    graph, program = made(build, x, y, scale, shift)
    text = program.source
    assert not re.search(r"= \(v\d+\S* [+-] v\d+\S*\)$", text, re.M), text
    top, found, _ = TritonProgram(program, {}).run(x, y, scale, shift)
    want, *_ = interpret(graph, [x, y, scale, shift])
    np.testing.assert_allclose(top, want, rtol=1e-6)
    q = y * shift
    assert (np.abs(found - q) > 1e-5 * np.abs(q)).sum(1).tolist() == [1] * 5

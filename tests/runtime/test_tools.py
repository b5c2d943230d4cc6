"""The tools of generated code against their meaning."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from ir.ops.random import philox
from runtime import blas
from runtime.tools_numpy import make_tools

TOOLS = make_tools()


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 6e-7), (np.float64, 1e-15)])
@pytest.mark.parametrize("in_place", [False, True])
def test_erf(dtype, bound, in_place):
    x = np.concatenate(
        [np.linspace(-7, 7, 5000), [0.0, -0.0, 1e-30, -1e-8, np.inf, -np.inf]]
    ).astype(dtype)
    want = np.array([math.erf(v) for v in x])
    src = x.copy()
    out = src if in_place else np.empty_like(x)
    TOOLS.erf(src, out, np.empty_like(x), np.empty_like(x), None)
    assert np.all(np.abs(out - want) <= bound * np.abs(want))
    assert np.abs(out).max() <= 1


def test_erf_of_nan():
    x = np.array([np.nan, 1.0], np.float32)
    TOOLS.erf(x, x, np.empty_like(x), np.empty_like(x), None)
    assert np.isnan(x[0]) and x[1] < 1


@pytest.mark.parametrize("n", [1, 3, 4, 8, 1001])
@pytest.mark.parametrize(
    ("seed", "step", "stream"), [(0, 0, 0), (1337, 5, 3), (2**32 - 1, 2**32 - 1, 7)]
)
def test_philox(n, seed, step, stream):
    key = ((seed + stream * 0x9E3779B9) & 0xFFFFFFFF, step)
    want = philox(key, np.arange((n + 3) // 4)).reshape(-1)[:n]
    out = np.empty(n, np.uint32)
    generator = TOOLS.philox(n)
    for _ in range(2):
        generator.fill(np.array(seed, np.uint32), np.array(step, np.uint32), stream, out)
        assert np.array_equal(out, want)


def test_philox_step_after_step_and_back():
    generator, out = TOOLS.philox(10), np.empty(10, np.uint32)
    for seed, step in [
        *((5, s) for s in range(40)),
        (5, 3),
        (5, 2**32 - 1),
        (5, 0),
        (6, 0),
        (6, 1),
        (5, 1),
    ]:
        generator.fill(np.array(seed, np.uint32), np.array(step, np.uint32), 2, out)
        key = ((seed + 2 * 0x9E3779B9) & 0xFFFFFFFF, step)
        assert np.array_equal(out, philox(key, np.arange(3)).reshape(-1)[:10])


def test_philox_allocates_no_more_than_ufuncs_buffer():
    generator, out = TOOLS.philox(400_000), np.empty(400_000, np.uint32)
    seed, step = np.array(1, np.uint32), np.array(0, np.uint32)
    generator.fill(seed, step, 0, out)
    tracemalloc.start()
    for _ in range(5):
        step += np.uint32(1)
        generator.fill(seed, step, 0, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150_000


def test_gather():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    out = np.empty((4, 3), np.float32)
    TOOLS.gather(table, np.array([1, 3, 9, -5], np.int32), out)
    assert np.array_equal(out, table[[1, 3, 3, 0]])


@pytest.mark.parametrize("kind", ["uniform", "few", "one", "distinct", "outside"])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 700])
@pytest.mark.parametrize("width", [1, 5])
def test_scatter(rng, kind, n, width):
    height = 300
    idx = {
        "uniform": rng.integers(0, height, n),
        "few": rng.zipf(1.5, n).clip(max=height - 1),
        "one": np.full(n, 7),
        "distinct": rng.permutation(max(n, height))[:n] % height,
        "outside": rng.integers(-50, height + 50, n),
    }[kind].astype(np.int32)
    rows = rng.normal(size=(n, width)).astype(np.float32)
    want = np.zeros((height, width))
    np.add.at(want, idx.clip(0, height - 1), rows)
    out = np.full((height, width), np.nan, np.float32)
    TOOLS.scatter(idx, rows, out)
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)
    again = np.empty_like(out)
    TOOLS.scatter(idx, rows, again)
    assert np.array_equal(out, again)


def test_int_power():
    x = np.array([2, 3, 1, -1, -1, 2, 0], np.int32)
    y = np.array([5, 0, -2, -3, -2, -1, 3], np.int32)
    out = np.empty_like(x)
    TOOLS.int_power(x, y, out)
    assert out.tolist() == [32, 1, 1, -1, 1, 0, 0]


@pytest.mark.parametrize("core", [b"SkylakeX", b"Haswell"])
@pytest.mark.parametrize(
    "shape", [(32, 784, 128), (784, 32, 128), (7, 600, 600), (8, 16, 8), (1001, 40, 33)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_product(monkeypatch, core, shape, turned):
    m, k, n = shape
    monkeypatch.setattr(blas, "_unpacked", lambda: core == b"SkylakeX")
    rng = np.random.default_rng(0)
    x = (
        rng.standard_normal((k, m), np.float32).T
        if turned
        else rng.standard_normal((m, k), np.float32)
    )
    y, out = rng.standard_normal((k, n), np.float32), np.full((m, n), np.nan, np.float32)
    blas.product(x, y, out)()
    np.testing.assert_allclose(out, x.astype("f8") @ y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 16, 33, 1000])
def test_axpy_and_axpby(monkeypatch, library, dtype, n):
    if not library:
        monkeypatch.setattr(blas, "_function", lambda name, kind="": None)
    rng = np.random.default_rng(n)
    x, y, z = (rng.standard_normal(n).astype(dtype) for _ in range(3))
    a, b = np.array(0.1, dtype), np.array(0.75, dtype)
    add, blend = blas.axpy(x, a, y), blas.axpby(x, a, b, z)
    want_y, want_z = y.copy(), z.copy()
    for step in range(3):
        a[...] = 0.1 * step - 0.05
        add()
        blend()
        want_y, want_z = want_y + a * x, b * want_z + a * x
        np.testing.assert_allclose(y, want_y, rtol=0, atol=8 * np.finfo(dtype).eps)
        np.testing.assert_allclose(z, want_z, rtol=0, atol=8 * np.finfo(dtype).eps)
    x[0] = np.nan
    add()
    blend()
    assert np.isnan([y[0], z[0]]).all() and np.isfinite([y[1:], z[1:]]).all()

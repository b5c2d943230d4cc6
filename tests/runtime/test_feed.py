"""Feeding: samples stay together, in the order asked for, cast where dtypes differ."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from runtime.feed import feeder


def fed(sources, order, size, dtypes=None):
    """All samples, fed in batches of `size` (the last may be smaller)."""
    out = [[] for _ in sources]
    n = len(sources[0])
    for low in range(0, n, size):
        high = min(low + size, n)
        dtypes = dtypes or [s.dtype for s in sources]
        targets = [np.empty((high - low, *s.shape[1:]), d) for s, d in zip(sources, dtypes)]
        feeder(sources, targets, order)(low, high)
        for kept, t in zip(out, targets):
            kept.append(t)
    return [np.concatenate(parts) for parts in out]


@pytest.mark.parametrize("size", [1, 4, 10, 16])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_sample_in_order(rng, size, shuffled):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    order = rng.permutation(10) if shuffled else None
    got_x, got_y = fed([x, y], order, size)
    want = order if shuffled else np.arange(10)
    assert np.array_equal(got_y, want) and np.array_equal(got_x, x[want])


@pytest.mark.parametrize("shuffled", [False, True])
def test_casts(rng, shuffled):
    x, y = np.arange(12, dtype=np.uint8).reshape(6, 2), np.arange(6, dtype=np.int64)
    got_x, got_y = fed([x, y], rng.permutation(6) if shuffled else None, 4, [np.float32, np.int32])
    assert got_x.dtype == np.float32 and got_y.dtype == np.int32 and np.array_equal(got_x, x[got_y])


def test_sources_that_are_not_contiguous(rng):
    x = np.arange(24.0).reshape(2, 12).T
    order = rng.permutation(12)
    assert np.array_equal(fed([x], order, 5)[0], x[order])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [False, True])
def test_feeding_allocates_nothing(rng, kind, shuffled):
    x, target = np.ones((256, 1000), kind), np.empty((64, 1000), np.float32)
    feed = feeder([x], [target], rng.permutation(256) if shuffled else None)
    tracemalloc.start()
    for low in range(0, 256, 64):
        feed(low, low + 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 70_000  # what casting buffers

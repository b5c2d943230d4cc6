"""Batches: every row once an epoch, the same order for the same seed, partial last, casts."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from runtime.feed import Feed


def epoch(feed: Feed, number: int = 0, dtypes=None) -> list[list[np.ndarray]]:
    feed.start(number)
    out = []
    for b in range(feed.batches):
        n = feed.size(b)
        targets = [
            np.empty((n, *a.shape[1:]), d)
            for a, d in zip(feed.arrays, dtypes or [a.dtype for a in feed.arrays])
        ]
        assert feed.fill(b, targets) == n
        out.append(targets)
    return out


def test_unshuffled_batches_are_slices_and_the_last_is_partial():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    batches = epoch(Feed([x, y], 4))
    assert [len(b[1]) for b in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate([b[0] for b in batches]), x)
    assert np.array_equal(np.concatenate([b[1] for b in batches]), y)


def test_shuffled_epochs_keep_rows_together_and_differ():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    feed = Feed([x, y], 3, shuffle=True, seed=5)
    orders = []
    for e in range(3):
        batches = epoch(feed, e)
        rows = np.concatenate([b[1] for b in batches])
        assert sorted(rows) == list(range(10))
        assert np.array_equal(np.concatenate([b[0] for b in batches]), x[rows])
        orders.append(tuple(rows))
    assert len(set(orders)) == 3
    again = Feed([x, y], 3, shuffle=True, seed=5)
    assert tuple(np.concatenate([b[1] for b in epoch(again, 2)])) == orders[2]
    other = Feed([x, y], 3, shuffle=True, seed=6)
    assert tuple(np.concatenate([b[1] for b in epoch(other, 2)])) != orders[2]


@pytest.mark.parametrize("shuffle", [False, True])
def test_casts(shuffle):
    x, y = np.arange(12, dtype=np.uint8).reshape(6, 2), np.arange(6, dtype=np.int64)
    batches = epoch(Feed([x, y], 4, shuffle=shuffle), dtypes=[np.float32, np.int32])
    rows = np.concatenate([b[1] for b in batches])
    got = np.concatenate([b[0] for b in batches])
    assert got.dtype == np.float32 and np.array_equal(got, x[rows])


def test_sources_that_are_not_contiguous():
    x = np.arange(24.0).reshape(2, 12).T
    batches = epoch(Feed([x], 5, shuffle=True))
    assert sorted(np.concatenate([b[0] for b in batches])[:, 0]) == list(range(12))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_filling_allocates_nothing(kind):
    x = np.ones((256, 1000), kind)
    feed = Feed([x], 64, shuffle=True)
    target = [np.empty((64, 1000), np.float32)]
    feed.fill(0, target)
    tracemalloc.start()
    for b in range(4):
        feed.fill(b, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000


@pytest.mark.parametrize(
    ("arrays", "batch", "seed", "words"),
    [
        ([np.zeros(3), np.zeros(4)], 2, 0, "one common number of rows"),
        ([np.zeros((0, 2))], 2, 0, "at least 1"),
        ([np.zeros(3)], 0, 0, "batch_size=0"),
        ([np.zeros(3)], 1, -1, "seed=-1"),
    ],
)
def test_refusals(arrays, batch, seed, words):
    with pytest.raises(ValueError, match=words):
        Feed(arrays, batch, shuffle=True, seed=seed)

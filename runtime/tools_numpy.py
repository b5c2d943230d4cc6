"""The tools that generated NumPy code may ask for; `codegen.program` says what each means.

Refuses to hold anything a generated program can spell with NumPy itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runtime import blas, denormals, native, pool, threads
from runtime.memory import Array
from runtime.views import views

_GOLDEN, _WEYL = 0x9E3779B9, np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)[:, None, None]

# erf(x) = x P(x^2) / Q(x^2) on |x| <= 3.92, where f32 cannot tell it from 1 any more: a least-squares
# fit at Chebyshev points, reweighted until the relative error was even (1.9e-8; 4e-7 in f32 arithmetic)
_ERF_END = np.float32(3.92)
_ERF_P = tuple(
    np.float32(c)
    for c in (
        2.050084443625582e-06, 2.8488376231385743e-04, 3.7656522081278517e-03,
        5.2748833068882575e-02, 1.9040725454505478e-01, 1.128379146130805,
    )
)  # fmt: skip
_ERF_Q = tuple(
    np.float32(c)
    for c in (
        3.80917398350826e-05, 1.16254450765222e-03, 1.4969287116429284e-02,
        1.1410944258430183e-01, 5.020767765120641e-01, 1.0,
    )
)  # fmt: skip


_BOUND: dict[str, Callable[..., Any]] = {
    "product": blas.product,
    "axpy": blas.axpy,
    "axpby": blas.axpby,
}


class Tools:
    """See `codegen.program`, *The tools*. One for each executable: it owns scratch."""

    def __init__(self) -> None:
        self.threads = threads.count()
        self._scatters: dict[tuple[int, int, str], _Scatter] = {}

    def step(self, function: threads.Job) -> threads.Job:
        """A step: one thread in each matrix product, denormals taken for zero, no warnings of numbers."""
        single, most = blas.thread_setters(self.threads)
        flush, restore = denormals.switch()
        errors = np.errstate(all="ignore")

        def step() -> None:
            single()
            flush()
            try:
                function()
            finally:
                restore()
                most()

        return errors(step)

    def both(self, first: threads.Job, second: threads.Job) -> threads.Job:
        """A function that calls two functions, at the same time where that is quicker."""
        if self.threads > 1:
            return threads.Both(first, second)
        return lambda: threads.in_turn(first, second)

    @staticmethod
    def views(buffers: Sequence[Array], table: str) -> dict[str, Any]:
        """The views and bound calls of a table (see `runtime.views`)."""
        return views(buffers, table, _BOUND)

    @staticmethod
    def erf(x: Array, out: Array, s: Array, t: Array, u: Array | None = None) -> None:
        """out = erf(x). f64 goes number by number through the standard library, and allocates."""
        if x.dtype != np.float32:
            out[...] = np.fromiter(map(math.erf, x.flat), x.dtype, x.size).reshape(x.shape)
            return
        np.clip(x, -_ERF_END, _ERF_END, out=out)
        np.multiply(out, out, out=s)
        np.multiply(out, _polynomial(_ERF_P, s, t), out=out)
        np.divide(out, _polynomial(_ERF_Q, s, t), out=out)
        np.clip(out, np.float32(-1), np.float32(1), out=out)

    @staticmethod
    def native(
        source: str, names: Sequence[str], buffers: Sequence[Array]
    ) -> list[native.Function]:
        """The functions `names` of a C source, bound to the addresses of `buffers`."""
        library = native.library(source)
        if "(*pool)" in source:
            pool.connect(library)
        if "(*blas_alone)" in source:
            blas.connect(library)
        return native.bind(library, names, buffers)

    @staticmethod
    def philox(n: int) -> Philox:
        """A generator of `n` words at a time."""
        return Philox(n)

    @staticmethod
    def gather(table: Array, idx: Array, out: Array) -> None:
        """out[i, :] = table[clip(idx[i]), :]."""
        table.take(idx, axis=0, out=out, mode="clip")

    def scatter(self, idx: Array, rows: Array, out: Array) -> None:
        """out[:] = 0, then out[clip(idx[i]), :] += rows[i, :], always in the same order."""
        n, width = rows.shape
        key = (n, width, rows.dtype.str)
        found = self._scatters.get(key)
        if found is None:
            found = self._scatters[key] = _Scatter(n, width, rows.dtype)
        found.add(idx, rows, out)

    @staticmethod
    def int_power(x: Array, y: Array, out: Array) -> None:
        """out = x ** y for ints; a negative exponent gives 0, but for x = 1 or -1."""
        y, negative = np.broadcast_to(y, out.shape), np.broadcast_to(np.less(y, 0), out.shape)
        base = np.where(negative & (np.abs(x) != 1), 0, x)
        # for a base of 1 or -1 only the parity of the exponent counts; 0 ** 1 = 0 for the others
        exponent = np.where(negative, np.where(base == 0, 1, np.abs(y)), y)
        np.power(base.astype(out.dtype), exponent.astype(out.dtype), out=out)


def make_tools() -> Tools:
    """Tools for one program. `KCOMPILE_THREADS`, where set, holds for matrix products too."""
    if threads.chosen():
        blas.set_threads(threads.count())
    return Tools()


def _polynomial(coefficients: tuple[Any, ...], z: Array, out: Array) -> Array:
    np.multiply(z, coefficients[0], out=out)
    for c in coefficients[1:-1]:
        np.add(out, c, out=out)
        np.multiply(out, z, out=out)
    np.add(out, coefficients[-1], out=out)
    return out


class Philox:
    """Philox 4x32-10 (Salmon et al., SC 2011) over the counters 0, 1, 2, ...: `n` u32 words a call.

    A small draw costs mostly the calls of NumPy, so the words of the next steps are made along with
    the ones asked for: a train step asks for one step after the other.
    """

    BLOCK = 8192  # counters worked on at a time: their scratch stays in the cache

    def __init__(self, n: int):
        self.n = n
        m = (n + 3) // 4
        block = max(1, min(m, self.BLOCK))
        self.ahead = ahead = min(16, self.BLOCK // block)
        start = np.arange(m, dtype=np.uint64) * _MULTIPLIERS[0, 0, 0]
        # the first round on (i, 0, 0, 0) up to its key: kept, because the counters never change
        self._high, self._low = start >> _HALF, start << _HALF
        self._scratch = tuple(np.zeros((2, ahead, block), np.uint64) for _ in range(3))
        self._steps = np.arange(ahead, dtype=np.uint64)[:, None]
        rounds = np.arange(1, 10, dtype=np.uint64)[:, None, None]
        self._bumps = rounds * np.uint64(_GOLDEN), rounds * _WEYL + self._steps
        self._keys = np.empty((9, 2, ahead, 1), np.uint64)
        self._words = np.empty((ahead, m, 4), "<u4")
        self._pairs = self._words.view("<u8")
        self._flat = self._words.reshape(ahead, 4 * m)[:, :n]
        self._first, self._seed = -1, -1

    def fill(self, seed: Array, step: Array, stream: int, out: Array) -> None:
        """out (flat) = the first n words under the key (seed + stream * 0x9E3779B9, step)."""
        k0, k1 = (int(seed) + stream * _GOLDEN) & 0xFFFFFFFF, int(step) & 0xFFFFFFFF
        if k0 != self._seed or not 0 <= k1 - self._first < self.ahead:
            self._seed, self._first = k0, k1
            for low in range(0, len(self._high), self.BLOCK):
                self._rounds(k0, k1, slice(low, low + self.BLOCK))
        out[...] = self._flat[k1 - self._first]

    def _rounds(self, k0: int, k1: int, part: slice) -> None:
        high, low, pairs = self._high[part], self._low[part], self._pairs[:, part]
        # x: words 0 and 2 in the lower halves; y: words 1 and 3 in the upper halves
        x, y, p = (a if a.shape[2] == len(high) else a[..., : len(high)] for a in self._scratch)
        keys = self._keys
        np.add(self._bumps[0], np.uint64(k0), out=keys[:, 0])
        np.add(self._bumps[1], np.uint64(k1), out=keys[:, 1])
        np.left_shift(keys, _HALF, out=keys)
        x[0], y[0], y[1] = k0, 0, low
        np.bitwise_xor(high, (self._steps + np.uint64(k1)) & _LOW, out=x[1])
        for key in keys:
            np.multiply(x, _MULTIPLIERS, out=p)
            np.bitwise_xor(y, key, out=y)
            np.bitwise_xor(p[::-1], y, out=x)
            np.right_shift(x, _HALF, out=x)
            np.left_shift(p[::-1], _HALF, out=y)
        # pairs of words, the first in the lower half: the first in memory, too
        np.bitwise_or(x[0], y[0], out=pairs[..., 0])
        np.bitwise_or(x[1], y[1], out=pairs[..., 1])


class _Scatter:
    """Adds n rows of one width to the rows of a table that n indices name.

    `np.add.at` visits rows one by one. Sorting brings equal indices together; then the first rows of
    all runs are added at once, then the second ones, and so on; what is left of long runs is summed run
    by run.
    """

    ROUNDS = 6
    FEW = 64  # rows up to which np.add.at is faster

    def __init__(self, n: int, width: int, dtype: Any):
        self.shift = np.int64(max(n - 1, 1).bit_length())
        self.position = np.arange(n)
        self.key, self.order = np.empty(n, np.int64), np.empty(n, np.int64)
        self.first = np.ones(n, np.bool_)
        self.sorted, self.part, self.more = (np.empty((n, width), dtype) for _ in range(3))

    def add(self, idx: Array, rows: Array, out: Array) -> None:
        """See `Tools.scatter`."""
        out.fill(0)
        key, order, n = self.key, self.order, len(self.key)
        np.clip(idx, 0, len(out) - 1, out=key, casting="unsafe")
        if rows.shape[1] == 1:
            np.add.at(out[:, 0], key, rows[:, 0])
            return
        if n <= self.FEW:
            np.add.at(out, key, rows)
            return
        # one sort of (index, position) pairs packed into ints: stable, and faster than an argsort
        np.left_shift(key, self.shift, out=key)
        np.bitwise_or(key, self.position, out=key)
        key.sort()
        np.bitwise_and(key, (np.int64(1) << self.shift) - 1, out=order)
        np.right_shift(key, self.shift, out=key)
        np.not_equal(key[1:], key[:-1], out=self.first[1:])
        rows.take(order, axis=0, out=self.sorted, mode="clip")
        at = np.flatnonzero(self.first)
        length = np.diff(at, append=n)
        where = key[at]
        out[where] = self.sorted.take(at, axis=0, out=self.part[: len(at)], mode="clip")
        for nth in range(1, self.ROUNDS):
            longer = length > nth
            if not longer.any():
                return
            at, length, where = at[longer], length[longer], where[longer]
            sums = out.take(where, axis=0, out=self.part[: len(at)], mode="clip")
            more = self.sorted.take(at + nth, axis=0, out=self.more[: len(at)], mode="clip")
            np.add(sums, more, out=sums)
            out[where] = sums
        for start, size, row in zip(at.tolist(), length.tolist(), where.tolist(), strict=True):
            if size > self.ROUNDS:
                out[row] += np.add.reduce(self.sorted[start + self.ROUNDS : start + size], axis=0)

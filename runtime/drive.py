"""`NativeDrive`: many steps of a native program over a data set in one call of C, batches gathered there too.

In the order in which they lie, batches are not copied at all: the step reads the data set itself. Results go straight to their
rows. Refuses programs that are more than one C function, and data of another dtype (`runtime.feed.Drive` runs those).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from runtime import pool
from runtime.memory import Array
from runtime.native import Function


class Stream(ctypes.Structure):
    """Rows of samples, and the buffer of a step that takes or gives a batch of them (see `pool.POOL`)."""

    _fields_ = (
        ("at", ctypes.c_void_p),
        ("slot", ctypes.c_long),
        ("row", ctypes.c_long),
        ("move", ctypes.c_long),
    )


class NativeDrive:
    """What `runtime.feed.Drive` is, for a step that is one C function.

    data: the numbers of the step's buffers for the data. sources: a C-contiguous array for each, of its dtype. results: for each
    result the number of its buffer, whether that holds nothing else, so that a step may write elsewhere, and its bytes.
    """

    def __init__(
        self, step: Function, sources: Sequence[Array], data: Sequence[int],
        results: Sequence[tuple[int, bool, int]], rows: int,
    ):  # fmt: skip
        self._step, self._sources, self._rows, self._results = step, sources, rows, results
        self._feeds = _streams(sources, [(n, True) for n in data])
        self._drive = pool.library().pool_drive

    def begin(self, order: Array | None, into: Sequence[Array] = ()) -> None:
        """See `runtime.feed.Drive`. Raises ValueError for results that are no rows of a sample each."""
        for a, (_, _, size) in zip(into, self._results, strict=bool(into)):
            if not a.flags.c_contiguous or len(a) * size != a.nbytes * self._rows:
                raise ValueError("a result that is kept must have a row for each sample")
        self._order = None if order is None else np.ascontiguousarray(order, np.int64)
        self._into = into
        self._streams = _streams(into, [(n, moved) for n, moved, _ in self._results])

    def run(self, first: int, stop: int) -> None:
        """See `runtime.feed.Drive`."""
        feeds, into = self._feeds, self._streams
        self._drive(
            self._step.address, self._step.table, first, stop, self._rows, feeds, len(feeds), into, len(into),
            None if self._order is None else self._order.ctypes.data,
        )  # fmt: skip

    def wait(self) -> None:
        """See `runtime.feed.Drive`."""


def _streams(arrays: Sequence[Array], slots: Sequence[tuple[int, bool]]) -> ctypes.Array[Stream]:
    made = [
        Stream(a.ctypes.data, n, a.nbytes // max(len(a), 1), moved)
        for a, (n, moved) in zip(arrays, slots, strict=False)
    ]
    return (Stream * len(made))(*made)


def fits(sources: Sequence[Array], data: Sequence[Array], results: int) -> bool:
    """Whether `NativeDrive` can run a step over these sources."""
    return (
        len(sources) + results <= pool.MOST
        and all(s.flags.c_contiguous and s.dtype == t.dtype for s, t in zip(sources, data, strict=True))
    )  # fmt: skip

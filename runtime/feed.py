"""`Feed`: a data set in memory, drawn batch by batch straight into a program's data buffers.

The order of an epoch is one permutation from a generator seeded by (seed, epoch), so a resumed run
draws what an uninterrupted one would have. Refuses to adapt user input (the front door turns it into
arrays), to choose programs for partial batches, and to copy where a slice will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.memory import Array


class Feed:
    """Arrays with equal numbers of rows, in batches of `batch_size` (the last may be smaller)."""

    def __init__(
        self, arrays: Sequence[Array], batch_size: int, *, shuffle: bool = False, seed: int = 0
    ):
        """`seed`: any non-negative int. Raises ValueError for unequal lengths or no rows."""
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: a batch has at least one row")
        if seed < 0:
            raise ValueError(f"seed={seed}: a seed is not negative")
        # np.take copies a whole non-contiguous source at every call: straighten it out once
        self.arrays = [np.ascontiguousarray(a) for a in arrays]
        lengths = sorted({len(a) for a in self.arrays})
        if len(lengths) != 1 or lengths[0] == 0:
            raise ValueError(
                f"arrays of {lengths} rows: one common number of rows, at least 1, is needed"
            )
        self.rows, self.batch_size = lengths[0], batch_size
        self.shuffle, self.seed = shuffle, seed
        self._order: Array | None = None
        self._stages: dict[int, Array] = {}
        self.start(0)

    @property
    def batches(self) -> int:
        """Batches of an epoch, the partial one included."""
        return -(-self.rows // self.batch_size)

    def size(self, batch: int) -> int:
        """Rows of batch number `batch`: `batch_size`, or fewer for the last."""
        return min(self.batch_size, self.rows - batch * self.batch_size)

    def start(self, epoch: int) -> None:
        """Take the order of epoch number `epoch`; `epoch` counts from 0."""
        if self.shuffle:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def fill(self, batch: int, targets: Sequence[Array]) -> int:
        """Write batch number `batch` into `targets`, casting where dtypes differ; returns its rows.

        Each target has exactly the rows of the batch (see `size`) and the row shape of its array.
        Allocates nothing, but for one staging buffer per casted array, the first time.
        """
        start = batch * self.batch_size
        stop = min(start + self.batch_size, self.rows)
        if self._order is None:
            for source, target in zip(self.arrays, targets, strict=True):
                np.copyto(target, source[start:stop], casting="unsafe")
            return stop - start
        index = self._order[start:stop]
        for i, (source, target) in enumerate(zip(self.arrays, targets, strict=True)):
            if source.dtype == target.dtype:
                source.take(index, axis=0, out=target, mode="clip")
            else:
                stage = self._stage(i, source, stop - start)
                source.take(index, axis=0, out=stage, mode="clip")
                np.copyto(target, stage, casting="unsafe")
        return stop - start

    def _stage(self, i: int, source: Array, rows: int) -> Array:
        stage = self._stages.get(i)
        if stage is None or len(stage) < rows:
            stage = self._stages[i] = np.empty(
                (min(self.batch_size, self.rows), *source.shape[1:]), source.dtype
            )
        return stage[:rows]

"""Feeding: rows of a data set, in a given order, straight into a program's data buffers, and the loop of steps over them.

Refuses to adapt user input (the front door turns it into arrays), to draw the order of an epoch, and to
choose programs for partial batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from runtime.memory import Array


def feeder(
    sources: Sequence[Array], targets: Sequence[Array], order: Array | None
) -> Callable[[int, int], None]:
    """A function `feed(low, high)` that puts the samples low..high-1 into `targets`.

    sources: arrays with the samples along the first axis. targets: arrays of high - low samples. order:
    for each place in the epoch the sample that stands there (ints), None for the samples as they lie.
    Dtypes that differ are cast. Feeding allocates nothing; a shuffled source of another dtype gets a
    staging buffer here, and one that is not contiguous is copied here.
    """
    if order is None:
        pairs = list(zip(sources, targets, strict=True))

        def copy(low: int, high: int) -> None:
            for source, target in pairs:
                np.copyto(target, source[low:high], casting="unsafe")

        return copy
    # take copies the whole of a source that is not contiguous, at every call: straighten it out once
    straight = [np.ascontiguousarray(s) for s in sources]
    plain = [(s.take, t) for s, t in zip(straight, targets, strict=True) if s.dtype == t.dtype]
    cast = [
        (s.take, np.empty(t.shape, s.dtype), t)
        for s, t in zip(straight, targets, strict=True)
        if s.dtype != t.dtype
    ]

    def gather(low: int, high: int) -> None:
        index = order[low:high]
        for take, target in plain:
            take(index, 0, target, "clip")
        for take, stage, target in cast:
            take(index, 0, stage, "clip")
            np.copyto(target, stage, casting="unsafe")

    return gather


class Drive:
    """Steps over a data set in memory, batch after batch: the interface every executable's `drive` gives.

    begin(order, into): an epoch begins, in this order of samples (None: as they lie); `into`: an array for each of `results`,
    with a row for each sample, where the results of the places low..high-1 go to rows low..high-1 (none: results are not kept).
    run(first, stop): a step for each of the batches first..stop-1, all of them whole; a device may not have come so far yet, but
    is no more than that behind. wait(): until it is done. feeder: makes the
    `feed(low, high)` of an order. results: gives the results of the last step.
    """

    def __init__(
        self,
        feeder: Callable[[Array | None], Callable[[int, int], None]],
        step: Callable[[], None],
        rows: int,
        results: Callable[[], Sequence[Array]] = tuple,
    ):
        self._feeder, self._step, self._rows, self._results = feeder, step, rows, results

    def begin(self, order: Array | None, into: Sequence[Array] = ()) -> None:
        """See the class."""
        self._feed = self._feeder(order)
        self._into = into

    def run(self, first: int, stop: int) -> None:
        """See the class."""
        feed, step, rows, into = self._feed, self._step, self._rows, self._into
        for low in range(first * rows, stop * rows, rows):
            feed(low, low + rows)
            step()
            if into:
                for result, whole in zip(self._results(), into, strict=True):
                    whole[low : low + rows] = result

    def wait(self) -> None:
        """See the class."""

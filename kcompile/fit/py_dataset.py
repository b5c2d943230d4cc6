"""`PyDataset`: a data set of the user's own, asked for one batch by its index.

Also the threads that prepare batches ahead (`workers`). Refuses to convert what a batch holds.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kcompile.errors import KCNotImplementedError


class PyDataset:
    """Subclass with `__getitem__(index)` giving a batch, and `num_batches` (or `__len__`).

    `workers` > 1: that many threads prepare up to `max_queue_size` batches ahead, in order. Threads serve
    for `use_multiprocessing` too, which is said by a warning. `num_batches` None means without end.
    """

    _workers = 1
    _use_multiprocessing = False
    _max_queue_size = 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ):
        if use_multiprocessing:
            warnings.warn(
                "PyDataset(use_multiprocessing=True): batches are prepared by threads of this process.",
                stacklevel=2,
            )
        self._workers, self._max_queue_size = workers, max_queue_size
        self._use_multiprocessing = use_multiprocessing

    @property
    def workers(self) -> int:
        return self._workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = value

    @property
    def use_multiprocessing(self) -> bool:
        return self._use_multiprocessing

    @property
    def max_queue_size(self) -> int:
        return self._max_queue_size

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._max_queue_size = value

    def __getitem__(self, index: int) -> Any:
        raise KCNotImplementedError(
            "KC203",
            f"{type(self).__name__} has no __getitem__",
            "a PyDataset defines __getitem__(self, index), which returns a batch",
            "define it",
        )

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None: without end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise KCNotImplementedError(
            "KC203",
            f"{type(self).__name__} has no length",
            "a PyDataset defines the property num_batches, or __len__",
            "define one of them",
        )

    def __iter__(self) -> Iterator[Any]:
        n = self.num_batches
        for index in itertools.count() if n is None else range(n):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


def batches_of(dataset: Any, indices: Iterable[int]) -> Iterator[Any]:
    """The batches of a PyDataset at `indices`, in order, prepared ahead by its workers."""
    workers = int(getattr(dataset, "workers", 1) or 1)
    if workers <= 1 and not getattr(dataset, "use_multiprocessing", False):
        for i in indices:
            yield dataset[i]
        return
    ahead = max(1, int(getattr(dataset, "max_queue_size", 10)))
    queue: deque[Future[Any]] = deque()
    todo = iter(indices)
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="pydataset") as pool:
        try:
            for i in itertools.islice(todo, ahead):
                queue.append(pool.submit(dataset.__getitem__, i))
            while queue:
                yield queue.popleft().result()
                for i in itertools.islice(todo, 1):
                    queue.append(pool.submit(dataset.__getitem__, i))
        finally:
            for future in queue:
                future.cancel()

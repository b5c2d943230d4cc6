"""Threads for generated code: how many there are, and `run`, which calls a few functions at once.

NumPy releases the interpreter's lock in its loops, so plain threads suffice. The workers are made at
the first parallel call and wait on a queue. Refuses to decide what is worth splitting (`codegen`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

Job = Callable[[], Any]


def count() -> int:
    """Threads that may run at once: `KCOMPILE_THREADS`, else the cores this process may use.

    Raises ValueError when the variable is not a positive int.
    """
    wanted = os.environ.get("KCOMPILE_THREADS")
    if wanted is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not wanted.isdigit() or int(wanted) < 1:
        raise ValueError(f"KCOMPILE_THREADS={wanted!r}: a positive number of threads is needed")
    return int(wanted)


def chosen() -> bool:
    """Whether the user set a number of threads."""
    return "KCOMPILE_THREADS" in os.environ


class _Batch:
    """The jobs of one `run`: how many are still out, and the first error."""

    __slots__ = ("left", "error", "lock", "done")

    def __init__(self, n: int):
        self.left = n
        self.error: BaseException | None = None
        self.lock, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def finish(self, error: BaseException | None) -> None:
        with self.lock:
            self.left -= 1
            if error is not None and self.error is None:
                self.error = error
            last = self.left == 0
        if last:
            self.done.release()


_queue: SimpleQueue[tuple[Job, _Batch]] = SimpleQueue()
_workers = 0
_starting = threading.Lock()


def _work(queue: SimpleQueue[tuple[Job, _Batch]]) -> None:
    while True:
        job, batch = queue.get()
        error = None
        try:
            job()
        except BaseException as e:
            error = e
        batch.finish(error)
        del job, batch, error


def _start(n: int) -> None:
    global _workers
    with _starting:
        while _workers < n:
            threading.Thread(
                target=_work, args=(_queue,), name=f"kcompile-{_workers}", daemon=True
            ).start()
            _workers += 1


def _after_fork() -> None:
    """A forked child has none of the threads: it starts its own when it needs them."""
    global _queue, _workers, _starting
    _queue, _workers, _starting = SimpleQueue(), 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(jobs: Sequence[Job]) -> None:
    """Call every job, at the same time where threads allow; returns when all are done.

    The calling thread takes the first job itself. Raises the first error of a job, after all have
    ended. A job must not call `run`.
    """
    if not jobs:
        return
    if len(jobs) == 1:
        jobs[0]()
        return
    if _workers < len(jobs) - 1:
        _start(min(len(jobs) - 1, max(count() - 1, 1)))
    batch = _Batch(len(jobs) - 1)
    put = _queue.put
    for job in jobs[1:]:
        put((job, batch))
    first: BaseException | None = None
    try:
        jobs[0]()
    except BaseException as e:
        first = e
    batch.done.acquire()
    error = first or batch.error
    if error is not None:
        raise error

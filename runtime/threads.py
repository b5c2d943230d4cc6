"""Threads for generated code: how many there are, and `both`, which calls two functions at once.

NumPy releases the interpreter's lock in its loops, so a plain thread suffices. It is made at the first call and
waits on a queue, asleep. On a busy machine nobody waits for it: what it has not begun when the caller is
done, the caller does itself. Refuses to decide what is worth splitting (`codegen`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np

from runtime import denormals

Job = Callable[[], Any]


def count() -> int:
    """Threads that may run at once: `KCOMPILE_THREADS`, else the cores this process may use, as its affinity and
    the limits of its control groups say.

    Raises ValueError when the variable is not a positive int.
    """
    wanted = os.environ.get("KCOMPILE_THREADS")
    if wanted is None:
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return min(cores, _granted(Path("/")))
    if not wanted.isdigit() or int(wanted) < 1:
        raise ValueError(f"KCOMPILE_THREADS={wanted!r}: a positive number of threads is needed")
    return int(wanted)


def _granted(root: Path) -> int:
    """Whole cores that control groups (v2, or v1) give this process, at least 1; a great many where they set no limit.

    root: where `proc` and `sys` are.
    """
    least = float(1 << 20)
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return int(least)
    for line in lines:
        _, kinds, at = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / kinds
        group = top / at.lstrip("/")
        for place in (
            group,
            *group.parents,
        ):  # a limit holds for all groups below; in a container they may be hidden
            if top == place or top in place.parents:
                least = min(least, _quota(place))
    return max(1, int(least))


def _quota(group: Path) -> float:
    """Cores of one control group."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") else float(1 << 20)
    except (OSError, ValueError, ZeroDivisionError):
        return float(1 << 20)


def chosen() -> bool:
    """Whether the user set a number of threads."""
    return "KCOMPILE_THREADS" in os.environ


class _Task:
    """A job on offer: whoever pops it from `job` runs it."""

    __slots__ = ("job", "error", "done")

    def __init__(self, job: Job):
        self.job = [job]
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


_queue: SimpleQueue[_Task] = SimpleQueue()
_working = False
_starting = threading.Lock()


def _work(queue: SimpleQueue[_Task]) -> None:
    np.seterr(all="ignore")  # as in a step (`runtime.tools_numpy`)
    denormals.switch()[0]()
    while True:
        task = queue.get()
        try:
            job = task.job.pop()
        except IndexError:  # the caller did not wait
            continue
        try:
            job()
        except BaseException as e:
            task.error = e
        task.done.release()
        del job, task


def _start() -> None:
    global _working
    with _starting:
        if not _working:
            threading.Thread(target=_work, args=(_queue,), name="kcompile", daemon=True).start()
            _working = True


def _after_fork() -> None:
    """A forked child does not have the thread: it starts its own when it needs it."""
    global _queue, _working, _starting
    _queue, _working, _starting = SimpleQueue(), False, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def in_turn(first: Job, second: Job) -> None:
    """Call two functions one after the other."""
    first()
    second()


def both(first: Job, second: Job) -> None:
    """Call two functions, the second in the worker if that takes it before the first one ends.

    Returns when both are done. Raises the error of the first, else of the second. May be called from
    several threads, and from a job.
    """
    if not _working:
        _start()
    queue = _queue
    if not queue.empty():  # the worker did not even take the last one
        in_turn(first, second)
        return
    task = _Task(second)
    queue.put(task)
    try:
        first()
    except BaseException:
        if _taken(task):
            task.done.acquire()
        raise
    if not _taken(task):
        second()
        return
    task.done.acquire()
    if task.error is not None:
        raise task.error


class Both:
    """Two functions to be called again and again: at once or in turn, whichever was quicker lately.

    On a busy machine, or where the scheduler puts both threads on one core, a second thread costs time.
    So a few calls every `SECONDS` seconds try both ways; the second thread must be clearly better.
    """

    SECONDS, TRIALS, BETTER = 0.3, 3, 0.9

    def __init__(self, first: Job, second: Job):
        self.first, self.second = first, second
        self.way: Callable[[Job, Job], None] = in_turn
        self.left = 0  # calls until the next trial; below 0: trials made
        self.times: tuple[list[float], list[float]] = [], []  # seconds, in turn and at once

    def __call__(self) -> None:
        self.left -= 1
        if self.left >= 0:
            self.way(self.first, self.second)
            return
        ways = in_turn, both
        k = self.left & 1
        start = perf_counter()
        ways[k](self.first, self.second)
        self.times[k].append(perf_counter() - start)
        if self.left <= -2 * self.TRIALS:
            alone, together = (sorted(t)[self.TRIALS // 2] for t in self.times)
            self.way = ways[together < self.BETTER * alone]
            self.left = max(10 * self.TRIALS, min(1000, int(self.SECONDS / max(alone, 1e-6))))
            for t in self.times:
                t.clear()


def _taken(task: _Task) -> bool:
    """Whether the worker has begun a task; if not, it never will."""
    try:
        task.job.pop()
    except IndexError:
        return True
    return False

"""`Runner`: drives one kind of step over the batches of a source, with the batch events around it.

For arrays in memory without listeners to each batch, many batches are one call of the program's `Drive`. Refuses
to know epochs, other events and results (`kcompile.fit.loops`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import kcompile.fit.checks as checks
import kcompile.steps as steps
from kcompile.callbacks.callback_list import CallbackList
from kcompile.callbacks.tally import Tally
from kcompile.compile import device_memory
from kcompile.fit.arrays import SparseRows
from kcompile.fit.batch import Batch
from kcompile.fit.sources import Arrays, Stream
from kcompile.step import StepFunction
from kcompile.trace import map_structure
from runtime.feed import Drive, feeder

_STOP = {"train": "stop_training", "test": "stop_evaluating", "predict": "stop_predicting"}
# batches between two looks at whether the loop was asked to stop, where nobody listens to each: so many, or as
# many as run in so many seconds
_FEWEST, _MOST, _SECONDS = 16, 256, 0.1


class Runner:
    """Steps of one kind ("train", "test", "predict") of a model."""

    def __init__(self, model: Any, kind: str, tally: Tally):
        self.model, self.kind, self.tally = model, kind, tally
        self.more = False  # whether another epoch follows this one
        self.step_function = step_function(model, kind)
        self.ran: Any = None  # the program of the last step

    def executable(self, specs: Batch) -> Any:
        """The program for batches of these specifications; the time it takes to compile is tallied."""
        start = time.perf_counter()
        seen = len(self.step_function.log)
        exe = self.step_function.executable(*specs)
        if len(self.step_function.log) > seen:
            self.tally.compile_seconds += time.perf_counter() - start
        return exe

    def results(self) -> dict[str, Any]:
        """The metrics so far as floats, by name; from a step of the model's own that has other names, what it gave last."""
        found = self.model.get_metrics_result()
        own = self.step_function.logs
        if own and self.ran is not None and own.keys() != found.keys():
            last = self.ran.results
            found = map_structure(lambda i: last[i], own)
        return dict(sorted(_plain(found)))

    @property
    def _events(self) -> tuple[str, str]:
        return f"on_{self.kind}_batch_begin", f"on_{self.kind}_batch_end"

    def is_quiet(self, source: Arrays | Stream, callbacks: CallbackList) -> bool:
        """Whether nothing but the program need see single batches: arrays in memory, and nobody listens to each."""
        return isinstance(source, Arrays) and not any(map(callbacks.wants_each, self._events))

    def fill(self, batch: Batch) -> Any:
        """The program for `batch`, its data in place."""
        exe = self.executable(batch.specs())
        for target, source in zip(exe.data, batch.leaves(), strict=True):
            np.copyto(target, source, casting="unsafe")
        return exe

    def run(
        self,
        source: Arrays | Stream,
        steps: int | None,
        callbacks: CallbackList,
        logs: Callable[[], dict[str, Any]],
        each: Callable[[Any], dict[str, Any]] | None = None,
        into: Sequence[np.ndarray[Any, Any]] = (),
    ) -> int:
        """An epoch (or `steps` batches of it); returns how many batches ran.

        logs: the metrics so far, asked for only where a callback reads them. each: called with the
        program after each step; what it returns joins the logs of the batch's end. into: where `is_quiet`, arrays of
        all samples for the program's results.
        """
        tally, start = self.tally, time.perf_counter()
        compiled = tally.compile_seconds
        tally.start()
        count = self._run(source, steps, callbacks, logs, each, into)
        tally.steps = count
        tally.seconds = time.perf_counter() - start - (tally.compile_seconds - compiled)
        return count

    def _run(
        self,
        source: Arrays | Stream,
        steps: int | None,
        callbacks: CallbackList,
        logs: Callable[[], dict[str, Any]],
        each: Callable[[Any], dict[str, Any]] | None,
        into: Sequence[np.ndarray[Any, Any]],
    ) -> int:
        begin, end = self._events
        on_begin = getattr(callbacks, begin) if callbacks.wants(begin) else None
        on_end = getattr(callbacks, end) if callbacks.wants(end) else None
        if self.is_quiet(source, callbacks) and each is None:
            return self._quietly(source, steps, into, on_end)
        reads = on_end is not None and callbacks.wants_logs(end)
        filled = (
            self._arrays(source, steps)
            if isinstance(source, Arrays)
            else self._stream(source, steps)
        )
        model, stop, count = self.model, _STOP[self.kind], 0
        try:
            for exe in filled:
                if on_begin is not None:
                    on_begin(count, {})
                exe.take()  # callbacks may have run another model, elsewhere, that shares states
                exe.step()
                self.ran = exe
                extra = each(exe) if each is not None else {}
                if on_end is not None:
                    on_end(count, {**logs(), **extra} if reads else extra)
                count += 1
                if getattr(model, stop):
                    break
        finally:
            filled.close()  # type: ignore[attr-defined]
        return count

    def _quietly(
        self,
        source: Arrays,
        steps: int | None,
        into: Sequence[np.ndarray[Any, Any]],
        on_end: Callable[..., None] | None,
    ) -> int:
        """`run` where nobody listens to each batch: many in one call. `on_end` hears of the last of those."""
        order, first, end = source.epoch(steps)
        size = source.batch_size
        whole = min(end, source.samples // size)
        at, many = first, _FEWEST
        if first < whole:
            exe = self.executable(source.data.specs(size))
            drive = source.kept(exe, lambda: _drive(source, exe))
            drive.begin(order, into)
        while at < whole:
            stop, start = min(at + many, whole), time.perf_counter()
            exe.take()
            drive.run(at, stop)
            self.ran = exe
            many = many // 2 if time.perf_counter() - start > _SECONDS else many * 2
            many = min(max(many, 1), _MOST)
            at = stop
            self.tally.samples = (at - first) * size
            if on_end is not None:
                on_end(at - first - 1, {})
            if getattr(self.model, _STOP[self.kind]):
                end = whole = at
        if end > whole:
            self._rest(source, order, whole * size, into)
            at += 1
            if on_end is not None:
                on_end(at - first - 1, {})
        if first < whole:
            if self.more and not getattr(self.model, _STOP[self.kind]):
                source.draw(steps)
            drive.wait()  # so that the epoch's time is that of its steps
        return at - first

    def _rest(
        self, source: Arrays, order: Any, low: int, into: Sequence[np.ndarray[Any, Any]]
    ) -> None:
        """The step of the last batch of an epoch, which has fewer samples than the others.

        Where rows do not mix, the program of a whole batch runs it, with old rows in the places that are left.
        """
        rest = source.samples - low
        specs = source.data.specs(source.batch_size)
        if low and self.kind == "predict" and self.step_function.rows_apart(*specs):
            exe = self.executable(specs)
            targets = [t[:rest] for t in exe.data]
        else:
            exe = self.executable(source.data.specs(rest))
            targets = exe.data
        _feeder(source, order, targets)(low, source.samples)
        exe.step()
        self.ran = exe
        for target, result in zip(into, exe.results, strict=False):
            target[low:] = result[:rest]
        self.tally.samples += rest

    def _arrays(self, source: Arrays, steps: int | None) -> Iterator[Any]:
        order, first, end = source.epoch(steps)
        feeders: dict[int, tuple[Any, Callable[[int, int], None]]] = {}
        for i in range(first, end):
            low = i * source.batch_size
            high = min(low + source.batch_size, source.samples)
            if high - low not in feeders:
                exe = self.executable(source.data.specs(high - low))
                feeders[high - low] = (exe, _feeder(source, order, exe.data))
            exe, feed = feeders[high - low]
            feed(low, high)
            self.tally.samples += high - low
            yield exe

    def _stream(self, source: Stream, steps: int | None) -> Iterator[Any]:
        check = checks.Labels(self.model) if self.kind != "predict" else None
        for batch in source.epoch(steps):
            if check is not None:
                check(batch)
            exe = self.fill(batch)
            self.tally.samples += batch.size
            yield exe


def _feeder(
    source: Arrays, order: np.ndarray[Any, Any] | None, targets: Sequence[np.ndarray[Any, Any]]
) -> Callable[[int, int], None]:
    """A function (low, high) that puts those samples into `targets`, the data buffers of a program or rows of them."""
    arrays = source.data.leaves()
    if not any(isinstance(a, SparseRows) for a in arrays):
        return feeder(arrays, targets, order)
    pairs = list(zip(arrays, targets, strict=True))

    def densify(low: int, high: int) -> None:
        index = slice(low, high) if order is None else order[low:high]
        for a, t in pairs:
            part = a[index]
            np.copyto(t, part.dense() if isinstance(part, SparseRows) else part, casting="unsafe")

    return densify


def _drive(source: Arrays, exe: Any) -> Drive:
    """The steps of `exe` over the whole batches of `source`. Raises KCMemoryError KC503."""
    arrays = source.data.leaves()
    if any(isinstance(a, SparseRows) for a in arrays):
        rows = source.batch_size
        return Drive(
            lambda order: _feeder(source, order, exe.data), exe.step, rows, lambda: exe.results
        )
    with device_memory():
        made: Drive = exe.drive(arrays)
    return made


def _plain(logs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names with numbers as floats and other arrays as they are; those of dicts inside among them."""
    for name, value in logs.items():
        if isinstance(value, Mapping):
            yield from _plain(value)
        else:
            array = np.array(value)
            yield name, float(array) if array.ndim == 0 else array


class Steps:
    """The steps of a model by kind, each with what it was traced from; opaque to those who look for weights."""

    __slots__ = ("by_kind",)

    def __init__(self) -> None:
        self.by_kind: dict[str, tuple[list[Any], StepFunction]] = {}


def step_function(model: Any, kind: str) -> StepFunction:
    """The model's step of this kind; a new one when what it was traced from has changed.

    That is the optimizer, losses and metrics (a new `compile`) and which variables train. Raises
    KCNotImplementedError KC109 for a model with a `make_train_function` or the like of its own.
    """
    variables = model.variables
    anchors = [
        model.optimizer if kind == "train" else None,
        getattr(model, "_compile_loss", None) if kind != "predict" else None,
        getattr(model, "_compile_metrics", None) if kind != "predict" else None,
        model.trainable,
        *variables,
        *(v.trainable for v in variables),
    ]
    known = model.__dict__.setdefault("_step_functions", Steps()).by_kind
    found = known.get(kind)
    if found is not None and len(found[0]) == len(anchors):
        if all(a is b for a, b in zip(found[0], anchors, strict=True)):
            return found[1]
    steps.refuse_functions(model, kind)
    made = StepFunction(model, kind)
    known[kind] = (anchors, made)
    return made

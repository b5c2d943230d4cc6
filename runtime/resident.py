"""`Resident`: steps over a data set that lies on the device, many of them in one replay.

A captured stretch of steps begins with one kernel that gathers the batches of all of them, by an order and a counter that are on
the device too; so it serves every place of every epoch, and each step reads a batch of its own. Refuses to know models, and data
sets that do not fit (`runtime.streamed`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ir.types import NUMPY, Type
from runtime.device import TORCH, Device, Work
from runtime.gather import Words, gather
from runtime.memory import ALIGNMENT, Array
from runtime.seat import host
from runtime.triton_report import Refused

STRETCH = 16 << 20  # bytes of the batches of a stretch, and of its results: they stay in a GPU's L2
UPLOAD = 64 << 20  # bytes that are cast on the host at a time
_WORDS = {4: "i32", 2: "i16", 1: "i8"}


class Resident:
    """A `runtime.feed.Drive` for a device.

    samples: tensors of the device with the samples along the first axis (`uploaded`). targets: the data tensors of a program, of so
    many rows each; results: those that hold the results of a step, and of the last one of a run, where they are not kept. step: one step on `targets`, through `device.run`, by which
    whatever must be ready before a capture is. over: makes such a step that reads other tensors than `targets` and leaves its
    results in others than `results`. before: called before a run. unroll: steps in the largest captured
    stretch. Raises torch.OutOfMemoryError.
    """

    def __init__(
        self, device: Device, samples: Sequence[Any], targets: Sequence[Any], step: Work,
        over: Callable[[Sequence[Any], Sequence[Any]], Work], before: Work, unroll: int, results: Sequence[Any] = (),
    ):  # fmt: skip
        self._device, self._targets, self._results = device, targets, results
        self._step, self._over, self._before = step, over, before
        self._rows = int(targets[0].shape[0])
        most = [STRETCH // max(1, sum(map(_padded, part))) for part in (targets, results)]
        unroll = max(1, min(unroll, *most, len(samples[0]) // self._rows))
        self._sizes = tuple(sorted({n for n in (unroll, unroll // 8, 1) if n}, reverse=True))
        self._samples = samples
        self._batches = [_Stack(device, unroll, t) for t in targets]
        self._shelves = [_Stack(device, unroll, t) for t in results]
        self._order = device.empty((len(samples[0]),), "i64")
        self._counter = device.empty((1,), "i64")
        self._plain: bool | None = None  # whether the order on the device is 0, 1, 2, ...
        self._replays: dict[tuple[int, bool], Work] = {}
        self._last: Work = lambda: None  # waits for the run before
        self._warm = False

    def begin(self, order: Array | None, into: Sequence[Array] = ()) -> None:
        """See `runtime.feed.Drive`."""
        self._into = into
        if order is None and self._plain:
            return
        import torch

        n = len(self._order)
        whole = np.arange(n) if order is None else np.ascontiguousarray(order, np.int64)
        self._order[: len(whole)].copy_(torch.from_numpy(whole))
        self._plain = order is None

    def run(self, first: int, stop: int) -> None:
        """See `runtime.feed.Drive`. Returns when the device is done with the run before, unless results are kept."""
        if stop <= first:
            return
        self._before()
        self._counter.fill_(first)
        at = first
        while at < stop:
            made = self._advance(stop - at)
            for shelf, whole in zip(self._shelves, self._into, strict=bool(self._into)):
                rows = whole[at * self._rows : (at + made) * self._rows]
                rows[...] = host(shelf.first(made)).reshape(rows.shape)
            at += made
        before, self._last = self._last, self._device.mark()
        before()

    def wait(self) -> None:
        """See `runtime.feed.Drive`."""
        self._device.wait()

    def _advance(self, most: int) -> int:
        """Some of the next so many steps, from where the counter is; returns how many."""
        kept = bool(self._into)
        if not self._warm:  # compiles what is not compiled yet, which a capture must not
            self._warm = True
            self._gather(1, self._targets)
            self._step()
            for shelf, result in zip(self._shelves if kept else (), self._results, strict=kept):
                shelf.parts[0].copy_(result)
            self._counter.add_(1)
            return 1
        size = next(n for n in self._sizes if n <= most)
        if (size, kept) not in self._replays:
            self._replays[size, kept] = self._device.capture(partial(self._stretch, size, kept))
        self._replays[size, kept]()
        return size

    def _stretch(self, steps: int, kept: bool) -> None:
        self._gather(steps, [b.whole for b in self._batches])
        for k in range(steps):
            into = [s.parts[k] for s in self._shelves] if kept else self._results
            self._over([b.parts[k] for b in self._batches], into)()
        self._device.run(lambda: self._counter.add_(steps))

    def _gather(self, steps: int, into: Sequence[Any]) -> None:
        """The samples of the next so many batches; `into`: bytes for them, batch after batch as in a `_Stack`."""
        held: list[Any] = []
        kinds: list[Words] = []
        for source, target, b in zip(self._samples, into, self._batches, strict=True):
            width, n = _width(b.parts[0])
            if n:
                pair = _words(source, width), _words(target, width)
                held += pair
                sizes = (len(t) for t in pair)
                kinds.append(Words(_WORDS[width], n, b.stride // width, *sizes))
        program, blocks = gather(kinds, self._rows, len(self._order))
        kernel = self._device.kernels(program)["gather"]
        if isinstance(kernel, Refused):
            raise kernel
        self._device.run(kernel.bind(steps * blocks, [self._counter, self._order, *held]))


class _Stack:
    """Tensors like one, so many, side by side in one memory. parts: the tensors; whole: their bytes; stride: from one to the next."""

    def __init__(self, device: Device, count: int, like: Any):
        self.stride, self._size = _padded(like), like.nbytes
        self.whole = device.empty((count * self.stride,), "u8")
        spans = (self.whole[k * self.stride :][: like.nbytes] for k in range(count))
        self.parts = [s.view(like.dtype).view(like.shape) for s in spans]

    def first(self, count: int) -> Any:
        """The first so many, as one tensor without gaps."""
        of = self.parts[0]
        bytes_ = self.whole.view(-1, self.stride)[:count, : self._size].contiguous()
        return bytes_.view(of.dtype).view(count, *of.shape)


def _padded(t: Any) -> int:
    """Bytes of a tensor among others in one memory."""
    return max(ALIGNMENT, -(-int(t.nbytes) // ALIGNMENT) * ALIGNMENT)


def room(sources: Sequence[Array], dtypes: Sequence[str]) -> int:
    """Bytes that a data set and its order take on a device."""
    sizes = [int(Type(d, tuple(s.shape)).nbytes) for s, d in zip(sources, dtypes, strict=True)]
    return sum(sizes) + 8 * len(sources[0])


def uploaded(device: Device, source: Array, dtype: str) -> Any:
    """A tensor of the source's shape on the device, cast a stretch of rows at a time. Raises torch.OutOfMemoryError."""
    import torch

    out = device.empty(source.shape, dtype)
    row = max(1, math.prod(source.shape[1:]) * np.dtype(NUMPY[dtype]).itemsize)
    many = max(1, UPLOAD // row)
    for low in range(0, len(source), many):
        part = np.array(source[low : low + many], NUMPY[dtype], order="C")
        out[low : low + many].copy_(torch.from_numpy(part))
    return out


def _width(t: Any) -> tuple[int, int]:
    """Bytes of the widest word that the samples of a tensor consist of, and how many they are."""
    size = int(t.nbytes) // max(1, t.shape[0])
    width = next(w for w in _WORDS if size % w == 0)
    return width, size // width


def _words(t: Any, width: int) -> Any:
    """A tensor as flat words of so many bytes."""
    import torch

    return t.view(-1).view(torch.uint8).view(getattr(torch, TORCH[_WORDS[width]]))

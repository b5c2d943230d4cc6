"""`Resident`: steps over a data set that lies on the device, many of them in one replay.

The samples of a step are gathered on the device, by an order and a counter that are there too, so a captured stretch of steps
serves every place of every epoch. Refuses to know models, and data sets that do not fit (`runtime.feed`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ir.types import NUMPY, Type
from runtime.device import Device, Work
from runtime.executable import defined
from runtime.memory import Array
from runtime.seat import host

BLOCK = 1024  # words that one program of the gather copies
SHELF = 32  # steps whose results are fetched together
UPLOAD = 64 << 20  # bytes that are cast on the host at a time
_WORDS = {4: "int32", 2: "int16", 1: "int8"}


class Resident:
    """A `runtime.feed.Drive` for a device.

    samples: tensors of the device with the samples along the first axis (`uploaded`). targets: the data tensors of a program, of so
    many rows each. step: one step of the program, through `device.run`. before: called before a run. unroll: steps in the
    largest captured stretch. results: tensors that hold the results of a step. Raises torch.OutOfMemoryError.
    """

    def __init__(
        self, device: Device, samples: Sequence[Any], targets: Sequence[Any], step: Work, before: Work,
        unroll: int, results: Sequence[Any] = (),
    ):  # fmt: skip
        self._device, self._step, self._before = device, step, before
        self._results = results
        self._rows = int(targets[0].shape[0])
        self._sizes = tuple(sorted({n for n in (unroll, unroll // 8, 1) if n}, reverse=True))
        flat = [_words(s, t) for s, t in zip(samples, targets, strict=True)]
        self._held = [w for w in flat if w is not None]
        self._order = device.empty((len(samples[0]),), "i64")
        self._counter = device.empty((1,), "i64")
        self._plain: bool | None = None  # whether the order on the device is 0, 1, 2, ...
        self._gather = _gather(tuple(w[2] for w in self._held), self._rows)
        self._replays: dict[int, Work] = {}
        self._last: Work = device.ready  # waits for the run before
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
        if self._into:
            for low in range(first, stop, SHELF):
                self._keep(low, min(low + SHELF, stop))
        else:
            self._go(stop - first)
        before, self._last = self._last, self._device.mark()
        before()

    def wait(self) -> None:
        """See `runtime.feed.Drive`."""
        self._device.wait()

    def _go(self, left: int) -> None:
        """So many steps, from where the counter is."""
        if not self._warm:  # compiles what is not compiled yet, which a capture must not
            self._stretch(1)
            self._warm = True
            left -= 1
        for size in self._sizes:
            while left >= size:
                if size not in self._replays:
                    self._replays[size] = self._device.capture(partial(self._stretch, size))
                self._replays[size]()
                left -= size

    def _keep(self, first: int, stop: int) -> None:
        """Those steps, their results gathered on the device and fetched together."""
        shelves = [r.new_empty((stop - first, *r.shape)) for r in self._results]
        for k in range(stop - first):
            self._go(1)
            for shelf, result in zip(shelves, self._results, strict=True):
                shelf[k].copy_(result)
        for shelf, whole in zip(shelves, self._into, strict=True):
            rows = whole[first * self._rows : stop * self._rows]
            rows[...] = host(shelf).reshape(rows.shape)

    def _stretch(self, steps: int) -> None:
        args = [t for w in self._held for t in w[:2]]
        for k in range(steps):
            self._device.run(partial(self._gather, self._counter, self._order, k, *args))
            self._step()
        self._device.run(lambda: self._counter.add_(steps))


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


def _words(source: Any, target: Any) -> tuple[Any, Any, int] | None:
    """Both tensors as flat words, as wide as a row allows, and the words of a row; None for rows of nothing."""
    import torch

    size = target.nbytes // max(1, target.shape[0])
    if not size:
        return None
    width = next(w for w in _WORDS if size % w == 0)
    kind = getattr(torch, _WORDS[width])
    flat = [t.view(-1).view(torch.uint8).view(kind) for t in (source, target)]
    return flat[0], flat[1], size // width


@functools.cache
def _gather(words: tuple[int, ...], rows: int) -> Callable[..., None]:
    """A launch that copies the samples of batch `counter[0] + k` of an order: one kernel for all arrays.

    words: of a sample, for each array. Called with counter, order, k, and source and target of each array.
    """
    text, programs = source_text(words, rows)
    kernel = defined(text, f"gather {rows} {'-'.join(map(str, words))}")["gather"]

    def launch(*args: Any) -> None:
        kernel[(programs,)](*args, num_warps=4, enable_fp_fusion=True)

    return launch


def source_text(words: Sequence[int], rows: int) -> tuple[str, int]:
    """The Triton source of a gather, and its number of programs."""
    params = "".join(f", s{i}, t{i}" for i in range(len(words)))
    lines = [
        "import triton",
        "import triton.language as tl",
        "",
        "",
        '@triton.jit(do_not_specialize=["k"])',
        f"def gather(counter, order, k{params}):",
        "    p = tl.program_id(0)",
        f"    first = order + (tl.load(counter) + k) * {rows}",
    ]
    programs = 0
    for i, n in enumerate(words):
        blocks = -(-rows * n // BLOCK)
        lines += [
            f"    if (p >= {programs}) & (p < {programs + blocks}):",
            f"        at = (p - {programs}) * {BLOCK} + tl.arange(0, {BLOCK})",
            f"        inside = at < {rows * n}",
            f"        row = tl.load(first + at // {n}, mask=inside, other=0)",
            f"        word = tl.load(s{i} + row * {n} + at % {n}, mask=inside)",
            f"        tl.store(t{i} + at, word, mask=inside)",
        ]
        programs += blocks
    return "\n".join(lines) + "\n", max(1, programs)

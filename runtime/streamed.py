"""`Streamed`: steps over a data set that stays in the host's memory because a device has no room for all of it.

The device holds two stretches of batches. While it works on one the host gathers the next into pinned memory, from where it
is copied beside the work; what runs over a stretch is a `Resident`, with its captured steps. Refuses to know models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ir.types import Type
from runtime.device import Device
from runtime.feed import feeder
from runtime.memory import Array
from runtime.resident import Resident

STRETCH = 32 << 20  # bytes of one of the two stretches


class Streamed:
    """A `runtime.feed.Drive` for a device.

    sources: arrays with the samples along the first axis, read in every epoch. shapes: of a program's data, a batch each.
    dtypes: their IR dtypes. over: makes the `Resident` of tensors with samples. Raises torch.OutOfMemoryError.
    """

    def __init__(
        self, device: Device, sources: Sequence[Array], shapes: Sequence[Sequence[int]], dtypes: Sequence[str],
        over: Callable[[Sequence[Any]], Resident],
    ):  # fmt: skip
        self._sources, self._rows = sources, shapes[0][0]
        self._straight: Sequence[Array] = ()
        batch = sum(int(Type(d, tuple(s)).nbytes) for s, d in zip(shapes, dtypes, strict=True))
        self._batches = len(sources[0]) // self._rows
        self._many = many = max(1, min(self._batches, STRETCH // max(1, batch)))
        held = [
            device.empty((2 * many * self._rows, *s[1:]), d)
            for s, d in zip(shapes, dtypes, strict=True)
        ]
        self._window = over(held)
        self._slots, self._lanes = [], []
        for k in range(2):
            part = slice(k * many * self._rows, (k + 1) * many * self._rows)
            pinned = [
                device.pinned((many * self._rows, *s[1:]), d)
                for s, d in zip(shapes, dtypes, strict=True)
            ]
            self._slots.append([t.numpy() for t in pinned])
            self._lanes.append(device.lane(pinned, [h[part] for h in held]))

    def begin(self, order: Array | None, into: Sequence[Array] = ()) -> None:
        """See `runtime.feed.Drive`."""
        if (
            order is not None and not self._straight
        ):  # one copy of what is not contiguous, not one a stretch
            self._straight = [np.ascontiguousarray(s) for s in self._sources]
        self._order, self._into = order, into
        self._holds = [-1, -1]

    def run(self, first: int, stop: int) -> None:
        """See `runtime.feed.Drive`. Returns before the device is done, unless results are kept."""
        at = first
        while at < stop:
            stretch = at // self._many
            slot, low = stretch % 2, stretch * self._many
            high = min(stop, low + self._many)
            self._load(stretch)
            before = low - slot * self._many  # batches before those of the window
            self._window.begin(None, [a[before * self._rows :] for a in self._into])
            self._window.run(at - before, high - before)
            self._lanes[slot].used()
            self._load(stretch + 1)
            at = high

    def wait(self) -> None:
        """See `runtime.feed.Drive`."""
        self._window.wait()

    def _load(self, stretch: int) -> None:
        """Have a stretch copied to its place, unless it is there or there is none."""
        slot, low = stretch % 2, stretch * self._many
        high = min(low + self._many, self._batches)
        if self._holds[slot] == stretch or low >= high:
            return
        lane, n = self._lanes[slot], (high - low) * self._rows
        lane.settle()
        sources = self._sources if self._order is None else self._straight
        targets = [t[:n] for t in self._slots[slot]]
        feeder(sources, targets, self._order)(low * self._rows, high * self._rows)
        lane.send()
        self._holds[slot] = stretch

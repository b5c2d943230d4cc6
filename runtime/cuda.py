"""`CudaExecutable`: a Triton program on a device, with the interface of `runtime.executable.Executable`.

States live on the device and are shared by all programs of a model (`runtime.seat`); kernels of a step are captured once and
replayed; a data set in memory is uploaded once where it fits, else streamed. The first step of each kind runs by plain launches, as a step
like any other: a capture executes nothing, so no warm-up ever trains. Refuses to know models, and how a device does it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import runtime.tune as tuning
from codegen.program import Buffer, Program
from ir.types import NUMPY
from runtime.choices import asked
from runtime.device import Device, Work
from runtime.gpu import here
from runtime.memory import Array, DeviceMemoryError
from runtime.resident import Resident, room, uploaded
from runtime.seat import Seat, host, is_seated
from runtime.store import StateStore
from runtime.streamed import Streamed
from runtime.triton_program import TritonProgram

log = logging.getLogger("kcompile.device")

NODES = 1600  # launches in one captured stretch of steps
UNROLL = 64  # steps in it at most
SHARE = 0.5  # of the free memory that a data set may take


class CudaExecutable:
    """One program on one device (default: `runtime.gpu.here`), its states those of a store.

    data: host arrays to fill before a step, in the program's order. step(): one step; it may return before the device is done.
    results: the results as host arrays; looking at them waits. drive(sources): steps over a data set.
    keep: for a program whose candidates are not tried yet; called with the tuned program after the first step.
    """

    def __init__(
        self,
        program: Program,
        store: StateStore,
        keep: Callable[[Program], None] | None = None,
        device: Device | None = None,
    ):
        """Raises KeyError for a state the store lacks, ValueError for one of another type, DeviceMemoryError."""
        self.program, self.store, self.device = program, store, device or here()
        buffers = {b.name: b for b in program.buffers}
        states = [buffers[n] for n in program.states]
        for b in states:
            found = store.state(b.path).host
            if found.dtype != NUMPY[b.dtype] or found.shape != b.shape:
                raise ValueError(
                    f"program {program.name!r} expects the state {b.path!r} as {b.dtype}{list(b.shape)}; "
                    f"the store has {found.dtype}{list(found.shape)}"
                )
        self._inputs = [buffers[n] for n in program.data]
        self._admit(store, states)
        with self._memory():
            self._seats = [Seat(store.state(b.path), self.device, b.dtype) for b in states]
            tensors = {b.path: s.tensor for b, s in zip(states, self._seats, strict=True)}
            self._on_device = TritonProgram(program, tensors, self.device)
            self._staging = [self.device.empty(b.shape, b.dtype) for b in self._inputs]
        kept = [self.device.pinned(b.shape, b.dtype) for b in self._inputs]
        self.data: list[Array] = [t.numpy() for t in kept]
        self._lane = self.device.lane(kept, self._staging)
        self._keep = keep
        self._replay: Work | None = None
        self._warm = False

    def _admit(self, store: StateStore, states: Sequence[Buffer]) -> None:
        """Say what the program needs, and refuse it where that is not there."""
        p = self.program
        there = [b for b in states if is_seated(store.state(b.path), self.device, b.dtype)]
        most = p.peak_bytes + sum(
            b.nbytes for b in self._inputs
        )  # a batch on its way, beside the one in work
        need = most - sum(b.nbytes for b in there)
        free = self.device.free()
        log.info(
            "%s takes %s of memory on %s at most, %s of it anew; %s are free",
            p.name, shown(most), self.device, shown(need), shown(free),
        )  # fmt: skip
        if need > free:
            raise too_large(p, self.device)

    @property
    def results(self) -> list[Array]:
        """The results of the last step, as arrays of the host's."""
        return [host(t) for t in self._on_device.results]

    def step(self) -> None:
        """One step on what `data` holds, which may be filled anew at once."""
        self.take()
        self._lane.send()
        for staged, target in zip(self._staging, self._on_device.data, strict=True):
            target.copy_(staged)
        self._lane.used()
        if self._replay is not None:
            self._replay()
        elif self._warm:
            self._replay = self.device.capture(self._launch)
            self._replay()
        else:
            self._launch()
            self._warm = True
        self._lane.settle()

    def _launch(self) -> None:
        """The kernels of a step; the first time of a new program, each by the candidate that the device takes least time for."""
        keep, self._keep = self._keep, None
        with self._memory():
            if keep is None or not self.device.target or asked() is False:
                self._on_device.step()
                return
            self.program = tuning.tune(self._on_device, self.device)
        keep(self.program)

    def run(self, *data: Any) -> list[Array]:
        """Fill the data, make one step, return the results. Raises ValueError for a wrong shape."""
        for target, given in zip(self.data, data, strict=True):
            if np.shape(given) != target.shape:
                raise ValueError(
                    f"data has shape {np.shape(given)}, the program {tuple(target.shape)}"
                )
            np.copyto(target, given, casting="unsafe")
        self.step()
        return self.results

    def drive(self, sources: Sequence[Array]) -> Resident | Streamed:
        """The steps over a data set: on the device where it fits into half of what is free, else through it, stretch by stretch.

        A data set on the device is taken as it is now; what is written to the arrays later is not seen.
        Raises DeviceMemoryError.
        """
        kinds = [b.dtype for b in self._inputs]
        need, free = room(sources, kinds), self.device.free()
        if need <= SHARE * free:
            try:
                log.info("a data set of %s goes to %s", shown(need), self.device)
                with self._memory():
                    pairs = zip(sources, kinds, strict=True)
                    return self._over([uploaded(self.device, s, d) for s, d in pairs])
            except DeviceMemoryError:
                free = self.device.free()  # another has taken it meanwhile
        log.info("a data set of %s stays on the host: %s are free", shown(need), shown(free))
        with self._memory():
            return Streamed(
                self.device, sources, [b.shape for b in self._inputs], kinds, self._over
            )

    def _over(self, samples: Sequence[Any]) -> Resident:
        unroll = max(1, min(UNROLL, NODES // (self._on_device.count + 1)))
        made = self._on_device
        return Resident(
            self.device,
            samples,
            made.data,
            self._launch,
            made.over,
            self.take,
            unroll,
            made.results,
        )

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """What runs out of memory inside says so as a DeviceMemoryError."""
        try:
            yield
        except Exception as e:
            if type(e).__name__ == "OutOfMemoryError":
                raise too_large(self.program, self.device) from e
            raise

    def take(self) -> None:
        """Bring the states here from where they are; `step` and `drive` do it themselves."""
        for seat in self._seats:
            seat.take()

    def __repr__(self) -> str:
        p = self.program
        return f"<CudaExecutable {p.name} on {self.device}: {len(p.kernels)} kernels, {p.peak_bytes:,} bytes>"


def too_large(program: Program, device: Device) -> DeviceMemoryError:
    """The error of a program that does not fit, with its largest buffers by name."""
    largest = sorted(program.buffers, key=lambda b: -b.nbytes)[:5]
    lines = [
        f"  {shown(b.nbytes):>9}  {b.role} {b.path or _origin(program, b)}: {b.dtype}{list(b.shape)}"
        for b in largest
    ]
    fixed = sum(b.nbytes for b in program.buffers if b.role == "state")
    return DeviceMemoryError(
        f"{program.name} needs {shown(program.peak_bytes)} of memory on {device}; its largest buffers (temporaries share memory "
        "where their lives do not meet):\n" + "\n".join(lines),
        f"{shown(device.free())} are free",
        f"{shown(fixed)} are weights and optimizer states, the rest grows with the batch: pass a smaller "
        "batch_size; use mixed_bfloat16; close what else uses the device; or train on device='cpu'",
    )


def _origin(program: Program, b: Buffer) -> str:
    """Where a buffer without a path comes from: the kernel that fills it, and its layers."""
    k = next((k for k in program.kernels if b.name in k.writes), None)
    return b.name if k is None else f"{b.name} ({', '.join([k.name, *k.at[:2]])})"


def shown(n: float) -> str:
    """Bytes for people: 21.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.3g} {unit}" if n < 1000 else f"{n:,.0f} {unit}"
        n /= 1000
    return ""


def on_this_gpu(program: Program) -> Program:
    """The program with the choices of candidates that are known for the GPU of this process."""
    return tuning.from_table(program, here().kind)


def kind() -> str:
    """The device of this process, as its tuned programs are called on disk."""
    return here().kind

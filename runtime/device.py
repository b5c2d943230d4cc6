"""A place where Triton kernels run: `Device`, which is `runtime.gpu.Cuda` or `Interpreted` (CPU tensors, Triton's interpreter).

The two are one interface, so that all that is above them is tested without a GPU: kernels, memory, transfers, capture and
replay, time. What belongs into a captured stretch goes through `Device.run`. Refuses to know what a program's kernels are for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from codegen.program import Kernel, Program
from ir.types import NUMPY
from runtime.interpreter import mend
from runtime.triton_report import Refused, Usage
from runtime.triton_source import functions, options

TORCH = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "bool": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip

Work = Callable[[], None]


@dataclass(frozen=True)
class Ready:
    """A kernel that can be launched. bind: what launches so many programs of it over these tensors. usage: None where it is interpreted."""

    bind: Callable[[int, Sequence[Any]], Work]
    usage: Usage | None = None


class Device(Protocol):
    """name: as torch spells it. kind: what tuning results are kept by; "" where times mean nothing.

    target: what kernels are compiled for, as `runtime.triton_report` takes it; "" where they are not.
    shared: bytes of shared memory that a kernel may have.
    """

    name: str
    kind: str
    target: str
    shared: int

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        """The kernels of a program by name, compiled where they are not yet; or why one does not compile."""

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        """A tensor of IR `dtype`, not initialised. Raises torch.OutOfMemoryError."""

    def pinned(self, shape: Sequence[int], dtype: str) -> Any:
        """Zeros in host memory of the NumPy dtype of `dtype`, from where copies are quick."""

    def run(self, work: Work) -> None:
        """Do `work`, or keep it for the replay while a capture goes on."""

    def capture(self, work: Work) -> Work:
        """A function that does at each call what `work` asks for through `run`; nothing is done now."""

    def lane(self, sources: Sequence[Any], targets: Sequence[Any]) -> Lane:
        """A way for pinned tensors to tensors of the device of the same shapes, beside the device's work."""

    def seconds(self, work: Work) -> float:
        """How long the device takes for `work`, once."""

    def free(self) -> int:
        """Bytes that may still be taken."""

    def mark(self) -> Work:
        """What waits until the work that was asked for so far is done."""

    def wait(self) -> None:
        """Until all work is done."""


class Lane(Protocol):
    """Copies from pinned tensors to tensors of a device, casting, while the device works on something else."""

    def send(self) -> None:
        """Begin to copy, once the device has done what `used` speaks of; what it is asked for from now on waits for the copy."""

    def used(self) -> None:
        """What the device was asked for so far is the last that reads the targets as they are."""

    def settle(self) -> None:
        """Until the sources may be written again."""


class Interpreted:
    """CPU tensors and Triton's interpreter: for tests, slow. limit: bytes it pretends to have.

    Raises RuntimeError when Triton was not told to interpret before it was imported.
    """

    name, kind, target, shared = "cpu", "", "", 1 << 62

    def __init__(self, limit: int = 1 << 62):
        if os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError(
                "Triton kernels on the CPU run in Triton's interpreter; set TRITON_INTERPRET=1 before triton is imported"
            )
        mend()
        self.limit, self.taken = limit, 0
        self._tape: list[Work] | None = None

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        found = functions(program)
        return {k.name: Ready(_interpreted(found[k.name], k)) for k in program.kernels}

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        import torch

        made = torch.empty(tuple(shape), dtype=getattr(torch, TORCH[dtype]))
        if self.taken + made.nbytes > self.limit:
            raise torch.OutOfMemoryError(f"{made.nbytes} bytes beside {self.taken} of {self.limit}")
        self.taken += made.nbytes
        return made

    def pinned(self, shape: Sequence[int], dtype: str) -> Any:
        return zeros(shape, dtype)

    def run(self, work: Work) -> None:
        if self._tape is None:
            work()
        else:
            self._tape.append(work)

    def capture(self, work: Work) -> Work:
        tape = self._tape = []
        try:
            work()
        finally:
            self._tape = None

        def replay() -> None:
            for part in tape:
                part()

        return replay

    def lane(self, sources: Sequence[Any], targets: Sequence[Any]) -> Lane:
        return _Copies(sources, targets)

    def seconds(self, work: Work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def free(self) -> int:
        return self.limit - self.taken

    def mark(self) -> Work:
        return self.wait

    def wait(self) -> None:
        return None

    def __repr__(self) -> str:
        return "Triton's interpreter"


def _interpreted(function: Any, k: Kernel) -> Callable[[int, Sequence[Any]], Work]:
    how = options(k)

    def bind(programs: int, args: Sequence[Any]) -> Work:
        def launch() -> None:
            with np.errstate(
                all="ignore"
            ):  # interpreted lanes behind a mask compute what nobody reads
                function[(programs,)](*args, **how)

        return launch

    return bind


class _Copies:
    """A lane where nothing happens beside anything."""

    def __init__(self, sources: Sequence[Any], targets: Sequence[Any]):
        self._pairs = list(zip(sources, targets, strict=True))

    def send(self) -> None:
        for source, target in self._pairs:
            target.copy_(source)

    def used(self) -> None:
        return None

    def settle(self) -> None:
        return None


def zeros(shape: Sequence[int], dtype: str) -> Any:
    """A tensor of the host's, of the NumPy dtype of an IR `dtype`."""
    import torch

    return torch.from_numpy(np.zeros(tuple(shape), NUMPY[dtype]))

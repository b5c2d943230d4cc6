"""A place where Triton kernels run: `Cuda`, or `Interpreted` (CPU tensors, Triton's interpreter, no GPU needed).

The two are one interface, so that all that is above them is tested without a device: memory, transfers, capture and
replay, time. What belongs into a captured stretch goes through `Device.run`. Refuses to know programs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ir.types import NUMPY
from runtime.interpreter import mend

TORCH = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "bool": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip

Work = Callable[[], None]


class Device(Protocol):
    """name: as torch spells it. kind: what tuning results are kept by; "" where times mean nothing.

    target: what kernels are compiled for, as `runtime.triton_report` takes it; "" where they are not.
    shared: bytes of shared memory that a kernel may have.
    """

    name: str
    kind: str
    target: str
    shared: int

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

    def ready(self) -> None:
        """Until kernels can be launched."""


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

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        import torch

        made = torch.empty(tuple(shape), dtype=getattr(torch, TORCH[dtype]))
        if self.taken + made.nbytes > self.limit:
            raise torch.OutOfMemoryError(f"{made.nbytes} bytes beside {self.taken} of {self.limit}")
        self.taken += made.nbytes
        return made

    def pinned(self, shape: Sequence[int], dtype: str) -> Any:
        return _zeros(shape, dtype)

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

    def ready(self) -> None:
        return None

    def __repr__(self) -> str:
        return "Triton's interpreter"


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


class _Stream:
    """A lane that is a CUDA stream; events keep its copies and what reads them apart."""

    def __init__(self, cuda: Any, index: int, stream: Any, pairs: Sequence[tuple[Any, Any]]):
        self._cuda, self._index, self._beside, self._pairs = cuda, index, stream, pairs
        self._sent, self._used = cuda.Event(), cuda.Event()

    def send(self) -> None:
        with self._cuda.stream(self._beside):
            self._beside.wait_event(self._used)
            for source, target in self._pairs:
                target.copy_(source, non_blocking=True)
            self._sent.record(self._beside)
        self._cuda.current_stream(self._index).wait_event(self._sent)

    def used(self) -> None:
        self._used.record(self._cuda.current_stream(self._index))

    def settle(self) -> None:
        self._sent.synchronize()


class Cuda:
    """One GPU. index: among those that CUDA_VISIBLE_DEVICES shows. Raises RuntimeError when it is not there."""

    def __init__(self, index: int = 0):
        import torch

        cuda: Any = torch.cuda  # its classes are not typed
        if not cuda.is_available():
            raise RuntimeError("no CUDA device is visible to torch")
        if not 0 <= index < cuda.device_count():
            raise RuntimeError(f"no device cuda:{index}; there are {cuda.device_count()}")
        if os.environ.get("TRITON_INTERPRET") == "1":
            raise RuntimeError("TRITON_INTERPRET=1 keeps Triton from the GPU; unset it")
        self._hashing = threading.Thread(target=_hash_triton, daemon=True)
        self._hashing.start()  # while the driver prepares the device
        self._cuda, self.index, self.name = cuda, index, f"cuda:{index}"
        major, minor = cuda.get_device_capability(index)
        self.target = f"sm_{major}{minor}"
        self.kind = f"{cuda.get_device_name(index)} {self.target}"
        self.shared = int(cuda.get_device_properties(index).shared_memory_per_block_optin)
        self._beside = cuda.Stream(index)

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        import torch

        return torch.empty(tuple(shape), dtype=getattr(torch, TORCH[dtype]), device=self.name)

    def pinned(self, shape: Sequence[int], dtype: str) -> Any:
        return _zeros(shape, dtype).pin_memory()

    def run(self, work: Work) -> None:
        work()

    def capture(self, work: Work) -> Work:
        with self._cuda.device(self.index):
            graph = self._cuda.CUDAGraph()
            with self._cuda.graph(graph):
                work()
        replay: Work = graph.replay
        return replay

    def lane(self, sources: Sequence[Any], targets: Sequence[Any]) -> Lane:
        return _Stream(
            self._cuda, self.index, self._beside, list(zip(sources, targets, strict=True))
        )

    def seconds(self, work: Work) -> float:
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def free(self) -> int:
        cuda = self._cuda
        kept = cuda.memory_reserved(self.index) - cuda.memory_allocated(self.index)
        return int(cuda.mem_get_info(self.index)[0]) + int(kept)

    def mark(self) -> Work:
        event = self._cuda.Event()
        event.record(self._cuda.current_stream(self.index))
        wait: Work = event.synchronize
        return wait

    def wait(self) -> None:
        self._cuda.synchronize(self.index)

    def ready(self) -> None:
        self._hashing.join()

    def __repr__(self) -> str:
        return f"{self.name} ({self.kind})"


def _hash_triton() -> None:
    """Have Triton hash itself, for the keys of its cache: a third of a second before the first launch, or beside what comes before that."""
    with contextlib.suppress(ImportError):  # it is private; a launch computes it where this cannot
        from triton.runtime.cache import triton_key

        triton_key()


def _zeros(shape: Sequence[int], dtype: str) -> Any:
    import torch

    return torch.from_numpy(np.zeros(tuple(shape), NUMPY[dtype]))


@functools.cache
def device(name: str) -> Device:
    """The device of a name: "cuda", "cuda:1", or "cpu" for the interpreter. One object for one device.

    Raises RuntimeError when it is not there, ValueError for another name.
    """
    kind, _, number = name.partition(":")
    if kind == "cuda" and (number.isdigit() or not number):
        return device("cuda:0") if not number else Cuda(int(number))
    if name == "cpu":
        return Interpreted()
    raise ValueError(f"there is no device {name!r}; it is 'cpu', 'cuda' or 'cuda:1'")


def here() -> Device:
    """Where Triton programs of this process run: the first visible GPU, or the interpreter where that was asked for."""
    return device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")

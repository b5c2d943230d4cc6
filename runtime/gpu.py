"""`Cuda`: the place that is a GPU, through torch (memory, streams, captured graphs) and our own launcher; and where this process runs.

Refuses to know what programs are for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from codegen.program import Program
from runtime.device import TORCH, Device, Interpreted, Lane, Ready, Work, zeros
from runtime.driver import Driver
from runtime.launcher import Launcher
from runtime.triton_report import Refused


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
        self._cuda, self.index, self.name = cuda, index, f"cuda:{index}"
        major, minor = cuda.get_device_capability(index)
        self.target = f"sm_{major}{minor}"
        self.kind = f"{cuda.get_device_name(index)} {self.target}"
        self.shared = int(cuda.get_device_properties(index).shared_memory_per_block_optin)
        self._beside, self._aside = cuda.Stream(index), cuda.Stream(index)
        stream: Any = torch._C._cuda_getCurrentRawStream  # private; what Triton asks too
        self._launcher = Launcher(Driver(index), self.target, functools.partial(stream, index))

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        return self._launcher.kernels(program)

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        import torch

        return torch.empty(tuple(shape), dtype=getattr(torch, TORCH[dtype]), device=self.name)

    def pinned(self, shape: Sequence[int], dtype: str) -> Any:
        return zeros(shape, dtype).pin_memory()

    def run(self, work: Work) -> None:
        work()

    def capture(self, work: Work) -> Work:
        graph = self._cuda.CUDAGraph()
        with self._cuda.device(self.index), self._cuda.stream(self._aside):
            # not `torch.cuda.graph`, which waits for the device and gives back all the memory that torch keeps
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
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

    def __repr__(self) -> str:
        return f"{self.name} ({self.kind})"


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

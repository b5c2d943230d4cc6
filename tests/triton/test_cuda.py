"""`Cuda` without a GPU: on a stand-in for `torch.cuda` whose streams do their work as late, or as early, as what waits allows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

import torch

import runtime.gpu as gpu
from runtime.streamed import Streamed

REAL = torch.cuda


class Stream:
    """Work in order; `late`: nothing is done before somebody waits for it."""

    late = True

    def __init__(self, index: int = 0):
        self.left: list[Callable[[], None]] = []

    def add(self, work: Callable[[], None]) -> None:
        self.left.append(work)
        if not self.late:
            self.drain()

    def drain(self, until: Any = None) -> None:
        """Do what is left, up to `until`."""
        while self.left:
            work = self.left.pop(0)
            work()
            if work is until:
                return

    def wait_event(self, event: Event) -> None:
        self.add(event.passing())


class Event:
    """A place in a stream; unrecorded, nobody waits for it."""

    def __init__(self, enable_timing: bool = False):
        self.stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or MAIN
        self.mark = lambda: None
        self.stream.add(self.mark)

    def passing(self) -> Callable[[], None]:
        stream, mark = self.stream, getattr(self, "mark", None)
        return lambda: stream.drain(mark) if stream is not None and mark in stream.left else None

    def synchronize(self) -> None:
        self.passing()()

    def elapsed_time(self, end: Event) -> float:
        return 2.0


MAIN = Stream()


@contextlib.contextmanager
def entered(*given: Any) -> Iterator[None]:
    yield


class Graph:
    """Captures nothing; knows on which stream it was to, and that it was ended."""

    def capture_begin(self, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local" and Stand.current is not MAIN
        self.open = True

    def capture_end(self) -> None:
        assert Stand.current is not MAIN
        self.open = False

    def replay(self) -> None:
        assert not self.open and Stand.current is MAIN


class Stand:
    """`torch.cuda`, as far as it is used; what that does not have is not asked for."""

    Stream, Event = Stream, Event
    current: Stream = MAIN
    device = staticmethod(entered)
    CUDAGraph = Graph
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    get_device_capability = staticmethod(lambda index: (9, 0))
    get_device_name = staticmethod(lambda index: "a GPU")
    get_device_properties = staticmethod(
        lambda index: SimpleNamespace(shared_memory_per_block_optin=232448)
    )
    memory_reserved = staticmethod(lambda index: 7)
    memory_allocated = staticmethod(lambda index: 3)
    mem_get_info = staticmethod(lambda index: (100, 200))
    synchronize = staticmethod(lambda index: MAIN.drain())
    current_stream = staticmethod(lambda index: Stand.current)

    @staticmethod
    @contextlib.contextmanager
    def stream(stream: Stream) -> Iterator[None]:
        Stand.current = stream
        try:
            yield
        finally:
            Stand.current = MAIN


class Memory:
    """A tensor whose copies are work of the current stream."""

    def __init__(self, array: np.ndarray[Any, Any]):
        self.array = array

    def __getitem__(self, part: slice) -> Memory:
        return Memory(self.array[part])

    def numpy(self) -> np.ndarray[Any, Any]:
        return self.array

    def copy_(self, source: Memory, non_blocking: bool = False) -> None:
        Stand.current.add(lambda: np.copyto(self.array, source.array))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> gpu.Cuda:
    for name in vars(Stand):
        assert name.startswith("__") or name == "current" or hasattr(REAL, name), name
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch, "cuda", Stand)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: 5, raising=False)
    monkeypatch.setattr("runtime.gpu.Driver", lambda index: index)
    MAIN.left.clear()
    return gpu.Cuda(0)


def test_what_a_gpu_is_called_and_has(cuda: gpu.Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (cuda.name, cuda.target, cuda.kind) == ("cuda:0", "sm_90", "a GPU sm_90")
    assert cuda.shared == 232448
    assert cuda.free() == 100 + 7 - 3
    assert cuda.seconds(lambda: None) == 2e-3
    cuda.wait()
    MAIN.late = True
    done: list[int] = []
    MAIN.add(lambda: done.append(0))
    wait = cuda.mark()
    MAIN.add(lambda: done.append(9))
    assert done == []
    wait()
    assert done == [0]
    MAIN.drain()
    done.clear()
    cuda.capture(lambda: done.append(1))()
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        cuda.capture(lambda: done.append(1 // 0))
    assert Stand.current is MAIN
    with pytest.raises(RuntimeError, match="no device cuda:1; there are 1"):
        gpu.Cuda(1)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1 keeps"):
        gpu.Cuda(0)
    monkeypatch.setattr(Stand, "is_available", staticmethod(lambda: False))
    with pytest.raises(RuntimeError, match="no CUDA device"):
        gpu.Cuda(0)


@pytest.mark.parametrize("late", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("many", [1, 3])
def test_copies_beside_the_work_never_meet_it(
    cuda: gpu.Cuda, many: int, late: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late a stream comes to its work, every batch that is computed on is the one meant."""
    MAIN.late, cuda._beside.late = late
    monkeypatch.setattr(cuda, "empty", lambda shape, dtype: Memory(np.full(shape, -1.0, "f4")))
    monkeypatch.setattr(cuda, "pinned", lambda shape, dtype: Memory(np.full(shape, -2.0, "f4")))
    monkeypatch.setattr("runtime.streamed.STRETCH", many * 8)
    seen: list[float] = []

    def over(held: list[Memory]) -> Any:
        def run(first: int, stop: int) -> None:
            rows = held[0].array
            for k in range(first, stop):
                MAIN.add(lambda k=k: seen.extend(rows[2 * k : 2 * k + 2].tolist()))

        return SimpleNamespace(begin=lambda order, into: None, run=run)

    x = np.arange(22, dtype="f4")
    drive = Streamed(cuda, [x], [(2,)], ["f32"], over)
    for order in (np.random.default_rng(0).permutation(22), None):
        seen.clear()
        drive.begin(order)
        for first, stop in ((0, 4), (4, 5), (5, 11)):
            drive.run(first, stop)
        cuda.wait()
        assert seen == list(x if order is None else x[order])
    assert not MAIN.left

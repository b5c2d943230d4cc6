"""A GPU that is none: memory of the host's, machine code that is compiled, loaded and launched as for an H200, and runs in Triton's interpreter.

Between the launcher and the driver everything is as on a GPU; the driver is `libcuda.c`, which checks each call and tells `Machine` of each
launch. Refuses to compile with anything but what the runtime compiles with.

`python -m tests.triton.standin` trains a small model on `Silent`, and writes which modules of triton that imported.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import kcompile as keras
import kcompile.target as target
import runtime.cuda as cuda
from codegen.program import Buffer, Kernel, Program
from runtime.device import TORCH, Interpreted, Ready, Work
from runtime.driver import Driver
from runtime.interpreter import mend
from runtime.launcher import Launcher
from runtime.triton_report import Refused
from runtime.triton_source import functions, options
from tests.triton.steps import mlp

STREAM = 77
ROWS, SIDE, CLASSES = 8, 6, 10
_LISTENER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint,
    ctypes.POINTER(ctypes.c_uint64),
)  # fmt: skip


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory()  # gone when the process ends
    spec = importlib.util.find_spec("triton")
    assert spec is not None and spec.origin is not None
    declared = Path(spec.origin).parent / "backends" / "nvidia" / "include"  # of CUDA
    source = Path(__file__).parent / "libcuda.c"
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-I", str(declared), str(source)]
    subprocess.run([*command, "-o", f"{made.name}/libcuda.so.1"], check=True)
    return made


def library() -> str:
    """The stand-in for libcuda.so.1, compiled."""
    return f"{_made().name}/libcuda.so.1"


class Silent(Interpreted):
    """A device whose kernels go through the driver's stand-in, which checks and does nothing; triton is not imported."""

    target = "sm_90"
    shared = 232448

    def __init__(self) -> None:  # not `Interpreted`'s, which imports triton
        self.limit, self.taken, self._tape = 1 << 62, 0, None
        self.launcher = Launcher(Driver(0, library()), self.target, lambda: STREAM)

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        return self.launcher.kernels(program)


class Machine(Silent):
    """One that runs them in the interpreter. launches: name and programs of each; broken: what went wrong in one."""

    def __init__(self) -> None:
        super().__init__()
        mend()
        self.launches: list[tuple[str, int]] = []
        self.broken: list[Exception] = []
        self._known: dict[str, tuple[Kernel, Any, list[Buffer]]] = {}
        self._listener = _LISTENER(self._heard)
        self._cuda = ctypes.CDLL(library())
        self._cuda.stand_listen(self._listener)

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        buffers = {b.name: b for b in program.buffers}
        found = functions(program)
        for k in program.kernels:
            self._known[k.name] = k, found[k.name], [buffers[n] for n in k.schedule["args"]]
        return super().kernels(program)

    def capture(self, work: Work) -> Work:
        """As on a GPU: what is launched meanwhile goes through the driver, which runs nothing and may not load anything."""
        self._cuda.stand_capture(1)
        try:
            return super().capture(work)
        finally:
            self._cuda.stand_capture(0)

    def run(self, work: Work) -> None:
        if self._tape is not None and getattr(work, "__module__", "") == "runtime.launcher":
            work()
        super().run(work)

    def _heard(
        self,
        name: bytes,
        programs: int,
        threads: int,
        shared: int,
        stream: int,
        count: int,
        at: Any,
    ) -> None:
        """Run a launch in the interpreter, on memory at the addresses that came through the driver."""
        try:
            k, function, buffers = self._known[name.decode()]
            assert stream == STREAM and threads == 32 * k.schedule["warps"]
            assert count == len(buffers)
            tensors = [_at(at[i], b) for i, b in enumerate(buffers)]
            with np.errstate(all="ignore"):
                function[(programs,)](*tensors, **options(k))
            self.launches.append((k.name, programs))
        except Exception as e:  # nobody hears of it through C
            self.broken.append(e)


def _at(address: int, b: Buffer) -> torch.Tensor:
    """The tensor of a buffer's type and shape at an address."""
    dtype = getattr(torch, TORCH[b.dtype])
    size = math.prod(b.shape) * dtype.itemsize
    if not size:
        return torch.empty(b.shape, dtype=dtype)
    memory = (ctypes.c_char * size).from_address(address)
    return torch.frombuffer(memory, dtype=dtype).view(b.shape)


def trained(backend: str = "triton") -> Any:
    """A small model after two epochs, by steps that are launched, captured, and captured many together."""
    keras.utils.set_random_seed(5)
    model = mlp(SIDE, 20)
    model.run_on(backend=backend)
    rng = np.random.default_rng(3)
    x = rng.random((5 * ROWS, SIDE, SIDE), np.float32)
    y = rng.integers(0, CLASSES, len(x)).astype("i4")
    model.fit(x, y, batch_size=ROWS, epochs=2, verbose=0)
    return model


if __name__ == "__main__":
    target.without_cuda = lambda: ""
    cuda.here = functools.cache(Silent)
    trained()
    sys.stdout.write(" ".join(sorted(m for m in sys.modules if m.partition(".")[0] == "triton")))

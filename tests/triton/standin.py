"""A GPU that is none: memory of the host's, machine code that is compiled, loaded and launched as for an H200, and runs in Triton's interpreter.

Between the launcher and the driver everything is as on a GPU; the driver is `libcuda.c`, which checks each call and tells `Machine` of each
launch. Refuses to compile with anything but what the runtime compiles with.
"""

from __future__ import annotations

import ctypes
import functools
import math
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codegen.program import Buffer, Kernel, Program
from runtime.device import TORCH, Interpreted, Ready
from runtime.driver import Driver
from runtime.launcher import Launcher
from runtime.triton_report import Refused
from runtime.triton_source import functions, options

STREAM = 77
_LISTENER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint,
    ctypes.POINTER(ctypes.c_uint64),
)  # fmt: skip


@functools.cache
def library() -> str:
    """The stand-in for libcuda.so.1, compiled."""
    made = Path(tempfile.mkdtemp()) / "libcuda.so.1"
    source = Path(__file__).parent / "libcuda.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", made, source], check=True)
    return str(made)


class Machine(Interpreted):
    """A device whose kernels go through the driver's stand-in. launches: name and programs of each; broken: what went wrong in one."""

    target = "sm_90"
    shared = 232448

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[tuple[str, int]] = []
        self.broken: list[Exception] = []
        self._known: dict[str, tuple[Kernel, Any, list[Buffer]]] = {}
        self.launcher = Launcher(Driver(0, library()), self.target, lambda: STREAM)
        self.cuda = ctypes.CDLL(library())
        self._listener = _LISTENER(self._heard)

    def kernels(self, program: Program) -> Mapping[str, Ready | Refused]:
        buffers = {b.name: b for b in program.buffers}
        found = functions(program)
        for k in program.kernels:
            self._known[k.name] = k, found[k.name], [buffers[n] for n in k.schedule["args"]]
        self.cuda.stand_listen(self._listener)
        return self.launcher.kernels(program)

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

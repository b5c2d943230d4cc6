"""`Launcher`: what launches the kernels of programs on a GPU, from their machine code; triton is not imported.

What was compiled ahead of time is exactly what runs. A kernel is loaded when it is first launched, and once in a process. Refuses to
compile (`runtime.machine_code`), to own memory, and to know when a launch happens.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

from codegen.program import Program
from runtime.device import Ready, Work
from runtime.driver import Driver
from runtime.machine_code import machine_code
from runtime.triton_report import Binary, Refused
from runtime.triton_source import ALIGNED, identities

WARP = 32  # threads


class Launcher:
    """For one GPU. target: what it runs, "sm_90". stream: the handle of the stream that launches go to, at each launch."""

    def __init__(self, driver: Driver, target: str, stream: Callable[[], int]):
        self.target = target
        self._driver, self._stream = driver, stream
        self._known: dict[str, Ready | Refused] = {}

    def kernels(self, program: Program) -> dict[str, Ready | Refused]:
        """See `runtime.device.Device`."""
        names = identities(program, self.target)
        wanted = {key: name for name, key in names.items() if key not in self._known}
        made = machine_code(program, self.target, {name: key for key, name in wanted.items()})
        for key, name in wanted.items():
            b = made[name]
            self._known[key] = self._ready(b) if isinstance(b, Binary) else b
        return {name: self._known[key] for name, key in names.items()}

    def _ready(self, b: Binary) -> Ready:
        return Ready(_Kernel(b, self._driver, self._stream).bind, b.usage)


class _Kernel:
    """A kernel that is loaded at its first launch, which no capture may be."""

    def __init__(self, binary: Binary, driver: Driver, stream: Callable[[], int]):
        self._binary, self._driver, self._stream = binary, driver, stream
        self._threads, self._shared = binary.usage.warps * WARP, binary.usage.shared

    @functools.cached_property
    def _function(self) -> Any:
        b = self._binary
        return self._driver.load(b.code, b.entry, self._threads, self._shared)

    def bind(self, programs: int, args: Sequence[Any]) -> Work:
        """What launches so many programs over these tensors. Raises ValueError for an address the kernel was not compiled for."""
        b, count = self._binary, len(args) + 2
        addresses = (ctypes.c_uint64 * count)(*(t.data_ptr() for t in args))  # the last two null
        for i in b.aligned:
            if addresses[i] % ALIGNED:
                raise ValueError(f"parameter {i} of {b.entry} lies at {addresses[i]:#x}, which is no multiple of {ALIGNED}")  # fmt: skip
        first = ctypes.addressof(addresses)
        table = (ctypes.c_void_p * count)(*(first + 8 * i for i in range(count)))
        held = [*args, addresses]  # as long as the launch lives

        def launch(held: Any = held) -> None:
            self._driver.launch(
                self._function, programs, self._threads, self._shared, self._stream(), table
            )

        return launch if programs else _nothing


def _nothing() -> None:
    return None

"""`Driver`: the CUDA driver API for one GPU, as far as kernels need it: load machine code, launch a function of it.

Everything happens in the device's primary context, which is torch's too, whatever thread asks and whatever is current there. What was
loaded stays for the life of the process: captured graphs may hold it. Refuses to know Triton, tensors, and memory.
"""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libcuda.so.1"

_POINTER, _UINT, _INT = ctypes.c_void_p, ctypes.c_uint, ctypes.c_int
_SIGNATURES = {
    "cuInit": [_UINT],
    "cuDeviceGet": [_POINTER, _INT],
    "cuDevicePrimaryCtxRetain": [_POINTER, _INT],
    "cuCtxPushCurrent_v2": [_POINTER],
    "cuCtxPopCurrent_v2": [_POINTER],
    "cuModuleLoadData": [_POINTER, ctypes.c_char_p],
    "cuModuleGetFunction": [_POINTER, _POINTER, ctypes.c_char_p],
    "cuFuncGetAttribute": [_POINTER, _INT, _POINTER],
    "cuFuncSetAttribute": [_POINTER, _INT, _INT],
    "cuFuncSetCacheConfig": [_POINTER, _INT],
    "cuLaunchKernel": [_POINTER, *[_UINT] * 7, _POINTER, _POINTER, _POINTER],
    "cuGetErrorName": [_INT, _POINTER],
    "cuGetErrorString": [_INT, _POINTER],
}
_MAX_THREADS, _DYNAMIC_SHARED, _PREFER_SHARED = 0, 8, 1  # CU_FUNC_ATTRIBUTE_*, CU_FUNC_CACHE_*
_OUT_OF_MEMORY = 2
PLAIN_SHARED = 48 << 10  # bytes of shared memory that a kernel may have without asking


class DriverError(RuntimeError):
    """A call of the driver that failed: which, for what, and the driver's name and words for why. code: the number of it."""

    def __init__(self, what: str, code: int, name: str, words: str):
        self.code = code
        super().__init__(f"{what}: {name} ({code}), {words}")


class Driver:
    """One GPU. index: among those that CUDA_VISIBLE_DEVICES shows. Raises DriverError, OSError where the library is not there."""

    def __init__(self, index: int, library: str = LIBRARY):
        found = ctypes.CDLL(library)
        self._calls: dict[str, Any] = {name: found[name] for name in _SIGNATURES}
        for name, call in self._calls.items():
            call.argtypes, call.restype = _SIGNATURES[name], _INT
        self._launch, self._push, self._pop = (
            self._calls[n] for n in ("cuLaunchKernel", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2")
        )
        device, self._context, self._popped = ctypes.c_int(), _POINTER(), _POINTER()
        where = f"device {index}"
        self._do(where, "cuInit", 0)
        self._do(where, "cuDeviceGet", ctypes.byref(device), index)
        self._do(where, "cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    def load(self, code: bytes, entry: str, threads: int, shared: int) -> Any:
        """The function `entry` of a cubin, to be launched by blocks of so many threads with so many bytes of shared memory.

        Raises DriverError, torch.OutOfMemoryError, ValueError for more threads than the function takes.
        """
        module, function, most = _POINTER(), _POINTER(), ctypes.c_int()
        self._push(self._context)
        try:
            self._do(entry, "cuModuleLoadData", ctypes.byref(module), code)
            self._do(entry, "cuModuleGetFunction", ctypes.byref(function), module, entry.encode())
            self._do(entry, "cuFuncGetAttribute", ctypes.byref(most), _MAX_THREADS, function)
            if threads > most.value:
                raise ValueError(f"{entry} takes {most.value} threads at most, not {threads}")
            if shared > PLAIN_SHARED:
                self._do(entry, "cuFuncSetCacheConfig", function, _PREFER_SHARED)
                self._do(entry, "cuFuncSetAttribute", function, _DYNAMIC_SHARED, shared)
        finally:
            self._pop(ctypes.byref(self._popped))
        return function

    def launch(
        self, function: Any, programs: int, threads: int, shared: int, stream: int, addresses: Any
    ) -> None:
        """Ask for a launch; the parameters are read before this returns. addresses: a C array of theirs. Raises DriverError."""
        self._push(self._context)
        code = self._launch(
            function, programs, 1, 1, threads, 1, 1, shared, stream, addresses, None
        )
        self._pop(ctypes.byref(self._popped))
        if code:
            self._fail(f"a launch of {programs} programs of {threads} threads", code)

    def _do(self, what: str, name: str, *args: Any) -> None:
        code = self._calls[name](*args)
        if code:
            self._fail(f"{name} for {what}", code)

    def _fail(self, what: str, code: int) -> None:
        said = []
        for call in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            self._calls[call](code, ctypes.byref(text))
            said.append((text.value or b"unknown").decode("utf8", "replace"))
        if code == _OUT_OF_MEMORY:
            import torch

            raise torch.OutOfMemoryError(f"{what}: {said[0]}")
        raise DriverError(what, code, *said)

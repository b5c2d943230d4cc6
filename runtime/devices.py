"""Which devices this process may use. torch is imported only where a CUDA driver is there.

Refuses to choose one (`kcompile.target`) and to run anything on it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading
from pathlib import Path

PREPARING = "kcompile prepares a GPU"  # a thread's name


@functools.cache
def without_cuda() -> str:
    """Why no CUDA device can be used by this process; empty where one can."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver (libcuda.so.1)"
    found = {package: importlib.util.find_spec(package) for package in ("torch", "triton")}
    for package, spec in found.items():
        if spec is None:
            return f"the package {package!r} is not installed"
    home = getattr(found["torch"], "origin", None) or ""
    if (Path(home).parent / "lib" / "libtorch_cuda.so").exists():
        # not a daemon: a process that ends waits for the driver, which may be in the middle of it
        threading.Thread(target=_prepare, args=(driver,), name=PREPARING).start()
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device"
    return ""


def _prepare(driver: ctypes.CDLL) -> None:
    """Have the driver prepare the first device, while torch is imported. What fails here fails again where torch asks, which says why."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), 0) == 0:
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)

"""Which devices this process may use. torch is imported only where a CUDA driver is there.

Refuses to choose one (`kcompile.target`) and to run anything on it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os


@functools.cache
def without_cuda() -> str:
    """Why no CUDA device can be used by this process; empty where one can."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver (libcuda.so.1)"
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package!r} is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device"
    return ""

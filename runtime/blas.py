"""How many threads NumPy's matrix products use, where the library underneath lets itself be told.

NumPy has no call for it; OpenBLAS, which its wheels bring, has a C function. Refuses to guess: with
another library nothing happens, and its own environment variables apply.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any

_NAMES = tuple(
    f"{prefix}openblas_set_num_threads{suffix}"
    for prefix in ("scipy_", "")
    for suffix in ("64_", "")
)


def set_threads(n: int) -> bool:
    """Let matrix products use `n` threads, in the whole process; returns whether that was possible."""
    setter = _setter()
    if setter is None:
        return False
    setter(n)
    return True


@functools.cache
def _setter() -> Callable[[int], Any] | None:
    for path in _loaded():
        library = ctypes.CDLL(path)
        for name in _NAMES:
            if hasattr(library, name):
                found = getattr(library, name)
                found.argtypes, found.restype = [ctypes.c_int], None
                return found  # type: ignore[no-any-return]
    return None


def _loaded() -> list[str]:
    """The paths of OpenBLAS libraries that this process has loaded."""
    if not os.path.exists("/proc/self/maps"):
        return []
    with open("/proc/self/maps") as f:
        paths = (line.split(maxsplit=5)[-1].strip() for line in f if "openblas" in line)
        return sorted(set(paths))

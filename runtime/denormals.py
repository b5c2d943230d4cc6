"""Numbers below the least normal one, taken for zero while a step runs.

The moments of weights that no longer learn decay into them, and arithmetic on them is many times slower; TensorFlow and
JAX take them for zero, too. The switch is the thread's floating-point environment, which the C library sets (on Linux
and macOS; elsewhere nothing happens). Refuses to decide when.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import Any

_SIZE = 32  # bytes: at least those of C's fenv_t
# where the register lies in fenv_t, and its bits: flush to zero, and denormals are zero
_REGISTERS = {
    ("Linux", "x86_64"): (28, 0x8040),
    ("Linux", "aarch64"): (0, 1 << 24),
    ("Darwin", "arm64"): (8, 1 << 24),
}

Switch = Callable[[], Any]


def switch() -> tuple[Switch, Switch]:
    """Two quick calls for the thread that makes them: begin to flush, and back to what is set now."""
    libm = _libm()
    if libm is None:
        return _nothing, _nothing
    offset, bits = _REGISTERS[_machine()]
    before = ctypes.create_string_buffer(_SIZE)
    libm.fegetenv(before)
    flushing = ctypes.create_string_buffer(before.raw, _SIZE)
    word = ctypes.c_uint32.from_buffer(flushing, offset)
    word.value |= bits
    return functools.partial(libm.fesetenv, flushing), functools.partial(libm.fesetenv, before)


def _nothing() -> None:
    return None


def _machine() -> tuple[str, str]:
    return platform.system(), platform.machine()


@functools.cache
def _libm() -> Any:
    if _machine() not in _REGISTERS:
        return None
    try:
        found = ctypes.CDLL("libm.so.6" if platform.system() == "Linux" else None)
    except OSError:
        return None
    return found if hasattr(found, "fesetenv") else None

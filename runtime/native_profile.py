"""Seconds of each kernel of a native program: its C with the clock read around every call.

Refuses to print, and to time what NumPy runs.
"""

from __future__ import annotations

import ctypes
import re
from statistics import median

import numpy as np

from runtime import native
from runtime.executable import Executable, definitions
from runtime.tools_numpy import make_tools

_CALL = re.compile(r"^( +)((?:k\d+|each)\(.*\);)  // k(\d+)$", re.M)
_CLOCK = """#include <time.h>
static double clock_now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec;
}
"""


def kernel_seconds(exe: Executable, steps: int = 20) -> list[float]:
    """Seconds that each of the program's kernels takes, the median over some steps; 0 for those in NumPy.

    The states are afterwards what they were. Raises NativeError where C cannot be compiled.
    """
    program = exe.program
    names = definitions(program)
    if "C" not in names:
        return [0.0] * len(program.kernels)
    text = names["C"]
    count = max(len(program.kernels), 1)
    timed = _CALL.sub(r"\1{ const double t = clock_now(); \2 spent[\3] += clock_now() - t; }", text)
    first = timed.index("\nvoid s")
    timed = f"{timed[:first]}\n{_CLOCK}double spent[{count}];{timed[first:]}"
    spent = (ctypes.c_double * count).in_dll(native.library(timed), "spent")
    names["C"] = timed  # a global of `build`
    step = names["build"](exe.buffers, make_tools())
    before = [a.copy() for a in exe.states]
    rows = []
    for _ in range(steps):
        for k in range(count):
            spent[k] = 0.0
        step()
        rows.append(list(spent)[: len(program.kernels)])
    for a, old in zip(exe.states, before, strict=True):
        np.copyto(a, old)
    return [median(column) for column in zip(*rows, strict=True)]

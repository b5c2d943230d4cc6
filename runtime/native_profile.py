"""Seconds of each kernel of a native program: its C with the clock read around every call.

Refuses to print, and to time what NumPy runs.
"""

from __future__ import annotations

import ctypes
import re
from statistics import median

import numpy as np

from codegen.program import Program
from runtime import denormals, native
from runtime.executable import Executable, definitions
from runtime.tools_numpy import make_tools

_CALL = re.compile(r"^( +)((?:(k\d+)|each)\((?:(k\d+)_part)?.*\);)  // k(\d+)$", re.M)
_FUNCTION = re.compile(r"^APART void (k\d+)\(.*?^}$", re.M | re.S)
_CLOCK = """#include <time.h>
static double clock_now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec;
}
"""


class Clocked:
    """The steps of an executable with the clock read around every kernel. Raises NativeError where C cannot be compiled."""

    def __init__(self, exe: Executable):
        self.exe, self.step = exe, exe.step
        self.count = max(len(exe.program.kernels), 1)
        self.spent = (ctypes.c_double * self.count)()
        names = definitions(exe.program)
        if "C" in names:
            timed = _CALL.sub(
                r"\1{ const double t = clock_now(); \2 spent[\5] += clock_now() - t; }", names["C"]
            )
            first = timed.index("\nvoid s")
            timed = f"{timed[:first]}\n{_CLOCK}double spent[{self.count}];{timed[first:]}"
            self.spent = (ctypes.c_double * self.count).in_dll(native.library(timed), "spent")
            names["C"] = timed  # a global of `build`
            self.step = names["build"](exe.buffers, make_tools())

    def seconds(self) -> list[float]:
        """Of one step: the seconds of each kernel, 0 for those in NumPy."""
        for k in range(self.count):
            self.spent[k] = 0.0
        flush, back = denormals.switch()  # as in the steps of a data set
        flush()
        self.step()
        back()
        return list(self.spent)[: len(self.exe.program.kernels)]


def kernel_seconds(exe: Executable, steps: int = 20) -> list[float]:
    """Seconds that each of the program's kernels takes, the median over some steps; 0 for those in NumPy.

    The states are afterwards what they were. Raises NativeError where C cannot be compiled.
    """
    clocked = Clocked(exe)
    before = [a.copy() for a in exe.states]
    rows = [clocked.seconds() for _ in range(steps)]
    for a, old in zip(exe.states, before, strict=True):
        np.copyto(a, old)
    return [median(column) for column in zip(*rows, strict=True)]


def texts(program: Program) -> list[str]:
    """What each kernel is, whatever it and its memory are called: the calls of its C functions, and what stands in those."""
    functions = {m[1]: m[0].replace(m[1], "k", 1) for m in _FUNCTION.finditer(program.source)}
    found = [""] * len(program.kernels)
    for m in _CALL.finditer(program.source):
        units = m[2].rsplit("}", 1)[-1] if m[4] else ""
        found[int(m[5])] += functions[m[3] or m[4]] + units
    return found

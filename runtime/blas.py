"""The BLAS under NumPy's matrix products: how many threads it uses, which pieces it multiplies best, its products for C.

NumPy has no calls for these; OpenBLAS, which its wheels bring, has C functions. Refuses to guess: with
another library nothing is set and nothing is cut, and its own environment variables apply.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from runtime import native
from runtime.memory import Array

# OpenBLAS packs both operands of a product before it multiplies; for AVX-512 it has kernels that do not,
# which it takes up to so many multiply-adds
UNPACKED = 1_000_000
_WITHOUT_PACKING = {b"SkylakeX", b"Cooperlake", b"SapphireRapids"}
ROWS = 8  # at least so many in a piece: with fewer, the right operand is read too often


def set_threads(n: int) -> bool:
    """Let matrix products use `n` threads, in the whole process; returns whether that was possible."""
    setter = _function("set_num_threads")
    if setter is not None:
        setter(n)
    return setter is not None


def thread_setters(most: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Two quick calls: one thread in each product, and `most`. They do nothing with another library."""
    setter = _function("set_num_threads")
    if setter is None:
        return _nothing, _nothing
    return functools.partial(setter, 1), functools.partial(setter, most)


def _nothing() -> None:
    return None


def product(left: Array, right: Array, out: Array) -> Callable[[], None]:
    """A function that sets out = left @ right (matrices in f32), by rows that BLAS need not pack where it has such kernels."""
    pieces = [(left, right, out)]
    m, n = out.shape
    parts = -(-m * n * left.shape[1] // UNPACKED)
    rows = -(-m // parts)
    if parts > 1 and rows >= ROWS and right.strides[1] == right.itemsize and _unpacked():
        pieces = [(left[i : i + rows], right, out[i : i + rows]) for i in range(0, m, rows)]
    matmul = np.matmul

    def run() -> None:
        for a, b, c in pieces:
            matmul(a, b, c)

    return run


def axpy(x: Array, a: Array, y: Array) -> Callable[[], Any]:
    """A function that sets y += a * x, in one pass over memory (BLAS's routine of that name).

    x, y: vectors side by side in memory, f32 or f64; a: a number of their type, of no axes, that is read at each call.
    With another library, two of NumPy's passes.
    """
    return _scaled_sum(x, a, None, y)


def axpby(x: Array, a: Array, b: Array, y: Array) -> Callable[[], Any]:
    """A function that sets y = b * y + a * x; the rest as in `axpy`."""
    return _scaled_sum(x, a, b, y)


def _scaled_sum(x: Array, a: Array, b: Array | None, y: Array) -> Callable[[], Any]:
    routine = _function("axpy" if b is None else "axpby", y.dtype.char)
    if routine is not None:
        return _bound(routine, a, x, b, y)
    scaled = np.empty_like(y)

    def run() -> None:
        np.multiply(x, a, scaled)
        if b is not None:
            np.multiply(y, b, y)
        np.add(y, scaled, y)

    return run


def _bound(routine: Any, a: Array, x: Array, b: Array | None, y: Array) -> Callable[[], Any]:
    """A routine (n, a, x, step of x, b if there is one, y, step of y) with its arguments, all by address."""
    wide = ctypes.c_int64 if routine.__name__.endswith("64_") else ctypes.c_int32
    n, one = wide(len(y)), ctypes.byref(wide(1))
    routine.restype = None
    scale = () if b is None else (_at(b),)
    bound = functools.partial(routine, ctypes.byref(n), _at(a), _at(x), one, *scale, _at(y), one)
    bound.arrays = (a, x, b, y)  # type: ignore[attr-defined]
    return bound


def _at(a: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


# while stretches of native programs run that call it, the library keeps to one thread: theirs are the pool's
ALONE = r"""
#include <pthread.h>
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
static int inside, before;
int (*blas_count)(void);
void (*blas_set)(int);
void blas_alone(int change) {
  pthread_mutex_lock(&door);
  if (change > 0 && !inside) { before = blas_count(); blas_set(1); }
  inside += change;
  if (!inside) blas_set(before);
  pthread_mutex_unlock(&door);
}
"""


def connect(program: Any) -> None:
    """Give a loaded native program the library's products: its pointers `blas_f32`, `blas_f64` and `blas_alone`, where it has them.

    With another library they stay null.
    """
    routines = {t: _function("gemm", f"cblas {c}") for t, c in (("f32", "f"), ("f64", "d"))}
    if any(r is None for r in routines.values()):
        return
    given = {f"blas_{t}": r for t, r in routines.items()} | {"blas_alone": _alone().blas_alone}
    for name, routine in given.items():
        if hasattr(program, name):
            _point(program, name, routine)


@functools.cache
def _alone() -> Any:
    library = native.library(ALONE)
    _point(library, "blas_count", _function("get_num_threads"))
    _point(library, "blas_set", _function("set_num_threads"))
    return library


def _point(library: Any, name: str, routine: Any) -> None:
    ctypes.c_void_p.in_dll(library, name).value = ctypes.cast(routine, ctypes.c_void_p).value


@functools.cache
def _unpacked() -> bool:
    """Whether this processor's kernels include those that do not pack."""
    core = _function("get_corename")
    if core is None:
        return False
    core.restype = ctypes.c_char_p
    return core() in _WITHOUT_PACKING


@functools.cache
def _function(name: str, kind: str = "") -> Any:
    """A function of the OpenBLAS that NumPy brings; None for another BLAS.

    kind: the type of a routine's numbers, as NumPy's character of a dtype; none for a function of OpenBLAS itself. With "cblas " before
    it: the routine with values for arguments, and 64-bit ints.
    """
    for path in (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "")):
            if kind.startswith("cblas "):
                full = f"{prefix}cblas_{'s' if kind[-1] == 'f' else 'd'}{name}64_"
            elif kind:
                full = f"{prefix}{'s' if kind == 'f' else 'd'}{name}_{suffix}"
            else:
                full = f"{prefix}openblas_{name}{suffix}"
            if hasattr(library, full):
                return getattr(library, full)
    return None

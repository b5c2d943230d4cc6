"""Allocation: arrays and arenas aligned to 64 bytes, the typed views of an arena, and the error where memory does not suffice.

Refuses to hold liveness or offsets (`codegen` plans them) and who owns what (`runtime.store`).
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ir.types import NUMPY

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

ALIGNMENT = 64


class DeviceMemoryError(MemoryError):
    """A program needs more memory than its device has. given: what takes most; rule: what is free; todo: what to do."""

    def __init__(self, given: str, rule: str, todo: str):
        self.given, self.rule, self.todo = given, rule, todo
        super().__init__(f"{given}\n{rule}\nwhat to do: {todo}")


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros of `shape` and NumPy `dtype`, C-contiguous, at an address divisible by `ALIGNMENT`."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    out: Array = arena(size)[:size].view(kind).reshape(shape)
    return out


def arena(nbytes: int) -> Array:
    """`nbytes` zero bytes (u8), the first at an address divisible by `ALIGNMENT`."""
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def view(memory: Array, offset: int, dtype: str, shape: tuple[int, ...]) -> Array:
    """The array of IR `dtype` and `shape` at `offset` bytes of `memory` (u8).

    Raises ValueError when it would reach beyond the memory or lie askew for its dtype.
    """
    kind = np.dtype(NUMPY[dtype])
    size = math.prod(shape) * kind.itemsize
    if offset < 0 or offset + size > memory.nbytes:
        raise ValueError(
            f"{dtype}{list(shape)} at {offset} needs {offset + size} bytes; the arena has {memory.nbytes}"
        )
    if offset % kind.itemsize:
        raise ValueError(f"offset {offset} is no multiple of the {kind.itemsize} bytes of {dtype}")
    out: Array = memory[offset : offset + size].view(kind).reshape(shape)
    return out

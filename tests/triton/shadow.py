"""Who touched which byte: the shadow of memory that kernels are watched with, in one launch (`Shadow`) and from launch to launch (`Arena`).

A *stretch* is what one program does between two barriers; stretches are numbered from 1 in the order they run. Refuses to know
the interpreter and what is done about a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codegen.program import Kernel
from runtime.triton_program import TritonProgram

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Shadow:
    """Of each byte from `low` to `high`: the stretches that wrote it, added to it and read it last, the last one of another program that
    read it, and the argument through which it was written; 0 for none."""

    low: int
    high: int
    wrote: Array = field(init=False)
    added: Array = field(init=False)
    read: Array = field(init=False)
    by: Array = field(init=False)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all accesses."""
        n = self.high - self.low
        self.wrote, self.added, self.read, self.by = (np.zeros(n, np.int32) for _ in range(4))

    def load(self, at: Array, now: int, start: int) -> str:
        """Note that bytes are read in stretch `now` of a program that began with `start`; returns what is wrong with that."""
        self.read[at] = now
        if (self.wrote[at] >= start).any():
            return "reads what the same program wrote"
        return "reads what is added to in the same launch" if self.added[at].any() else ""

    def store(self, at: Array, now: int, start: int, by: int) -> str:
        """Note that bytes are written through argument `by`; the rest as in `load`."""
        wrote = self.wrote[at]
        self.wrote[at], self.by[at] = now, by
        if ((wrote > 0) & (wrote < start)).any():
            return "writes what another program writes"
        if (wrote == now).any():
            return "writes twice without a barrier"
        if (self.read[at] == now).any():
            return "writes what it read without a barrier"
        return "writes what is added to in the same launch" if self.added[at].any() else ""

    def add(self, at: Array, now: int, by: int) -> str:
        """Note that bytes are added to; the rest as in `store`."""
        self.added[at], self.by[at] = now, by
        return "adds to what is read or written" if (self.wrote[at] | self.read[at]).any() else ""


class Arena:
    """Which buffer wrote each byte of a program's arena last in this step: by number from 1, 0 where none did."""

    def __init__(self, made: TritonProgram):
        self.low, self.program = int(made._arena.data_ptr()), made.program
        self.owner = np.zeros(made._arena.nbytes, np.int32)
        self.number = {b.name: n for n, b in enumerate(made.program.buffers, 1)}
        self.whole = {b.name: b.path for b in made.program.buffers if b.role == "step"}

    def homes(self, k: Kernel, rows: Mapping[str, Any], at: Mapping[str, Any]) -> list[int]:
        """The numbers of the buffers that a kernel's arguments are, or are rows of, in a step of its loop (`TritonProgram.rows`)."""
        name_of = {id(t): n for n, t in at.items()}
        found = []
        for n in k.schedule["args"]:
            moved = n in rows and n not in self.whole  # in turn
            found.append(self.number[name_of[id(rows[n])] if moved else self.whole.get(n, n)])
        return found

    def holds(self, address: int) -> bool:
        """Whether an address is in it."""
        return self.low <= address < self.low + len(self.owner)

    def take(self, addresses: Array, home: int) -> None:
        """Note that a buffer wrote the bytes at some addresses, as far as they lie here."""
        at = addresses - self.low
        self.owner[at[(at >= 0) & (at < len(self.owner))]] = home

"""`Executable`: a program with its memory, ready to step.

Compiles the generated source (registered with `linecache`, so that tracebacks and debuggers show its
lines), allocates the arena once, binds every buffer, and exposes data, results and `step`. Refuses to
know models, variables and epochs.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.program import Buffer, Program
from ir.types import NUMPY
from runtime.drive import NativeDrive, fits
from runtime.feed import Drive, feeder
from runtime.memory import Array, aligned, arena, view
from runtime.native import Function
from runtime.store import StateStore
from runtime.tools_numpy import make_tools


class Executable:
    """One program bound to one store.

    data: the arrays to fill before a step, in the program's order. step(): one step, updating the
    states in place. results: arrays that hold the results until the next step. states: the arrays of
    the store that the program updates.
    """

    def __init__(self, program: Program, store: StateStore, tools: Any = None):
        """Raises KeyError for a state the store lacks, ValueError for one of another type."""
        self.program, self.store = program, store
        self._arena = arena(program.arena_bytes)
        self.buffers = [self._bind(b) for b in program.buffers]
        self._states = [store.state(b.path) for b in program.buffers if b.role == "state"]
        at = {b.name: a for b, a in zip(program.buffers, self.buffers, strict=True)}
        self.states: list[Array] = [at[n] for n in program.states]
        self.data: list[Array] = [at[n] for n in program.data]
        self.results: list[Array] = [at[n] for n in program.results]
        build = definitions(program)["build"]
        self.step: Callable[[], None] = build(
            self.buffers, make_tools() if tools is None else tools
        )

    def _bind(self, b: Buffer) -> Array:
        if b.role == "data":
            return aligned(b.shape, NUMPY[b.dtype])
        if b.role != "state":
            return view(self._arena, b.offset, b.dtype, b.shape)
        array = self.store[b.path]
        if array.dtype != NUMPY[b.dtype] or array.shape != b.shape:
            raise ValueError(
                f"program {self.program.name!r} expects the state {b.path!r} as "
                f"{b.dtype}{list(b.shape)}; the store has {array.dtype}{list(array.shape)}"
            )
        if not array.flags.c_contiguous:
            raise ValueError(f"state {b.path!r} is not C-contiguous")
        return array

    def take(self) -> None:
        """Bring the states home from where they are: before a step, if programs of another target may have made one since."""
        for state in self._states:
            if state.away is not None:
                _ = state.array

    def run(self, *data: Any) -> list[Array]:
        """Fill the data, make one step, return copies of the results.

        Raises ValueError when the number of arrays or a shape differs from the program's.
        """
        self.fill(data)
        self.step()
        return [a.copy() for a in self.results]

    def fill(self, data: Sequence[Any]) -> None:
        """Copy `data` into the data buffers, casting. Raises ValueError as `run` does."""
        if len(data) != len(self.data):
            raise ValueError(
                f"program {self.program.name!r} takes {len(self.data)} arrays "
                f"({', '.join(self.program.data)}), not {len(data)}"
            )
        for name, target, given in zip(self.program.data, self.data, data, strict=True):
            value = np.asarray(given)
            if value.shape != target.shape:
                raise ValueError(
                    f"program {self.program.name!r}: {name!r} has shape {target.shape}, not {value.shape}"
                )
            np.copyto(target, value, casting="unsafe")

    def drive(self, sources: Sequence[Array]) -> Drive | NativeDrive:
        """The steps over a data set: one array for each data buffer, with the samples along its first axis."""
        p = self.program
        if isinstance(self.step, Function) and fits(sources, self.data, len(p.results)):
            number = {b.name: k for k, b in enumerate(p.buffers)}
            results = [
                (k, p.buffers[k].role == "result" and p.results.count(n) == 1, p.buffers[k].nbytes)
                for n in p.results
                for k in (number[n],)
            ]
            data = [number[n] for n in p.data]
            return NativeDrive(self.step, sources, data, results, self.data[0].shape[0])
        return Drive(
            lambda order: feeder(sources, self.data, order),
            self.step,
            self.data[0].shape[0],
            lambda: self.results,
        )

    def __repr__(self) -> str:
        p = self.program
        return f"<Executable {p.name}: {len(p.kernels)} kernels, {p.peak_bytes:,} bytes>"


def definitions(program: Program) -> dict[str, Any]:
    """What the source of a program defines, by name."""
    source = program.source
    return defined(source, f"{program.name} {(program.key or format(hash(source), 'x'))[:12]}")


def defined(source: str, title: str) -> dict[str, Any]:
    """What generated source defines, by name. Its lines are known to `linecache` under a file name with `title`."""
    filename = f"<kcompile {title}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "kcompile.generated"}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return namespace

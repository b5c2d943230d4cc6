"""`TritonProgram`: the kernels of a Triton program with memory on a device, ready to launch.

Refuses to know models, the host's arrays, and when a step is captured (`runtime.cuda`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codegen.program import Buffer, Kernel, Program
from ir.types import NUMPY
from runtime.device import TORCH, Device, Ready, Work
from runtime.gpu import here
from runtime.library import library
from runtime.seat import host
from runtime.triton_report import Refused

EMPTY: Mapping[str, Any] = {}


class TritonProgram:
    """One program on one device. states: path -> tensor of the device, or an array, of which a copy is made there.

    data: the tensors to fill before a step, in the program's order. step(): one step, updating the states in
    place. results: tensors that hold the results until the next step. states: tensors by path.
    tensors: those of all buffers, by name.
    """

    def __init__(self, program: Program, states: Mapping[str, Any], device: Device | None = None):
        """Raises KeyError for a state that is missing, ValueError for one of another shape or another target."""
        import torch

        if program.target != "triton":
            raise ValueError(f"a program for {program.target!r}; this runs programs for 'triton'")
        self.program, self.device = program, device or here()
        self._arena = self.device.empty((max(program.arena_bytes, 64),), "u8")
        own = [b for b in program.buffers if b.role != "step"]
        at = self.tensors = {b.name: self._bind(b, states, torch) for b in own}
        paths = {b.name: b.path for b in program.buffers}
        self._parts = [b for b in program.buffers if b.role == "step"]
        self.states = {paths[n]: at[n] for n in program.states}
        self.data = [at[n] for n in program.data]
        self.results = [at[n] for n in program.results]
        self._turns = turns(program)

    @functools.cached_property
    def _kernels(self) -> list[tuple[Kernel, Ready | Refused]]:
        """The kernels as they are launched; those that are not compiled yet are when this is first asked for."""
        found = self.device.kernels(self.program)
        return [(k, found[k.name]) for k in self.program.kernels]

    @functools.cached_property
    def launches(self) -> list[list[Work]]:
        """What launches each kernel; that of one which does not compile raises Refused."""
        return [self.launch(k, kernel) for k, kernel in self._kernels]

    @property
    def count(self) -> int:
        """The launches of a step."""
        loops = [k.schedule.get("loop") for k in self.program.kernels]
        return sum(loop["length"] if loop else 1 for loop in loops)

    def _bind(self, b: Buffer, states: Mapping[str, Any], torch: Any) -> Any:
        if b.role == "data":
            return self.device.empty(b.shape, b.dtype).zero_()
        if b.role == "state":
            value = states[b.path]
            if tuple(value.shape) != b.shape:
                raise ValueError(
                    f"state {b.path!r} has shape {tuple(value.shape)}; the program has {b.shape}"
                )
            if isinstance(value, torch.Tensor):
                return value
            made = self.device.empty(b.shape, b.dtype)
            made.copy_(torch.from_numpy(np.array(value, NUMPY[b.dtype], order="C")))
            return made
        dtype = getattr(torch, TORCH[b.dtype])
        return self._arena[b.offset : b.offset + b.nbytes].view(dtype).view(b.shape)

    def launch(
        self, k: Kernel, kernel: Ready | Refused, instead: Mapping[str, Any] = EMPTY, at: Mapping[str, Any] = EMPTY
    ) -> list[Work]:  # fmt: skip
        """What launches a kernel: once, or in each step of its loop in turn; the library's call where that was chosen.

        at: the tensors of all buffers by name (default: the program's). instead: what it is given in each step under some names.
        """
        loop, found = k.schedule.get("loop"), []
        whole = at or self.tensors
        for t in range(loop["length"]) if loop else (0,):
            given = {**whole, **self.rows(k, t, whole), **instead}
            call = library(k, given) if "library" in k.schedule.get("tuned", ()) else None
            if call is None:
                args = [given[n] for n in k.schedule["args"]]
                call = (
                    functools.partial(_refuse, kernel)
                    if isinstance(kernel, Refused)
                    else kernel.bind(int(k.schedule["grid"]), args)
                )
            found.append(call)
        return found

    def rows(self, k: Kernel, t: int, at: Mapping[str, Any] = EMPTY) -> dict[str, Any]:
        """Of the kernels of a loop: the tensors that step t has for some names, of larger ones or in turn.

        at: the tensors by name (default: the program's).
        """
        loop, at = k.schedule.get("loop"), at or self.tensors
        if not loop:
            return {}
        left = loop["length"] - 1 - t
        row = left if loop["reverse"] else t
        args = k.schedule["args"]
        found = {b.name: at[b.path].view(-1, *b.shape)[row] for b in self._parts if b.name in args}
        for a, b in loop["turns"] if left % 2 else ():
            found[a], found[b] = at[b], at[a]
        return found

    def choose(self, number: int, k: Kernel, kernel: Ready | Refused) -> None:
        """Launch another way to do a kernel from now on."""
        self._kernels[number] = k, kernel
        self.launches[number] = self.launch(k, kernel)

    def over(self, data: Sequence[Any], results: Sequence[Any]) -> Work:
        """One step that reads these tensors as its data, and leaves its results in those: both of the shapes of the program's own."""
        p = self.program
        own = {b.name for b in p.buffers if b.role == "result"}
        kept = list(zip(p.results, results, strict=True))
        instead = dict(zip(p.data, data, strict=True)) | {n: t for n, t in kept if n in own}
        touched = {*instead, *(b.name for b in self._parts if b.path in instead)}
        at = {**self.tensors, **instead}
        launches = [
            same if touched.isdisjoint(k.schedule["args"]) else self.launch(k, kernel, at=at)
            for (k, kernel), same in zip(self._kernels, self.launches, strict=True)
        ]
        copies = [functools.partial(t.copy_, at[n]) for n, t in kept if t is not at[n]]

        def step() -> None:
            for number in range(len(launches)):
                self.turn(number, launches)
            for copy in copies:
                self.device.run(copy)

        return step

    def step(self) -> None:
        """One step: every kernel once, in order, those of a loop as often as it runs."""
        for number in range(len(self.launches)):
            self.turn(number)

    def turn(self, number: int, launches: Sequence[Sequence[Work]] | None = None) -> None:
        """One launch of a kernel; behind the last one of a loop, the other steps of all. launches: default the program's."""
        of = self.launches if launches is None else launches
        self.device.run(of[number][0])
        for others in zip(*(of[k][1:] for k in self._turns.get(number, ())), strict=True):
            for launch in others:
                self.device.run(launch)

    def run(self, *data: Any) -> list[np.ndarray[Any, Any]]:
        """Fill the data, make one step, return copies of the results. Raises ValueError for a wrong count or shape."""
        self.fill(data)
        self.step()
        return [host(t).copy() for t in self.results]

    def fill(self, data: Sequence[Any]) -> None:
        """Copy `data` into the data buffers, casting. Raises ValueError as `run` does."""
        import torch

        if len(data) != len(self.data):
            raise ValueError(
                f"program {self.program.name!r} takes {len(self.data)} arrays, not {len(data)}"
            )
        for t, given in zip(self.data, data, strict=True):
            value = torch.from_numpy(np.array(given, order="C"))
            if tuple(value.shape) != tuple(t.shape):
                raise ValueError(
                    f"data has shape {tuple(value.shape)}, the program {tuple(t.shape)}"
                )
            t.copy_(value)


def turns(program: Program) -> dict[int, list[int]]:
    """For the last kernel of each loop over time, the kernels of that loop, by their numbers."""
    loops: dict[int, list[int]] = {}
    for number, k in enumerate(program.kernels):
        if "loop" in k.schedule:
            loops.setdefault(k.schedule["loop"]["number"], []).append(number)
    return {found[-1]: found for found in loops.values()}


def _refuse(why: Refused) -> None:
    raise why

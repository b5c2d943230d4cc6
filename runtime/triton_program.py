"""`TritonProgram`: the kernels of a Triton program with memory on a device, ready to launch.

Refuses to know models, the host's arrays, and when a step is captured (`runtime.cuda`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codegen.program import Buffer, Kernel, Program
from ir.types import NUMPY
from runtime.device import TORCH, Device
from runtime.device import device as place
from runtime.executable import definitions
from runtime.library import library
from runtime.seat import host

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
        self.program, self.device = program, device or place("cpu")
        self._arena = self.device.empty((max(program.arena_bytes, 64),), "u8")
        own = [b for b in program.buffers if b.role != "step"]
        at = self.tensors = {b.name: self._bind(b, states, torch) for b in own}
        self._rows = {  # of a loop over time: a buffer's part in each step
            b.name: at[b.path].view(-1, *b.shape) for b in program.buffers if b.role == "step"
        }
        paths = {b.name: b.path for b in program.buffers}
        self.states = {paths[n]: at[n] for n in program.states}
        self.data = [at[n] for n in program.data]
        self.results = [at[n] for n in program.results]
        kernels = functions(program)
        self.launches = [self.launch(k, kernels[k.name]) for k in program.kernels]
        self._turns = turns(program)

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
        self, k: Kernel, function: Any, instead: Mapping[str, Any] = EMPTY
    ) -> list[Callable[[], None]]:
        """What launches a kernel, with other tensors `instead` of some buffers: once, or in each step of its loop in turn; the
        library's call where that was chosen."""
        loop = k.schedule.get("loop")
        found = []
        for t in range(loop["length"]) if loop else (0,):
            at = {**self.tensors, **self.rows(k, t), **instead}
            call = library(k, at) if "library" in k.schedule.get("tuned", ()) else None
            args = [at[n] for n in k.schedule["args"]]
            found.append(call or _launch(function, args, k))
        return found

    def rows(self, k: Kernel, t: int) -> dict[str, Any]:
        """Of the kernels of a loop: the tensors that step t has for some names, of larger ones or in turn."""
        loop = k.schedule.get("loop")
        if not loop:
            return {}
        left = loop["length"] - 1 - t
        row = left if loop["reverse"] else t
        found = {n: self._rows[n][row] for n in k.schedule["args"] if n in self._rows}
        for a, b in loop["turns"] if left % 2 else ():
            found[a], found[b] = self.tensors[b], self.tensors[a]
        return found

    def step(self) -> None:
        """One step: every kernel once, in order, those of a loop as often as it runs."""
        for number in range(len(self.launches)):
            self.turn(number)

    def turn(self, number: int) -> None:
        """One launch of a kernel; behind the last one of a loop, the other steps of all."""
        self.device.run(self.launches[number][0])
        for others in zip(
            *(self.launches[k][1:] for k in self._turns.get(number, ())), strict=True
        ):
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


def functions(program: Program) -> dict[str, Any]:
    """The kernels of a program by name; their lines are known to `linecache`, where Triton looks for them."""
    namespace = definitions(program)
    return {k.name: namespace[k.name] for k in program.kernels}


def options(k: Kernel) -> dict[str, Any]:
    """How a kernel is compiled: the same ahead of time and when it is launched, so that one finds the other."""
    return {
        "num_warps": k.schedule["warps"],
        "num_stages": k.schedule["stages"],
        "enable_fp_fusion": True,
    }


def _launch(function: Any, args: Sequence[Any], k: Kernel) -> Callable[[], None]:
    grid, how = (int(k.schedule["grid"]),), options(k)

    def launch() -> None:
        with np.errstate(all="ignore"):  # interpreted lanes behind a mask compute what nobody reads
            function[grid](*args, **how)

    return launch

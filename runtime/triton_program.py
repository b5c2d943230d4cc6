"""`TritonProgram`: a Triton program with its memory, ready to step, by plain launches.

The same code runs on CUDA tensors and, with TRITON_INTERPRET=1 set before triton is first imported, on CPU tensors in Triton's
interpreter, which is how tests run without a device. Refuses to know models, and to capture graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codegen.program import Buffer, Program
from ir.types import NUMPY
from runtime.executable import definitions

TORCH = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "bool": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip


class TritonProgram:
    """One program on one device, with states of its own, filled from `states` (path -> array).

    data: the tensors to fill before a step, in the program's order. step(): one step, updating the states in
    place. results: tensors that hold the results until the next step. states: tensors by path.
    """

    def __init__(self, program: Program, states: Mapping[str, Any], device: str = "cpu"):
        """Raises KeyError for a state that is missing, ValueError for one of another shape or another target."""
        import torch

        if program.target != "triton":
            raise ValueError(f"a program for {program.target!r}; this runs programs for 'triton'")
        self.program, self.device = program, device
        self._arena = torch.empty(max(program.arena_bytes, 64), dtype=torch.uint8, device=device)
        at = {b.name: self._bind(b, states, torch) for b in program.buffers}
        paths = {b.name: b.path for b in program.buffers}
        self.states = {paths[n]: at[n] for n in program.states}
        self.data = [at[n] for n in program.data]
        self.results = [at[n] for n in program.results]
        kernels = functions(program)
        self.launches: list[Callable[[], None]] = [
            _launch(kernels[k.name], [at[n] for n in k.schedule["args"]], k.schedule)
            for k in program.kernels
        ]

    def _bind(self, b: Buffer, states: Mapping[str, Any], torch: Any) -> Any:
        dtype = getattr(torch, TORCH[b.dtype])
        if b.role == "data":
            return torch.zeros(b.shape, dtype=dtype, device=self.device)
        if b.role == "state":
            value = np.array(states[b.path], NUMPY[b.dtype], order="C")
            if value.shape != b.shape:
                raise ValueError(
                    f"state {b.path!r} has shape {value.shape}; the program has {b.shape}"
                )
            return torch.from_numpy(value).to(dtype).to(self.device)
        count = b.nbytes
        return self._arena[b.offset : b.offset + count].view(dtype).view(b.shape)

    def step(self) -> None:
        """One step: every kernel once."""
        with np.errstate(all="ignore"):  # lanes behind a mask compute what nobody reads
            for launch in self.launches:
                launch()

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


def host(t: Any) -> np.ndarray[Any, Any]:
    """A tensor as an array, bf16 as f32."""
    t = t.detach().cpu()
    if str(t.dtype) == "torch.bfloat16":
        t = t.float()
    out: np.ndarray[Any, Any] = t.numpy()
    return out


def functions(program: Program) -> dict[str, Any]:
    """The kernels of a program by name; their lines are known to `linecache`, where Triton looks for them."""
    namespace = definitions(program)
    return {k.name: namespace[k.name] for k in program.kernels}


def _launch(kernel: Any, args: Sequence[Any], schedule: Mapping[str, Any]) -> Callable[[], None]:
    grid = (int(schedule["grid"]),)
    options = {
        "num_warps": schedule["warps"],
        "num_stages": schedule["stages"],
        "enable_fp_fusion": True,
    }

    def launch() -> None:
        kernel[grid](*args, **options)

    return launch

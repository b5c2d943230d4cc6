"""What ahead-of-time compilation says about a program's kernels: registers, spills, shared memory, matrix units.

Needs no device. Must run where triton was imported without TRITON_INTERPRET (`runtime.triton_build` sees to that). What is
compiled here is in Triton's own cache, from where a GPU's process takes it. Refuses to judge: see the tests.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.program import Kernel, Program
from runtime.triton_program import functions, options

POINTERS = {
    "f16": "*fp16", "bf16": "*bf16", "f32": "*fp32", "f64": "*fp64", "bool": "*u1",
    "i8": "*i8", "i16": "*i16", "i32": "*i32", "i64": "*i64",
    "u8": "*u8", "u16": "*u16", "u32": "*u32", "u64": "*u64",
}  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """One kernel on one target: registers a thread, bytes of stack a thread (spills), bytes of shared memory,
    and the matrix units its code uses: "wgmma", "mma", "mfma" or "". registers and stack are -1 where the target does not say."""

    kernel: str
    registers: int
    stack: int
    shared: int
    warps: int
    matrix: str


class Refused(Exception):
    """A kernel that does not compile for a target: which, and what the compiler says."""


def report(
    program: Program, target: str = "sm_90", only: Collection[str] | None = None
) -> Iterator[Usage]:
    """The usage of the kernels (`only`: of those names); target: "sm_90", "sm_80" or "gfx942". Raises Refused."""
    from triton.backends.compiler import GPUTarget

    amd = target.startswith("gfx")
    gpu = GPUTarget("hip", target, 64) if amd else GPUTarget("cuda", int(target[3:]), 32)
    found, types = functions(program), {b.name: b.dtype for b in program.buffers}
    for k in program.kernels:
        if only is None or k.name in only:
            yield _usage(k, found[k.name], types, gpu)


def _usage(k: Kernel, function: Any, types: dict[str, str], gpu: Any) -> Usage:
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    args = k.schedule["args"]
    signature = {name: POINTERS[types[name]] for name in args}
    attrs = {(i,): [["tt.divisibility", 16]] for i in range(len(args))}
    try:
        made = build(ASTSource(function, signature, {}, attrs), target=gpu, options=options(k))
    except Exception as e:
        raise Refused(f"{k.name} ({k.ops}) for {gpu.arch}: {str(e)[-500:]}") from e
    amd = gpu.backend == "hip"
    text = str(made.asm.get("amdgcn" if amd else "ptx", ""))
    units = (("mfma", r"v_mfma"),) if amd else (("wgmma", r"\bwgmma\."), ("mma", r"\bmma\.sync"))
    matrix = next((name for name, mark in units if re.search(mark, text)), "")
    registers, stack = _amd_resources(text) if amd else _resources(made.asm["cubin"])
    return Usage(k.name, registers, stack, int(made.metadata.shared), k.schedule["warps"], matrix)


def _amd_resources(text: str) -> tuple[int, int]:
    """Vector registers and bytes of scratch, as the assembly states them."""
    found = [re.search(mark, text) for mark in (r"\.vgpr_count:\s+(\d+)", r"ScratchSize: (\d+)")]
    return (int(found[0][1]) if found[0] else -1, int(found[1][1]) if found[1] else -1)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack, as the disassembler of CUDA reads them off a cubin."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done: Any = subprocess.run(
            [tool, "-res-usage", path], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout + done.stderr)
    if found is None:
        raise ValueError(f"no resource usage in: {done.stdout[:200]!r}")
    return int(found[1]), int(found[2])

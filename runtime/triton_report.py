"""What ahead-of-time compilation says about a program's kernels: registers, spills, shared memory, matrix units.

Needs no device. Must run where triton was imported without TRITON_INTERPRET. Refuses to judge: see the tests.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.program import Program
from runtime.triton_program import functions

POINTERS = {
    "f16": "*fp16", "bf16": "*bf16", "f32": "*fp32", "f64": "*fp64", "bool": "*i1",
    "i8": "*i8", "i16": "*i16", "i32": "*i32", "i64": "*i64",
    "u8": "*u8", "u16": "*u16", "u32": "*u32", "u64": "*u64",
}  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """One kernel on one target: registers a thread, bytes of stack a thread (spills), bytes of shared memory,
    and whether its code uses the matrix units. registers and stack are -1 where the target does not say."""

    kernel: str
    registers: int
    stack: int
    shared: int
    warps: int
    matrix: bool


def report(program: Program, target: str = "sm_90") -> list[Usage]:
    """The usage of every kernel; target: "sm_90", "sm_80" or "gfx942". Raises what Triton raises."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    amd = target.startswith("gfx")
    gpu = GPUTarget("hip", target, 64) if amd else GPUTarget("cuda", int(target[3:]), 32)
    kernels, types = functions(program), {b.name: b for b in program.buffers}
    out = []
    for k in program.kernels:
        fn = kernels[k.name]
        args = k.schedule["args"]
        signature = {name: POINTERS[types[name].dtype] for name in args}
        attrs = {(i,): [["tt.divisibility", 16]] for i in range(len(args))}
        options = {
            "num_warps": k.schedule["warps"],
            "num_stages": k.schedule["stages"],
            "enable_fp_fusion": True,
        }
        made = build(ASTSource(fn, signature, {}, attrs), target=gpu, options=options)
        text = str(made.asm.get("amdgcn" if amd else "ptx", ""))
        matrix = bool(re.search(r"v_mfma" if amd else r"\bwgmma\.|\bmma\.sync", text))
        registers, stack = (-1, -1) if amd else _resources(made.asm["cubin"])
        out.append(
            Usage(k.name, registers, stack, int(made.metadata.shared), k.schedule["warps"], matrix)
        )
    return out


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

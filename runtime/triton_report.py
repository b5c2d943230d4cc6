"""A program's kernels compiled ahead of time: machine code, and what that takes: registers, spills, shared memory, matrix units.

Needs no device. Must run where triton was imported without TRITON_INTERPRET (`runtime.triton_build` sees to that). Refuses to keep
what it makes (`runtime.machine_code`), and to judge it.
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
from runtime.triton_source import ALIGNED, functions, options, parameters


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


@dataclass(frozen=True)
class Binary:
    """A kernel as machine code. entry: the function in it; aligned: the parameters whose addresses it takes for multiples of `ALIGNED`.

    Its parameters are one address for each of the kernel's, and behind them two of scratch memory, which are null.
    """

    usage: Usage
    entry: str
    aligned: tuple[int, ...]
    code: bytes


class Refused(Exception):
    """A kernel that does not compile for a target: which, and what the compiler says."""


def compiled(
    program: Program, target: str = "sm_90", only: Collection[str] | None = None
) -> Iterator[Binary]:
    """The kernels (`only`: of those names) as machine code; target: "sm_90", "sm_80" or "gfx942". Raises Refused."""
    from triton.backends.compiler import GPUTarget

    amd = target.startswith("gfx")
    gpu = GPUTarget("hip", target, 64) if amd else GPUTarget("cuda", int(target[3:]), 32)
    found = functions(program)
    for k in program.kernels:
        if only is None or k.name in only:
            yield _compiled(program, k, found[k.name], gpu)


def _compiled(program: Program, k: Kernel, function: Any, gpu: Any) -> Binary:
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    takes = parameters(program, k)
    signature = {name: t for name, (t, _) in zip(k.schedule["args"], takes, strict=True)}
    aligned = tuple(i for i, (_, known) in enumerate(takes) if known)
    attrs = {(i,): [["tt.divisibility", ALIGNED]] for i in aligned}
    amd = gpu.backend == "hip"
    try:
        made = build(ASTSource(function, signature, {}, attrs), target=gpu, options=options(k))
        text = str(made.asm.get("amdgcn" if amd else "ptx", ""))
        if not amd:
            _check(made.metadata, text, len(takes), k.schedule["warps"])
    except Exception as e:
        raise Refused(f"{k.name} ({k.ops}) for {gpu.arch}: {str(e)[-500:]}") from e
    units = (("mfma", r"v_mfma"),) if amd else (("wgmma", r"\bwgmma\."), ("mma", r"\bmma\.sync"))
    matrix = next((name for name, mark in units if re.search(mark, text)), "")
    code = bytes(made.asm["hsaco" if amd else "cubin"])
    registers, stack = _amd_resources(text) if amd else _resources(code)
    usage = Usage(k.name, registers, stack, int(made.metadata.shared), k.schedule["warps"], matrix)
    return Binary(usage, str(made.metadata.name), aligned, code)


def _check(made: Any, ptx: str, count: int, warps: int) -> None:
    """Raise ValueError for a kernel that wants to be launched otherwise than `runtime.launcher` does."""
    entry = ptx[ptx.index(".entry") :].partition(")")[0]
    found = re.findall(r"\.param (?:\.align \d+ )?(\.\w+)", entry)
    if found != [".u64"] * (count + 2):
        raise ValueError(f"it takes {found} for {count} addresses and two of scratch memory")
    plain = {**_PLAIN, "num_warps": warps}
    odd = {n: getattr(made, n) for n, v in plain.items() if getattr(made, n, v) != v}
    if odd:
        raise ValueError(f"it is to be launched with {odd}")


_PLAIN = {
    "num_ctas": 1, "global_scratch_size": 0, "profile_scratch_size": 0, "launch_pdl": False,
    "launch_cooperative_grid": False,
}  # fmt: skip


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

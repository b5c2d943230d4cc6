"""The kernels of a Triton program as Triton takes them: functions, options, what is known of their parameters, and what makes two the same.

Refuses to compile (`runtime.triton_report`) and to launch. triton is imported by `functions` alone.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from codegen.program import Kernel, Program
from ir.types import Type
from runtime.executable import definitions

ALIGNED = 16  # bytes: what Triton may know of an address
POINTERS = {
    "f16": "*fp16", "bf16": "*bf16", "f32": "*fp32", "f64": "*fp64", "bool": "*u1",
    "i8": "*i8", "i16": "*i16", "i32": "*i32", "i64": "*i64",
    "u8": "*u8", "u16": "*u16", "u32": "*u32", "u64": "*u64",
}  # fmt: skip


def functions(program: Program) -> dict[str, Any]:
    """The kernels of a program by name; their lines are known to `linecache`, where Triton looks for them."""
    namespace = definitions(program)
    return {k.name: namespace[k.name] for k in program.kernels}


def options(k: Kernel) -> dict[str, Any]:
    """How a kernel is compiled."""
    return {
        "num_warps": k.schedule["warps"],
        "num_stages": k.schedule["stages"],
        "enable_fp_fusion": True,
    }


def parameters(program: Program, k: Kernel) -> list[tuple[str, bool]]:
    """Of each parameter of a kernel: its type, and whether every address it gets is a multiple of `ALIGNED`.

    Buffers begin at such addresses; what a step of a loop has of one does where its size is a multiple too.
    """
    buffers = {b.name: b for b in program.buffers}
    found = []
    for b in (buffers[name] for name in k.schedule["args"]):
        size = int(Type(b.dtype, b.shape).nbytes)
        found.append((POINTERS[b.dtype], b.role != "step" or size % ALIGNED == 0))
    return found


def identities(program: Program, target: str) -> dict[str, str]:
    """By name, what kernels are: those of one identity compile to the same, whatever they and their buffers are called."""
    lines = program.source.splitlines()
    before = "\n".join(lines[: min((k.lines[0] for k in program.kernels), default=1) - 1]).strip()
    found = {}
    for k in program.kernels:
        body = "\n".join(lines[k.lines[0] - 1 : k.lines[1]]).strip()
        place = {name: f"p{i}" for i, name in enumerate(k.schedule["args"])} | {k.name: "kernel"}
        text = _renamed(body, place)
        how = [_triton(), target, options(k), parameters(program, k)]
        found[k.name] = hashlib.sha256(f"{how}\n{before}\n{text}".encode()).hexdigest()
    return found


def _renamed(text: str, names: dict[str, str]) -> str:
    """The text with other names for buffers and kernels."""
    return re.sub(r"\b[bk]\d\w*", lambda m: names.get(m[0], m[0]), text)


@functools.cache
def _triton() -> str:
    """Which Triton is installed, without an import of it: the digest of the file that says its version."""
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()

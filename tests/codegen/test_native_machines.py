"""The C of the table's ops under every compiler at hand and every width of vectors, warnings as errors; other machines.

KCOMPILE_TEST_CC: more compilers to try, commands parted by commas. The C for other machines is compiled, and run where
QEMU can (`qemu-user-static`).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime.compiler as compiler
import runtime.native as native
from codegen.pipeline import generate
from codegen.program import Program
from ir.interpret import interpret
from runtime.executable import Executable
from runtime.store import StateStore
from tests.codegen import standalone
from tests.codegen.test_native import TOLERANCE, same, table_graph, tame

# unused values: a lane's value may be computed for a part of the loops that does not need it
WARNINGS = ("-Wall", "-Werror", "-Wno-unused-variable", "-Wno-psabi")
FLAGS = tuple(f for f in compiler.FLAGS if f not in ("-w", "-march=native"))
MACHINES = {"AVX-512": ("x86-64-v4", "avx512vl"), "AVX2": ("x86-64-v3", "avx2"), "SSE": ("x86-64-v2", "sse4_2")}  # fmt: skip


def zig() -> str | None:
    spec = importlib.util.find_spec("ziglang")
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parent / "zig")


def compilers() -> list[str]:
    found = [c for c in ("gcc", "clang") if shutil.which(c)]
    found += [f"{shlex.quote(z)} cc" for z in [zig()] if z]
    return found + [c for c in os.environ.get("KCOMPILE_TEST_CC", "").split(",") if c]


@functools.cache
def representative() -> tuple[Program, list[Any]]:
    graph, made = table_graph("f32")
    return generate(graph, "native"), made


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="widths of x86")
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("cc", compilers(), ids=lambda c: Path(shlex.split(c)[0]).name)
def test_each_compiler_and_width(cc: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    march, needs = MACHINES[machine]
    if needs not in compiler.processor().split():
        pytest.skip(f"this processor has no {needs}")
    monkeypatch.setenv("KCOMPILE_CC", cc)
    monkeypatch.setenv("KCOMPILE_CACHE", "off")
    monkeypatch.setattr(native, "_loaded", {})
    compiler._command.cache_clear()
    if "zig" in cc:  # which has its own names for processors
        march = march.replace("-", "_")
    flags = (*FLAGS, f"-march={march}", *WARNINGS)
    monkeypatch.setattr(compiler, "FLAGS", flags)
    monkeypatch.setattr(compiler.build, "__defaults__", (flags,))
    try:
        program, made = representative()
        exe = Executable(program, StateStore())
    finally:
        compiler._command.cache_clear()
    got = iter(exe.run(*(a for _, _, arrays in made for a in arrays)))
    for c, g, arrays in made:
        for b in interpret(g, arrays):
            rtol, atol = TOLERANCE.get(str(b.dtype), (0, 0))
            np.testing.assert_allclose(next(got), b, rtol=rtol, atol=atol, err_msg=c.id)


ZIG = pytest.mark.skipif(zig() is None, reason="the clang of the ziglang wheel compiles for other machines")  # fmt: skip


@ZIG
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="no QEMU for ARM")
def test_arm_makes_the_same_numbers(tmp_path: Path) -> None:
    graph, _ = table_graph("f32")
    program, _ = representative()
    given = tame(program)
    command = [str(zig()), "cc", "-target", "aarch64-linux-musl", "-static", *FLAGS]
    made = standalone.run(program, given, tmp_path, command, ["qemu-aarch64-static"])
    same(made, interpret(graph, given))


@ZIG
@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "aarch64-macos", "x86_64-macos"])
def test_other_machines_are_compiled_for(target: str, tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec(representative()[0].source, scope)
    source = tmp_path / "all.c"
    source.write_text(scope["C"])
    done = subprocess.run(
        [str(zig()), "cc", "-target", target, "-O2", *FLAGS, *WARNINGS, "-c", str(source), "-o", str(tmp_path / "all.o")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]

"""Kernels compiled ahead of time by processes side by side: what they take, what is refused, and that launches find them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Value, graph_of
from ir.types import Type

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_build import build
from runtime.triton_report import Refused, Usage

ROOT = Path(__file__).parent.parent.parent
LAUNCHED = """
import sys, torch
from pathlib import Path
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from codegen.program import Program
from runtime.device import TORCH
from runtime.triton_program import functions, options

class Driver:  # as much of a GPU's as a launch asks for before it runs
    def get_current_target(self): return GPUTarget("cuda", 90, 32)
    def get_current_device(self): return 0
    def get_current_stream(self, device=0): return 0

driver.set_active(Driver())
p = Program.from_json(sys.stdin.read())
buffers = {b.name: b for b in p.buffers}
for k in p.kernels:
    kinds = [(buffers[a].shape, getattr(torch, TORCH[buffers[a].dtype])) for a in k.schedule["args"]]
    functions(p)[k.name].warmup(*[torch.empty(s, dtype=d) for s, d in kinds], grid=(1,), **options(k))
"""


def small() -> Program:
    """One kernel with parameters of several types."""
    types = [("x", "f32"), ("m", "bool"), ("n", "u32"), ("h", "f16")]
    x, m, n, h = (Value(Type(t, (16,)), name=name) for name, t in types)
    out = ops.select(m, x, ops.add(ops.cast(n, dtype="f32"), ops.cast(h, dtype="f32")))
    return generate(graph_of("case", [x, m, n, h], [out, ops.gt(out, x)]), "triton")


def test_what_is_compiled_ahead_is_what_a_launch_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    p = small()
    found = build(p, "sm_90")
    assert all(isinstance(u, Usage) and u.stack == 0 for u in found.values())
    entries = {e.name for e in tmp_path.iterdir()}
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHED], input=p.to_json(), capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {e.name for e in tmp_path.iterdir()} == entries


def test_a_kernel_that_does_not_compile_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    p = small()
    broken = replace(p, source=p.source.replace("tl.store(", "tl.stare("))
    (why,) = build(broken, "sm_90").values()
    assert isinstance(why, Refused)
    assert "k0" in str(why)

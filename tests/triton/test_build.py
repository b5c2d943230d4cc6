"""Kernels compiled ahead of time by processes side by side: what they take, and what is refused."""

from __future__ import annotations

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


def small() -> Program:
    """One kernel with parameters of several types."""
    types = [("x", "f32"), ("m", "bool"), ("n", "u32"), ("h", "f16")]
    x, m, n, h = (Value(Type(t, (16,)), name=name) for name, t in types)
    out = ops.select(m, x, ops.add(ops.cast(n, dtype="f32"), ops.cast(h, dtype="f32")))
    return generate(graph_of("case", [x, m, n, h], [out, ops.gt(out, x)]), "triton")


def test_kernels_say_what_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = build(small(), "sm_90")
    assert found and all(isinstance(u, Usage) and u.stack == 0 for u in found.values())


def test_a_kernel_that_does_not_compile_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    p = small()
    broken = replace(p, source=p.source.replace("tl.store(", "tl.stare("))
    (why,) = build(broken, "sm_90").values()
    assert isinstance(why, Refused)
    assert "k0" in str(why)


DYING = """
import json, sys
task = json.load(sys.stdin)
if "k1" in task["only"]:
    sys.exit("the compiler is dead")
for name in task["only"]:
    usage = {"kernel": name, "registers": 8, "stack": 0, "shared": 0, "warps": 4, "matrix": ""}
    made = {"usage": usage, "entry": name, "aligned": [0], "code": "AAAA"}
    print(json.dumps([name, made, ""]))
"""


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_a_kernel_that_ends_the_compiler_takes_no_other_with_it(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.triton_build._WORKER", DYING)
    p = small()
    (k,) = p.kernels
    many = replace(p, kernels=tuple(replace(k, name=f"k{n}") for n in range(4)))
    found = build(many, "sm_90", processes=processes)
    assert [n for n in sorted(found) if isinstance(found[n], Usage)] == ["k0", "k2", "k3"]
    assert "k1 for sm_90: the compiler ended with 1: the compiler is dead" in str(found["k1"])

"""Registers, spills and shared memory of the kernels, as compiled ahead of time; no device is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
pytest.importorskip("torch")

from tests.triton.usage import MODELS, REPORT, TARGETS, head, program

SHARED = {"sm_90": 227 * 1024, "sm_80": 163 * 1024}
# bytes of stack that are known: the assembler keeps an address of the second convolution's input gradient there
KNOWN = {("sm_80", "cnn", "k12"): 8}
ROOT = Path(__file__).parent.parent.parent


def rows(text: str) -> list[dict[str, str]]:
    out = []
    for line in text.splitlines():
        if not line.startswith("#"):
            target, model, kernel, kind, *rest = line.split()
            fields = dict(x.split("=") for x in rest if "=" in x)
            out.append({"target": target, "model": model, "kernel": kernel, "kind": kind, **fields})
    return out


def test_the_report_is_of_these_kernels() -> None:
    """If not: python -m tests.triton.usage"""
    text = REPORT.read_text()
    for name in MODELS:
        p = program(name)
        assert head(name, p) in text.splitlines()
        for target in TARGETS:
            found = [r["kernel"] for r in rows(text) if (r["target"], r["model"]) == (target, name)]
            assert found == [k.name for k in p.kernels]


def test_no_kernel_spills_or_takes_more_than_there_is() -> None:
    for r in rows(REPORT.read_text()):
        known = KNOWN.get((r["target"], r["model"], r["kernel"]), 0)
        assert int(r["stack"]) <= known, r
        assert int(r["shared"]) <= SHARED[r["target"]], r
        assert int(r["registers"]) <= 255, r


def test_the_classifier_compiles_and_does_not_spill(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.triton.usage", "mlp", "sm_90"],
        env=env, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = rows(done.stdout)
    assert found
    assert all(int(r["stack"]) == 0 for r in found), done.stdout

"""The checked-in report of what kernels take: `python -m tests.triton.usage` writes it, with `mlp` or `cnn` after it one model's
lines to the screen. Run without TRITON_INTERPRET.

A line: target, model, kernel, kind, registers, stack bytes, shared bytes, warps, matrix units. A model's head line has the digest
of its source, by which a test sees that the report is that of today's kernels.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from codegen.pipeline import generate
from codegen.program import Program
from runtime.triton_report import report
from tests.triton.steps import cnn, mlp, train_graph

REPORT = Path(__file__).parent / "usage.txt"
MODELS = {"mlp": mlp, "cnn": cnn}
TARGETS = ("sm_90", "sm_80")


def program(name: str) -> Program:
    """The train step of a model at batch 32."""
    return generate(train_graph(MODELS[name](), 32)[0], "triton")


def head(name: str, p: Program) -> str:
    """The line that says which kernels a report is of."""
    digest = hashlib.sha256(p.source.encode()).hexdigest()[:16]
    return f"# {name} batch 32 adam: {len(p.kernels)} launches, source {digest}"


def lines(name: str, targets: tuple[str, ...] = TARGETS) -> list[str]:
    """The report of one model."""
    p = program(name)
    out = [head(name, p)]
    for target in targets:
        for u, k in zip(report(p, target), p.kernels, strict=True):
            matrix = "matrix" if u.matrix else "fma"
            out.append(
                f"{target} {name} {u.kernel} {k.schedule['kind']} registers={u.registers} stack={u.stack} "
                f"shared={u.shared} warps={u.warps} {matrix}"
            )
    return out


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write("\n".join(lines(sys.argv[1], tuple(sys.argv[2:]) or TARGETS)) + "\n")
    else:
        REPORT.write_text("\n".join(x for name in MODELS for x in lines(name)) + "\n")

"""`compile_report`: what a step of a model is made of and what it takes, told before anything runs.

Refuses to lay the report out (`kcompile.report`) and to run the step.
"""

from __future__ import annotations

from typing import Any

import kcompile.report as report
from kcompile.dump import program_of


def compile_report(
    model: Any,
    kind: str | None = None,
    batch_size: int = 32,
    verbose: bool = True,
    target: str | None = None,
) -> dict[str, Any]:
    """Kernels, FLOPs, bytes moved, buffers and predicted peak memory of a step of the model.

    kind: "train", "test" or "predict"; None: train for a compiled model, else predict. verbose: print the
    report as a table, too. Returns it as plain data, see `kcompile.report.facts`: FLOPs and bytes are of one step of
    `batch_size` samples, memory is in bytes. target: "numpy", "native" or "triton"; None: what the model runs on. Raises KCValueError KC305 for an unknown kind or target, KC202 for a model
    whose inputs are not known.
    """
    program = program_of(model, kind, batch_size, target)
    if verbose:
        report.show(program)
    return report.facts(program)

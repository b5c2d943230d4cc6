"""`compile_report`: what a step of a model is made of and what it takes, told before anything trains.

Refuses to lay the report out (`kcompile.report`) and to run the step.
"""

from __future__ import annotations

from typing import Any

import kcompile.report as report
from kcompile.dump import kind_of, program_of
from kcompile.measure import measured


def compile_report(
    model: Any,
    kind: str | None = None,
    batch_size: int = 32,
    verbose: bool = True,
    target: str | None = None,
    measure: bool = False,
) -> dict[str, Any]:
    """Kernels, FLOPs, bytes moved, buffers and predicted peak memory of a step of the model.

    kind: "train", "test" or "predict"; None: train for a compiled model, else predict. verbose: print the
    report as a table, too. Returns it as plain data, see `kcompile.report.facts`: FLOPs and bytes are of one step of
    `batch_size` samples, memory is in bytes. target: "numpy", "native" or "triton"; None: what the model runs on.
    measure: run the kernels (of the target "native") a few times, on copies of the states, and tell how long each takes.
    Raises KCValueError KC305 for an unknown kind or target and for what cannot be measured, KC202 for a model whose inputs
    are not known.
    """
    program = program_of(model, kind, batch_size, target)
    seconds = measured(model, program, kind_of(model, kind)) if measure else {}
    if verbose:
        report.show(program, seconds=seconds)
    return report.facts(program, seconds)

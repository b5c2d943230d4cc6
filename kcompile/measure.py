"""How long each kernel of a model's step takes here: the program runs on copies of the model's states and made-up data.

Refuses to lay out what it finds (`kcompile.report`) and to time other targets than C.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.program import Program
from kcompile.errors import KCValueError
from kcompile.fit.runner import step_function
from kcompile.specimen import specimen
from runtime.executable import Executable
from runtime.native_profile import kernel_seconds
from runtime.store import StateStore

STEPS = 20


def measured(model: Any, program: Program, kind: str) -> dict[str, float]:
    """Seconds of each kernel by name, the median over a few steps with all threads. Nothing of the model changes.

    Floats of the data are drawn from 0 to 1, ints are 0. Raises KCValueError KC305 for a target that is not "native".
    """
    if program.target != "native":
        raise KCValueError(
            "KC305", f"measure=True for the target {program.target!r}", "kernels are timed on the target 'native'",
            "pass target='native', or leave measure out",
        )  # fmt: skip
    traced = step_function(model, kind).trace(*specimen(model, kind))
    store = StateStore()
    for role, v in zip(traced.graph.roles, traced.variables, strict=False):
        store.put(role.path, v.array)
    exe = Executable(program, store)
    rng = np.random.default_rng(0)
    for a in exe.data:
        a[...] = rng.random(a.shape) if a.dtype.kind == "f" else 0
    found = kernel_seconds(exe, STEPS)
    return {k.name: s for k, s in zip(program.kernels, found, strict=True)}

"""Where a model runs: the choice between what the model, the process and the environment say.

From the strongest: the model's own choice (`compile(device=, backend=)`, `run_on`), the process's
(`kcompile.config.set_target`), KCOMPILE_TARGET in the environment, else the CPU. Refuses to check names (`kcompile.target`).
"""

from __future__ import annotations

import os
from typing import Any

import kcompile.config as config
import kcompile.target as target

DEFAULT = "numpy"


def target_of(model: Any) -> str:
    """The backend that runs a model's steps: "numpy", "native", "reference" or "triton". Raises as `check` does."""
    for device, backend in (model.__dict__.get("_runs_on", ("auto", None)), config.target()):
        device, backend = target.check(device, backend)
        if backend is not None or device != "auto":
            return backend or target.BACKENDS[device][0]
    named = os.environ.get("KCOMPILE_TARGET")
    if named:
        target.known_name("KCOMPILE_TARGET", named, target.EVERY)
        target.check("auto", named)
        return named
    return DEFAULT


def run_on(model: Any, device: str | None = "auto", backend: str | None = None) -> Any:
    """Choose where the model runs from now on, without compile(); its weights stay. Returns the model.

    device: "auto" (the process's choice), "cpu" or "cuda"; backend: None (the device's own), "numpy", "native", "triton" or
    "reference". Raises KCValueError KC502, then with nothing changed.
    """
    model.__dict__["_runs_on"] = target.check(device, backend)
    return model

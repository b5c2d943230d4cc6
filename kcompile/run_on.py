"""Where a model runs: the choice between what the model, the process and the environment say.

From the strongest: the model's own choice (`compile(device=, backend=)`, `run_on`), the process's
(`kcompile.config.set_target`), KCOMPILE_TARGET in the environment, else a GPU where there is one, else the CPU. Refuses to
check names (`kcompile.target`).
"""

from __future__ import annotations

import os
from typing import Any

import kcompile.config as config
import kcompile.target as target

_AUTO: tuple[str, str | None] = ("auto", None)
_CPU = ("native", "numpy")  # without a C compiler, NumPy
_OF = {"cpu": _CPU, "native": _CPU, "cuda": ("triton",)}


def targets_of(model: Any) -> tuple[str, ...]:
    """The backends that may run a model's steps, the first that can: "triton", "native", "numpy" or "reference".

    Raises as `kcompile.target.check` does.
    """
    for device, backend in (model.__dict__.get("_runs_on", _AUTO), config.target()):
        device, backend = target.check(device, backend)
        chosen = backend or device
        if chosen != "auto":
            return _OF.get(chosen, (chosen,))
    named = os.environ.get("KCOMPILE_TARGET")
    if named:
        target.known_name("KCOMPILE_TARGET", named, target.EVERY)
        target.check("auto", named)
        return _OF.get(named, (named,))
    return _CPU if target.without_cuda() else ("triton", *_CPU)


def run_on(model: Any, device: str | None = "auto", backend: str | None = None) -> Any:
    """Choose where the model runs from now on, without compile(); its weights stay. Returns the model.

    device: "auto" (the process's choice), "cpu" or "cuda"; backend: None (the device's own), "numpy", "native", "triton" or
    "reference". Raises KCValueError KC502, then with nothing changed.
    """
    model.__dict__["_runs_on"] = target.check(device, backend)
    return model

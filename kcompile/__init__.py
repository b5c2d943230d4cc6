"""kcompile: Keras models, compiled. `import kcompile as keras` runs Keras 3 programs.

Holds names only: each is imported from its module when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from kcompile.settings import VERSION as __version__

# public name -> the module it lives in ("module:attribute" where the names differ)
_NAMES: dict[str, str] = {
    "Sequential": "kcompile.sequential",
    "Model": "kcompile.model",
    "Functional": "kcompile.model",
    "Input": "kcompile.input_layer",
    "GradientTape": "kcompile.gradient_tape",
    "InputSpec": "kcompile.input_spec",
    "Layer": "kcompile.layer",
    "KerasTensor": "kcompile.tensor",
    "Operation": "kcompile.operation",
    "Variable": "kcompile.variable",
    "name_scope": "kcompile.variable",
    "DTypePolicy": "kcompile.policy",
    "Initializer": "kcompile.initializers",
    "Regularizer": "kcompile.regularizers",
    "Loss": "kcompile.losses",
    "Metric": "kcompile.metrics",
    "Optimizer": "kcompile.optimizers",
    "from_keras": "kcompile.saving.from_keras",
    "KCError": "kcompile.errors",
    "version": "kcompile.config",
}
_MODULES = frozenset({
    "activations", "backend", "callbacks", "config", "constraints", "datasets", "dtype_policies", "errors", "initializers",
    "layers", "losses", "metrics", "mixed_precision", "models", "ops", "optimizers", "preprocessing", "random", "regularizers",
    "saving", "tree", "utils",
})  # fmt: skip
__all__ = [*_NAMES, *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"kcompile.{name}")
    if name not in _NAMES:
        raise importlib.import_module("kcompile.absent").missing("kcompile", name, __all__)
    found = globals()[name] = getattr(importlib.import_module(_NAMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

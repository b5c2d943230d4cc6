"""What is imported when it is first asked for: every name is there, and a first step needs few modules."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys

import pytest

import kcompile.later as later
from kcompile.model import Model

FIRST_STEP = """
import sys
import numpy as np
import kcompile as keras
light = [m for m in sys.modules if m.startswith("kcompile.")]
assert len(light) < 8, light
model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
model.fit(np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32"), verbose=0)
model.evaluate(np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32"), verbose=0)
print(*sys.modules)
"""
UNNEEDED = (
    "onnx", "h5py", "rich", "jinja2", "pygments", "click", "torch", "triton", "keras", "scipy", "codegen.onnx", "codegen.native",
    "kcompile.export", "kcompile.dump", "kcompile.saving", "kcompile.layers.attention", "kcompile.layers.recurrent",
    "kcompile.callbacks.model_checkpoint", "kcompile.datasets",
)  # fmt: skip


def test_a_first_step_imports_what_it_needs():
    env = os.environ | {"KCOMPILE_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP], env=env, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert not set(UNNEEDED) & set(done.stdout.split())


@pytest.mark.parametrize("namespace", ["layers", "callbacks"])
def test_every_name_of_a_namespace_is_there(namespace):
    module = importlib.import_module(f"kcompile.{namespace}")
    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        found = getattr(module, name)
        assert vars(module)[name] is found and found.__module__.startswith("kcompile.")
    with pytest.raises(AttributeError, match="did you mean"):
        getattr(module, module.__all__[0] + "x")


def test_a_later_method_is_an_ordinary_one_once_asked_for():
    class Box:
        quote = later.method("kcompile.arguments", "owner")

    assert callable(Box.quote)
    assert inspect.isfunction(vars(Box)["quote"])
    assert list(inspect.signature(Model.export).parameters)[:2] == ["model", "filepath"]

#!/usr/bin/env python
"""How long until the first step is done, and how long `import kcompile` takes.

    python benchmarks/startup.py [--rounds 7]

Prints medians: the import alone; with what a model needs, NumPy included, which the import leaves to the
first use; and from the start of a process that trains an MLP to
the end of its first step, with an empty cache of programs ("cold") and a filled one ("warm"). Python's
own cache of bytecode is filled, as it is after an installation; "no bytecode" is without it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

IMPORT = (
    "import time; t = time.perf_counter(); import kcompile{more}; print(time.perf_counter() - t)"
)
ALL = (
    "; kcompile.Sequential, kcompile.layers, kcompile.optimizers, kcompile.losses, kcompile.metrics"
)
FIRST_STEP = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
import kcompile as keras
from meter import process_age
model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(),
                          keras.layers.Dense(128, activation="relu"), keras.layers.Dropout(0.2),
                          keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(np.zeros((32, 28, 28), "float32"), np.zeros(32, "int32"), batch_size=32, verbose=0)
print(process_age())
""".format(here=str(ROOT / "benchmarks"))


def seconds(code, cache, bytecode=None):
    env = os.environ | {
        "KCOMPILE_CACHE": cache,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "" if bytecode else "1",
        "PYTHONPYCACHEPREFIX": bytecode or "",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.split()[-1])


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--rounds", type=int, default=7)
    rounds = range(p.parse_args().rounds)
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as code:
        seconds(FIRST_STEP, cache, code)
        rows = {
            "import kcompile": [seconds(IMPORT.format(more=""), cache, code) for _ in rounds],
            "import all of it": [seconds(IMPORT.format(more=ALL), cache, code) for _ in rounds],
            "first step, warm": [seconds(FIRST_STEP, cache, code) for _ in rounds],
            "first step, cold": [seconds(FIRST_STEP, "off", code) for _ in rounds],
            "cold, no bytecode": [seconds(FIRST_STEP, "off") for _ in rounds],
        }
    for name, found in rows.items():
        print(f"{name:18} {statistics.median(found):.3f} s  ({min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()

"""The demo: a CNN learns handwritten digits; then the compile report, the IR, the ONNX file, verified.

Refuses to need anything but the core dependencies.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import kcompile.layers as layers
import kcompile.report as report
from kcompile.datasets.digits import load_data
from kcompile.dump import dump_ir
from kcompile.errors import KCRuntimeError
from kcompile.export import export, verify
from kcompile.fit.runner import step_function
from kcompile.input_layer import Input
from kcompile.sequential import Sequential
from kcompile.utils.seeds import set_random_seed

EPOCHS = 22
TARGET = 0.98


def build() -> Any:
    """The CNN: two convolutions, pooling, and two dense layers, on images [8, 8, 1] from 0 to 16."""
    return Sequential([
        Input((8, 8, 1)),
        layers.Rescaling(1 / 16),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ], name="digits")  # fmt: skip


def run(out: str = "demo_out", epochs: int | None = None) -> float:
    """Train, report, dump, export, verify; returns the test accuracy.

    Writes digits.keras, digits.ir, digits_kernels.py, digits_kernels.html and digits.onnx into `out`. Raises KCRuntimeError
    KC306 below 98% (with the default number of epochs).
    """
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    os.makedirs(out, exist_ok=True)
    set_random_seed(0)
    (x, y), (x_test, y_test) = load_data()
    x, x_test = x[..., None].astype("float32"), x_test[..., None].astype("float32")
    model = build()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, epochs=epochs or EPOCHS, batch_size=32)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    console.print(
        f"\ntrained in {seconds:.1f} s: test accuracy {accuracy:.2%} on {len(x_test)} digits it has not seen\n"
    )
    in_c = False
    for step in step_function(model, "train").log[:1]:
        if step.program is not None:  # there is none on the reference target
            report.show(step.program, console)
            in_c = step.program.target == "native"
    _write(out, "digits.ir", dump_ir(model, "simplified"))
    _write(out, "digits_kernels.py", dump_ir(model, "kernels"))
    _write(out, "digits_kernels.html", dump_ir(model, "kernels", "html", measure=in_c))
    model.save(os.path.join(out, "digits.keras"))
    path = os.path.join(out, "digits.onnx")
    export(model, path)
    found = verify(model, path)
    console.print(
        f"\n{path} agrees with the model within {found['error']:.1e} ({found['engine']}, two batch sizes)"
    )
    console.print(f"wrote {', '.join(sorted(os.listdir(out)))} to {out}/")
    if epochs is None and accuracy < TARGET:
        raise KCRuntimeError(
            "KC306",
            f"a test accuracy of {accuracy:.2%}",
            f"the demo reaches {TARGET:.0%}",
            "report this",
        )
    return float(accuracy)


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)

#!/usr/bin/env python
"""How long a compile takes, stage by stage, and how it grows.

    python benchmarks/compile_time.py [--models mlp,resnet_small,deep:10,deep:50] [--rounds 5] [--target numpy]

For the train step of each model: tracing (forward, loss, gradients, update, metrics), binding the batch
size, optimising, fusing, generating source, and making it executable (for C, with the compiler's time, nothing cached);
medians in milliseconds, with the number of nodes traced and of kernels made. `deep:N` is a residual network of N convolutions.
"""

import argparse
import os
import statistics
import time

import numpy as np
from models import MODELS, SCE, keras_model
from peers import import_keras


def deep(convolutions):
    import keras
    from keras import layers as L

    inputs = keras.Input((32, 32, 3))
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(inputs)))
    for _ in range((convolutions - 2) // 2):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(x)))
        y = L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(y))
        x = L.ReLU()(L.Add()([x, y]))
    return keras.Model(inputs, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x)))


def once(name, batch, target):
    from codegen.pipeline import TARGETS, generate
    from ir.bind import bind
    from ir.passes.decompose import decompose
    from ir.passes.fuse import fuse
    from ir.pipeline import collector_paused, optimise
    from kcompile.compile import _store
    from kcompile.step import StepFunction
    from runtime import native
    from runtime.executable import Executable

    deep_model = name.startswith("deep:")
    entry = MODELS["resnet_small" if deep_model else name]
    xs, y = entry["data"](np.random.default_rng(0), batch)
    x = xs[0] if len(xs) == 1 else xs
    took, last = {}, [time.perf_counter()]

    def lap(stage):
        now = time.perf_counter()
        took[stage], last[0] = (now - last[0]) * 1e3, now

    model = deep(int(name.split(":")[1])) if deep_model else keras_model(name)
    model.compile("adam", SCE if deep_model else entry["loss"], metrics=["accuracy"])
    model.run_on(backend="numpy").fit(
        x, y, batch_size=batch, verbose=0
    )  # builds what is built once
    native._loaded.clear()  # every round compiles
    last[0] = time.perf_counter()
    with collector_paused():
        traced = StepFunction(model, "train").trace(x, y)
        lap("trace")
        static = bind(traced.graph, **({"N": batch} if traced.named else {}))
        lap("bind")
        optimised = optimise(static)
        lap("optimise")
        prepare, profit, _ = TARGETS[target]
        fused = fuse(prepare(decompose(optimised)), profit)
        lap("fuse")
        program = generate(fused, target)
        lap("generate")
    Executable(program, _store(static, traced.variables))
    lap("executable")
    return took, len(traced.graph.nodes), len(program.kernels)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--models", default="mlp,resnet_small,deep:10,deep:50")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--target", default="native", choices=["native", "numpy"])
    a = p.parse_args()
    os.environ["KCOMPILE_CACHE"] = "off"
    import_keras("kcompile")
    stages = ("trace", "bind", "optimise", "fuse", "generate", "executable")
    print(f"| model | nodes | kernels | {' | '.join(stages)} | all |")
    print("|---" * (len(stages) + 4) + "|")
    for name in a.models.split(","):
        runs = [once(name, a.batch, a.target) for _ in range(a.rounds)]
        medians = [statistics.median(r[0][s] for r in runs) for s in stages]
        cells = " | ".join(f"{m:.1f}" for m in [*medians, sum(medians)])
        print(f"| {name} | {runs[-1][1]} | {runs[-1][2]} | {cells} |")


if __name__ == "__main__":
    main()

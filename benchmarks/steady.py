#!/usr/bin/env python
"""Does training in its steady state allocate, and does memory stay flat?

    python benchmarks/steady.py [--steps 10000]

Prints the peak that one epoch of the MLP allocates beyond its start (Python's and NumPy's allocations,
by tracemalloc), and the resident memory of the process every tenth of `--steps` steps.
"""

import argparse
import tracemalloc

import numpy as np
from meter import rss_mb
from models import MODELS, keras_model
from peers import import_keras


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--steps", type=int, default=10000)
    p.add_argument("--model", default="mlp", choices=list(MODELS))
    p.add_argument("--batch", type=int, default=32)
    a = p.parse_args()
    import_keras("kcompile")
    per_epoch = max(1, a.steps // 10)
    rows = min(per_epoch, 64) * a.batch
    xs, y = MODELS[a.model]["data"](np.random.default_rng(0), rows)
    model = keras_model(a.model)
    model.compile("adam", MODELS[a.model]["loss"], metrics=["accuracy"])
    x = xs[0] if len(xs) == 1 else xs

    def train(steps):
        epochs = max(1, round(steps * a.batch / rows))
        model.fit(x, y, batch_size=a.batch, epochs=epochs, verbose=0)

    train(per_epoch)
    tracemalloc.start()
    train(64)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    train(64)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"one fit: peak {(peak - before) / 1e3:.1f} kB above its start, {(after - before) / 1e3:.1f} kB kept"
    )
    start = rss_mb()
    for i in range(10):
        train(per_epoch)
        print(f"{(i + 1) * per_epoch:6} steps: {rss_mb():.1f} MB ({rss_mb() - start:+.1f})")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Where the time of a step goes: the seconds of each kernel in C, the slowest first.

    python benchmarks/kernels.py resnet_small 64 [--kind train] [--top 20]

The kernels run one after the other with the clock read around each, in a step whose data the caches have seen; so the sum is
a little more than a step in `fit` takes. `GFLOP/s` and `GB/s` are what a kernel reaches; `floor` is its work at the
speed of a large matrix product (205 GFLOP/s on the machine of the README's table) or its traffic at 40 GB/s, whichever is longer.
"""

import argparse

from peers import MODELS, import_keras, keras_model

FLOPS, BYTES = 205e9, 40e9


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", choices=list(MODELS))
    p.add_argument("batch", type=int)
    p.add_argument("--kind", default="train", choices=["train", "test", "predict"])
    p.add_argument("--top", type=int, default=20)
    a = p.parse_args()
    import_keras("kcompile")
    model = keras_model(a.model)
    model.compile("adam", MODELS[a.model]["loss"], metrics=["accuracy"], backend="native")
    facts = model.compile_report(a.kind, a.batch, verbose=False, measure=True)
    kernels = sorted(facts["kernels"], key=lambda k: -k["seconds_measured"])
    total = sum(k["seconds_measured"] for k in kernels)
    print(f"{a.model} {a.batch}, {a.kind}: {total * 1e3:.3g} ms in {len(kernels)} kernels\n")
    print("| kernel | us | share | floor us | GFLOP/s | GB/s | layers | ops |\n|" + "---|" * 8)
    for k in kernels[: a.top]:
        s = max(k["seconds_measured"], 1e-9)
        floor = max(k["flops"] / FLOPS, k["bytes"] / BYTES)
        layers = ", ".join(dict.fromkeys(filter(None, k["layers"])))
        cells = [
            k["name"], f"{s * 1e6:.4g}", f"{s / total:.0%}", f"{floor * 1e6:.3g}", f"{k['flops'] / s / 1e9:.3g}",
            f"{k['bytes'] / s / 1e9:.3g}", layers[:40], k["ops"][:60],
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

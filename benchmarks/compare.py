#!/usr/bin/env python
"""How fast is kcompile beside the others, all measured in one run.

    python benchmarks/compare.py                                  # the small models, every peer found here
    python benchmarks/compare.py --models mlp:32,lstm_imdb:32 --rounds 5
    python benchmarks/compare.py --python tensorflow=/path/to/python --python jax=/path/to/python

Each figure is the median over `--rounds` processes (`peers.py`); within a round the backends take turns,
so that a busy machine disturbs all of them alike. `ratio` is the time against the fastest Keras backend
of the same run. The table is printed as Markdown, and everything measured, with versions, machine and
date, goes to benchmarks/results/<date>.json.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERAS = ("tensorflow", "jax", "torch")
BACKENDS = ("kcompile", *KERAS, "torch-native", "torch-compile")
NEEDS = {"torch-native": ["torch"], "torch-compile": ["torch"], "kcompile": []}
SMALL = (
    "mlp:32,mlp:256,binary_mlp:32,cnn_mnist:32,cnn_cifar:32,lstm_imdb:32,resnet_small:64,transformer_small:32,"
    "seq2seq_lstm:64"
)
PACKAGES = ("numpy", "keras", "tensorflow", "tensorflow_cpu", "jax", "torch", "triton")


def versions(python):
    code = (
        "import importlib.metadata as m, json, platform\n"
        "found = {'python': platform.python_version()}\n"
        f"for p in {PACKAGES!r}:\n"
        "    try: found[p] = m.version(p)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    return json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True).stdout)


def machine():
    with open("/proc/cpuinfo") as f:
        model = next(
            (line.split(":")[1].strip() for line in f if line.startswith("model name")), ""
        )
    return {
        "cpu": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
    }


def commit():
    done = subprocess.run(
        ["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return done.stdout.strip()


def measure(python, backend, model, batch, options):
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    }
    command = [
        python,
        str(HERE / "peers.py"),
        "--backend",
        backend,
        "--model",
        model,
        "--batch",
        batch,
        *options,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    except subprocess.TimeoutExpired:
        return {"error": "no result in 600 s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(lines[-1])


def found_here(backend):
    return all(importlib.util.find_spec(p) for p in NEEDS.get(backend, ["keras", backend]))


def table(rows, backends, what):
    """Markdown: the median of each backend, and kcompile's ratio to the fastest Keras backend."""
    unit = {
        "ms_step": "ms a step",
        "wait_s": "s to the end of the first step",
        "rss_mb": "MB at most",
    }[what]
    lines = [f"| {unit} | {' | '.join(backends)} | ratio |", "|---" * (len(backends) + 2) + "|"]
    for (model, batch), by_backend in rows.items():
        medians = {}
        for b in backends:
            values = [r[what] for r in by_backend.get(b, []) if what in r]
            medians[b] = statistics.median(values) if values else None
        keras = [m for b, m in medians.items() if b in KERAS and m is not None]
        mine = medians.get("kcompile")
        ratio = f"{mine / min(keras):.2f}" if mine is not None and keras else "-"
        cells = ["-" if m is None else f"{m:.3g}" for m in medians.values()]
        lines.append(f"| {model} {batch} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--models", default=SMALL, help="name:batch, separated by commas")
    p.add_argument("--backends", default=",".join(BACKENDS))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--python", action="append", default=[], metavar="BACKEND=PATH")
    p.add_argument(
        "--out", default="", help="where to write the results (default: results/<date>.json)"
    )
    p.add_argument(
        "--options", default="", help="further options of peers.py, e.g. '--steps 8 --repeats 3'"
    )
    a = p.parse_args()
    pythons = dict(spec.split("=", 1) for spec in a.python)
    backends = [b for b in a.backends.split(",") if b in pythons or found_here(b)]
    jobs = [tuple(spec.split(":")) for spec in a.models.split(",")]
    rows = {job: {b: [] for b in backends} for job in jobs}
    for turn in range(a.rounds):
        for model, batch in jobs:
            for b in backends[turn % len(backends) :] + backends[: turn % len(backends)]:
                got = measure(pythons.get(b, sys.executable), b, model, batch, a.options.split())
                rows[model, batch][b].append(got)
                shown = f"{got['ms_step']:.3f} ms" if "ms_step" in got else got["error"]
                print(f"round {turn + 1}: {model} {batch} {b}: {shown}", file=sys.stderr)
    for what in ("ms_step", "wait_s", "rss_mb"):
        print("\n" + table(rows, backends, what))
    now = datetime.datetime.now(datetime.UTC)
    out = Path(a.out) if a.out else HERE / "results" / f"{now:%Y-%m-%d-%H%M}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": {b: versions(pythons.get(b, sys.executable)) for b in backends},
        "rows": [
            {"model": m, "batch": int(n), "backend": b, "runs": runs}
            for (m, n), by_backend in rows.items()
            for b, runs in by_backend.items()
        ],
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()

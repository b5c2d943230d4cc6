#!/usr/bin/env python
"""How fast kcompile trains on a GPU beside its peers, all measured in one run on one device.

    python benchmarks/gpu.py                                        # ten models, every peer found, f32
    python benchmarks/gpu.py --models mlp:32,lstm_imdb:32 --precision f32,bf16 --rounds 5
    python benchmarks/gpu.py --python jax=/path/to/python --python keras-jax=/path/to/python
    python benchmarks/gpu.py --backends kcompile --rounds 1 --table # what was tuned goes to runtime/tuned.json
    python benchmarks/gpu.py --dry                                  # no GPU: tests this program, measures nothing

A cell is a backend, a model, a batch and a precision, run in processes of its own (`gpu_peer.py`): the first with every cache empty
(first step, cold), the others with what it left (first step, warm; ms a step: the median over `--rounds`). Within a round the
backends take turns. Results, with versions, driver, device and date, go to benchmarks/results/gpu-<date>.json; tables are
Markdown. kcompile's kernels are listed with their least times, those furthest from it first.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from compare import commit, machine, versions
from gpu_peer import PRECISIONS, TRAIN
from models import MODELS

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "runtime" / "tuned.json"
BATCH = {"resnet_small": 64, "transformer_small": 32, "seq2seq_lstm": 64}
CACHES = (
    "KCOMPILE_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR",
)  # fmt: skip
NEEDS = {
    "kcompile": "triton", "torch-eager": "torch", "torch-compile": "torch", "jax": "jax",
    "keras-jax": "jax", "keras-torch": "torch",
}  # fmt: skip


def has(python, package):
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return not subprocess.run([python, "-c", code]).returncode


def measure(python, cell, folder, options, seconds=1800):
    """One process of a cell: what `gpu_peer.py` printed, or {"error": ...}. folder: where its caches are."""
    env = os.environ | {name: str(folder / name) for name in CACHES}
    env |= {
        "PYTHONPATH": str(HERE.parent),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    for name in CACHES:
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    backend, model, batch, precision = cell
    command = [
        python, str(HERE / "gpu_peer.py"), "--backend", backend, "--model", model,
        "--batch", str(batch), "--precision", precision, *options,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"no result in {seconds} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return json.loads(lines[-1])


def device():
    """What the driver says of the device; empty without one."""
    what = "name,driver_version,memory.total,clocks.max.sm"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"],
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def summary(runs):
    """A cell's figures from its processes, the first of which began with empty caches."""
    good = [r for r in runs if "error" not in r]
    if not good:
        return {"error": runs[0]["error"] if runs else "not run"}
    out = {
        "ms_step": statistics.median(r["ms_step"] for r in good),
        "peak_mb": max(r["peak_mb"] for r in good),
    }
    if "error" not in runs[0]:
        out["first_step_s"] = runs[0]["first_step_s"]
    warm = [r["first_step_s"] for r in runs[1:] if "error" not in r]
    return out | ({"warm_start_s": statistics.median(warm)} if warm else {})


def table(cells, backends, what, unit):
    """Markdown: a row for each model, and how many times slower the best peer is than kcompile."""
    lines = [f"| {unit} | {' | '.join(backends)} | best peer / kcompile |"]
    lines.append("|---" * (len(backends) + 2) + "|")
    rows = dict.fromkeys((m, n, p) for _, m, n, p in cells)
    for row in rows:
        values = {b: cells[b, *row].get(what) for b in backends if (b, *row) in cells}
        peers = [v for b, v in values.items() if b != "kcompile" and v]
        mine = values.get("kcompile")
        ratio = f"{min(peers) / mine:.2f}" if mine and peers else "-"
        shown = ["-" if values.get(b) is None else f"{values[b]:.4g}" for b in backends]
        lines.append(f"| {' '.join(map(str, row))} | {' | '.join(shown)} | {ratio} |")
    return "\n".join(lines)


def kernels(cells, runs, most=12):
    """The kernels of kcompile's steps that are furthest from their least times."""
    lines = ["| model | kernel | kind | us | least us | ops |", "|---|---|---|---|---|---|"]
    for cell in cells:
        found = next((r["kernels"] for r in reversed(runs[cell]) if "kernels" in r), ())
        for k in sorted(found, key=lambda k: k["floor_us"] - k["us"])[:most]:
            lines.append(
                f"| {cell[1]} | {k['name']} | {k['kind']} | {k['us']:.2f} | {k['floor_us']:.2f} | {k['ops'][:80]} |"
            )
    return "\n".join(lines)


def with_choices(table, runs):
    """The table of tuned schedules with what these processes of kcompile chose, in a fixed order."""
    for r in runs:
        table.setdefault(r["kind"], {}).update(r["choices"])
    return {kind: dict(sorted(table[kind].items())) for kind in sorted(table) if table[kind]}


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = ",".join(f"{m}:{BATCH.get(m, 32)}" for m in MODELS)
    p.add_argument("--models", default=usual, help="name:batch, separated by commas")
    p.add_argument("--backends", default=",".join(TRAIN))
    p.add_argument("--precision", default="f32", help=f"of {', '.join(PRECISIONS)}")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--python", action="append", default=[], metavar="BACKEND=PATH")
    p.add_argument("--options", default="", help="further options of gpu_peer.py")
    p.add_argument("--out", default="")
    p.add_argument("--table", action="store_true", help="keep what was tuned in runtime/tuned.json")
    p.add_argument("--dry", action="store_true")
    a = p.parse_args()
    pythons = dict(spec.split("=", 1) for spec in a.python)
    of = lambda b: pythons.get(b, sys.executable)
    if not a.dry and not device():
        sys.exit("no GPU: nvidia-smi finds none. --dry tests this program without one")
    backends = [b for b in a.backends.split(",") if has(of(b), NEEDS[b])]
    options = [*a.options.split(), *(["--dry"] if a.dry else [])]
    jobs = [(*spec.split(":"), q) for spec in a.models.split(",") for q in a.precision.split(",")]
    runs = {(b, m, int(n), q): [] for m, n, q in jobs for b in backends}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(a.rounds):
            for m, n, q in jobs:
                for b in backends[turn % len(backends) :] + backends[: turn % len(backends)]:
                    cell = (b, m, int(n), q)
                    folder = Path(scratch) / "-".join(map(str, cell))
                    got = measure(of(b), cell, folder, options)
                    runs[cell].append(got)
                    shown = f"{got['ms_step']:.4f} ms" if "ms_step" in got else got["error"]
                    print(f"round {turn + 1}: {' '.join(map(str, cell))}: {shown}", file=sys.stderr)
    cells = {c: summary(found) for c, found in runs.items()}
    now = datetime.datetime.now(datetime.UTC)
    for what, unit in (
        ("ms_step", "ms a step"), ("first_step_s", "s to the first step, caches empty"),
        ("warm_start_s", "s to the first step, caches filled"), ("peak_mb", "MB of device memory"),
    ):  # fmt: skip
        print("\n" + table(cells, backends, what, unit))
    if not a.dry:
        print("\n" + kernels([c for c in cells if c[0] == "kcompile"], runs))
    if a.table:
        tuned = [r for found in runs.values() for r in found if "choices" in r]
        TABLE.write_text(
            json.dumps(with_choices(json.loads(TABLE.read_text()), tuned), indent=1) + "\n"
        )
    out = Path(a.out) if a.out else HERE / "results" / f"gpu-{now:%Y-%m-%d-%H%M}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "date": now.isoformat(timespec="seconds"), "commit": commit(), "dry": a.dry, "device": device(),
        "machine": machine(), "versions": {b: versions(of(b)) for b in backends},
        "cells": [dict(zip(("backend", "model", "batch", "precision"), c)) | cells[c] for c in cells],
        "runs": [dict(zip(("backend", "model", "batch", "precision"), c)) | {"runs": r} for c, r in runs.items()],
    }  # fmt: skip
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()

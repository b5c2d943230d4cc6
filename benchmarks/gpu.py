#!/usr/bin/env python
"""How fast kcompile trains on a GPU beside its peers, all measured in one run on one device.

    python benchmarks/gpu.py                                        # ten models, every peer found, f32
    python benchmarks/gpu.py --models mlp:32,lstm_imdb:32 --precision f32,bf16 --rounds 5
    python benchmarks/gpu.py --python jax=/path/to/python --python keras-jax=/path/to/python
    python benchmarks/gpu.py --seconds 540 --out found.json --caches dir   # as far as it comes in nine minutes; again: the rest
    python benchmarks/gpu.py --backends kcompile --rounds 1 --table # what was tuned goes to runtime/tuned.json
    python benchmarks/gpu.py --dry                                  # no GPU: tests this program, measures nothing

A cell is a backend, a model, a batch and a precision, run in processes of its own (`gpu_peer.py`), one for each round: the first with
every cache empty (first step, cold), the others with what it left (first step, warm; ms a step: the median of all). A round
goes through the backends in the order given, each with all its models. What each process found is written at once to --out (default:
benchmarks/results/gpu-<date>.json) with versions, driver, device and date; where that file is there already, what it has is not
measured again. --caches: where caches stay between runs (default: nowhere). Tables are Markdown; kcompile's kernels are listed with
their least times, those furthest from it first.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import commit, machine, versions
from gpu_peer import PRECISIONS, TRAIN
from gpu_tables import CELL, errors, kernels, overview, summary, table, with_choices
from models import MODELS

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "runtime" / "tuned.json"
BATCH = {"resnet_small": 64, "transformer_small": 32, "seq2seq_lstm": 64}
CACHES = (
    "KCOMPILE_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR",
)  # fmt: skip
NEEDS = {
    "kcompile": "triton", "torch-eager": "torch", "torch-compile": "torch", "jax": "jax",
    "jax-scan": "jax", "keras-jax": "jax", "keras-torch": "torch",
}  # fmt: skip
LEAST = 20  # seconds that a process is given at least, or it is not begun


def has(python, backend):
    names = [NEEDS[backend], *(["keras"] if backend.startswith("keras") else [])]
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {names!r})))"
    return not subprocess.run([python, "-c", code]).returncode


def measure(python, cell, folder, options, seconds):
    """One process of a cell: what `gpu_peer.py` printed, or {"error": ...}. folder: where its caches are."""
    cold = not folder.exists()
    env = os.environ | {name: str(folder / name) for name in CACHES}
    path = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    env |= {
        "PYTHONPATH": os.pathsep.join(path),
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
        return {"error": f"no result in {seconds:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return json.loads(lines[-1]) | {"cold": cold}


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
    p.add_argument("--caches", default="", help="a folder; what is in it already is used")
    p.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing later")
    p.add_argument("--limit", type=float, default=600, help="seconds that a process may take")
    p.add_argument("--table", action="store_true", help="keep what was tuned in runtime/tuned.json")
    p.add_argument("--dry", action="store_true")
    a = p.parse_args()
    end = time.monotonic() + a.seconds
    pythons = dict(spec.split("=", 1) for spec in a.python)
    of = lambda b: pythons.get(b, sys.executable)
    if not a.dry and not device():
        sys.exit("no GPU: nvidia-smi finds none. --dry tests this program without one")
    backends = [b for b in a.backends.split(",") if has(of(b), b)]
    options = [*a.options.split(), *(["--dry"] if a.dry else [])]
    jobs = [(*spec.split(":"), q) for spec in a.models.split(",") for q in a.precision.split(",")]
    cells = [(b, m, int(n), q) for b in backends for m, n, q in jobs]
    now = datetime.datetime.now(datetime.UTC)
    out = Path(a.out) if a.out else HERE / "results" / f"gpu-{now:%Y-%m-%d-%H%M}.json"
    runs = kept(out)
    facts = {
        "date": now.isoformat(timespec="seconds"), "commit": commit(), "dry": a.dry, "device": device(),
        "machine": machine(), "versions": {b: versions(of(b)) for b in backends},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        caches = Path(a.caches or scratch)
        for turn, cell in [(turn, cell) for turn in range(a.rounds) for cell in cells]:
            found = runs.setdefault(cell, [])
            left = min(a.limit, end - time.monotonic())
            if len(found) > turn or left < LEAST:
                continue
            got = measure(of(cell[0]), cell, caches / "-".join(map(str, cell)), options, left)
            found.append(got)
            keep(out, facts, runs)
            shown = f"{got['ms_step']:.4f} ms" if "ms_step" in got else got["error"]
            print(f"round {turn + 1}: {' '.join(map(str, cell))}: {shown}", file=sys.stderr)
    figures = {c: summary(found) for c, found in runs.items()}
    columns = list(dict.fromkeys(c[0] for c in runs))
    for what, unit in (
        ("ms_step", "ms a step"), ("first_step_s", "s to the first step, caches empty"),
        ("warm_start_s", "s to the first step, caches filled"), ("peak_mb", "MB of device memory"),
    ):  # fmt: skip
        print("\n" + table(figures, columns, what, unit))
    print("\n" + overview(runs) + "\n\n" + kernels(runs))
    if a.table:
        tuned = [r for found in runs.values() for r in found if r.get("kind")]
        joined = with_choices(json.loads(TABLE.read_text()), tuned)
        TABLE.write_text(json.dumps(joined, indent=1) + "\n")
    print(f"\n{errors(runs)}\nwritten to {out}", file=sys.stderr)


def kept(path):
    """What earlier runs wrote to this file: the processes of each cell that gave figures."""
    if not path.exists():
        return {}
    cells = json.loads(path.read_text())["runs"]
    return {tuple(c[n] for n in CELL): [r for r in c["runs"] if "error" not in r] for c in cells}


def keep(path, facts, runs):
    """Write what was found so far, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {c: dict(zip(CELL, c, strict=True)) for c in runs}
    result = facts | {
        "cells": [named[c] | summary(found) for c, found in runs.items()],
        "runs": [named[c] | {"runs": found} for c, found in runs.items()],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)


if __name__ == "__main__":
    main()

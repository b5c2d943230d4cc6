#!/usr/bin/env python
"""The native CPU target beside every peer, in cells that can be measured one at a time.

    python benchmarks/native.py list                      # what is still to measure
    python benchmarks/native.py next --count 3            # measure the next three cells
    python benchmarks/native.py table                     # Markdown of what was measured

A cell is one process (`peers.py`) of one backend on one model: `step` (ms a step in the steady state of fit, time to the end of the
first step, peak memory), `cold` (the same start with an empty cache of programs), `busy` (a step with two other processes
that never rest), `predict` (10,000 samples at batch 256), or `limits` (what the machine can do). `--rounds` of each, in which
backends take turns; a cell that is in the file is not measured again, unless other
processes disturbed it, so a run may be cut into slices. Options
choose cells: --what, --models, --backends, --rounds. Everything goes to --file, with versions, machine, commit and times.

Ratios are between medians: of the fastest peer, by kcompile's. The floor is the time of a step's matrix products and
convolutions at the speed of the fastest large matrix product (`limits`, two threads).
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from compare import HERE, commit, machine, versions
from models import step_flops

JOBS = (
    "mlp:32,mlp:256,binary_mlp:32,cnn_mnist:32,cnn_mnist:128,cnn_cifar:32,cnn_cifar:128,lstm_imdb:32,"
    "lstm_imdb:128,resnet_small:64,transformer_small:32,seq2seq_lstm:64"
)
PEERS = ("tensorflow", "jax", "torch", "torch-native", "torch-compile")
PREDICT = ("onnxruntime", "torch-native", "torch-compile", "tensorflow", "jax")
BACKENDS = {
    "limits": ("numpy",),
    "step": ("kcompile", *PEERS),
    "cold": ("kcompile",),
    "busy": ("kcompile", "tensorflow", "jax", "torch-native"),
    "predict": ("kcompile", *PREDICT),
}
PREDICTED = ("mlp:256", "cnn_mnist:256")
SHORT = {"torch": "keras-torch", "tensorflow": "keras-tf", "jax": "keras-jax"}
BURN = "while True: sum(range(100000))"


def cells(a):
    """Every cell, in the order in which it is measured."""
    for turn in range(a.rounds):
        for what in a.what.split(","):
            jobs = {"predict": PREDICTED, "limits": ("-:0",)}.get(what, a.models.split(","))
            for job, backends in itertools.product(jobs, [BACKENDS[what]]):
                model, batch = job.split(":")
                shift = turn % len(backends)
                for b in (*backends[shift:], *backends[:shift]):
                    if (what == "limits" and turn) or b not in ("numpy", *a.backends.split(",")):
                        continue
                    yield {"what": what, "model": model, "batch": int(batch), "backend": b,
                           "round": turn}  # fmt: skip


def command(cell, python, onnx):
    out = [python, str(HERE / "peers.py")]
    if cell["what"] == "limits":
        return [*out, "--what", "limits"]
    out += ["--backend", cell["backend"], "--model", cell["model"], "--batch", str(cell["batch"])]
    if cell["what"] == "predict":
        out += [
            "--what",
            "predict",
            *(["--onnx", onnx] if cell["backend"] == "onnxruntime" else []),
        ]
    if cell["what"] == "cold":
        out += ["--steps", "4", "--repeats", "1", "--cap-s", "0"]
    return out


def measure(cell, pythons, seconds):
    """Run one cell: what `peers.py` printed, or {"error": ...}."""
    unwanted = ("OMP_", "OPENBLAS_", "MKL_", "PYTHONDONTWRITEBYTECODE")
    env = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    env["PYTHONPATH"] = str(HERE.parent)
    env.setdefault("KCOMPILE_TARGET", "native")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        if cell["what"] == "cold":
            env["KCOMPILE_CACHE"] = scratch
        python = pythons.get(cell["backend"], sys.executable)
        if cell["backend"] == "kcompile":  # bytecode is there, as it is after an installation
            floors = [str(HERE.parent / f) for f in ("ir", "codegen", "runtime", "kcompile")]
            subprocess.run([python, "-m", "compileall", "-q", *floors], env=env, check=True)
        onnx = str(Path(scratch) / "model.onnx")
        if cell["backend"] == "onnxruntime":
            _export(cell["model"], onnx, env)
        if cell["what"] == "busy":
            for _ in range(2):
                burning = stack.enter_context(subprocess.Popen([sys.executable, "-c", BURN]))
                stack.callback(burning.kill)
        try:
            done = subprocess.run(
                command(cell, python, onnx),
                capture_output=True,
                text=True,
                env=env,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no result in {seconds} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(lines[-1])


def _export(model, path, env):
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import peers; peers.import_keras('kcompile')\n"
        f"from models import keras_model\nkeras_model({model!r}).export({path!r})"
    )
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)


def load(path):
    return json.loads(path.read_text()) if path.exists() else {"cells": []}


def save(path, found):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(new, path)


def is_good(cell):
    """Whether a cell has a result, and no other process disturbed it (but where that is the question)."""
    got = cell["result"]
    disturbed = cell["what"] in ("step", "predict") and got.get("noisy")
    return bool(got) and "error" not in got and not disturbed


def missing(a, found):
    key = ("what", "model", "batch", "backend", "round")
    have = {tuple(c[k] for k in key) for c in found["cells"] if is_good(c)}
    return [c for c in cells(a) if tuple(c[k] for k in key) not in have]


def run(a):
    pythons = dict(spec.split("=", 1) for spec in a.python)
    for _ in range(a.count):
        found = load(a.file)
        left = missing(a, found)
        if not left:
            return
        cell, now = left[0], datetime.datetime.now(datetime.UTC)
        got = measure(cell, pythons, a.seconds)
        found.setdefault("machine", machine())
        known = found.setdefault("versions", {})
        if cell["backend"] not in known:
            known[cell["backend"]] = versions(pythons.get(cell["backend"], sys.executable))
        stamp = {"at": now.isoformat(timespec="seconds"), "commit": commit()}
        found["cells"].append({**cell, **stamp, "result": got})
        save(a.file, found)
        shown = got.get("error") or {
            k: got[k] for k in ("ms_step", "samples_s", "wait_s") if k in got
        }
        print(*(f"{v}" for v in cell.values()), shown, file=sys.stderr)


def medians(found, what, key):
    """(model, batch) -> backend -> median of `key` over the rounds."""
    values = {}
    for c in found["cells"]:
        if c["what"] == what and is_good(c) and key in c["result"]:
            by = values.setdefault((c["model"], c["batch"]), {})
            by.setdefault(c["backend"], []).append(c["result"][key])
    return {job: {b: statistics.median(v) for b, v in by.items()} for job, by in values.items()}


def markdown(head, rows):
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(r)} |" for r in rows)])


def _n(v, digits=3):
    return "-" if v is None else f"{v:.{digits}g}" if v < 1000 else f"{v:,.0f}"


def _beside(busy, alone):
    return f"{_n(busy)} ({_n(busy / alone, 2)})" if busy and alone else _n(busy)


def tables(found):
    """The tables of what was measured, as Markdown."""
    limits = next((c["result"] for c in found["cells"] if c["what"] == "limits" and is_good(c)), {})
    gflops = limits.get("sgemm_gflops_2t", {}).get("median", 201.0)
    step, wait = medians(found, "step", "ms_step"), medians(found, "step", "wait_s")
    memory, busy = medians(found, "step", "rss_mb"), medians(found, "busy", "ms_step")
    cold = medians(found, "cold", "wait_s")
    rows = []
    for (model, batch), by in step.items():
        mine = by.get("kcompile")
        peers = {b: v for b, v in by.items() if b != "kcompile"}
        best = min(peers.values(), default=None)
        floor = step_flops(model, batch) / gflops / 1e6
        rows.append([
            f"{model} {batch}", _n(floor), _n(mine), *(_n(by.get(b)) for b in PEERS),
            _n(best and mine and best / mine), _n(mine and mine / floor),
        ])  # fmt: skip
    heads = [SHORT.get(b, b) for b in PEERS]
    out = [markdown(["ms a step", "floor", "kcompile", *heads, "times faster", "x floor"], rows)]
    rows = []
    for job, by in wait.items():
        peers = [v for b, v in by.items() if b != "kcompile"]
        held = {b: v for b, v in memory.get(job, {}).items() if b != "kcompile"}
        rows.append([
            f"{job[0]} {job[1]}", _n(cold.get(job, {}).get("kcompile")), _n(by.get("kcompile")),
            _n(min(peers, default=None)), _n(memory.get(job, {}).get("kcompile")), _n(min(held.values(), default=None)),
        ])  # fmt: skip
    head = [
        "to the end of the first step, s",
        "cold",
        "warm",
        "quickest peer",
        "MB at most",
        "leanest peer",
    ]
    out.append(markdown(head, rows))
    rows = []
    shown = [b for b in BACKENDS["busy"] if any(b in by for by in busy.values())]
    for job, by in busy.items():
        beside = [_beside(by.get(b), step.get(job, {}).get(b)) for b in shown]
        rows.append([f"{job[0]} {job[1]}", *beside])
    head = ["ms a step, two busy processes beside (times alone)"]
    out.append(markdown(head + [SHORT.get(b, b) for b in shown], rows))
    rows = []
    for job, by in medians(found, "predict", "samples_s").items():
        rows.append(
            [f"{job[0]} {job[1]}", *(_n(by.get(b) and by[b] / 1e3) for b in BACKENDS["predict"])]
        )
    out.append(
        markdown(
            ["predict, 1,000 samples a second"] + [SHORT.get(b, b) for b in BACKENDS["predict"]],
            rows,
        )
    )
    return "\n\n".join(t for t in out if t.count("\n") > 1)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("do", choices=["list", "next", "table"])
    p.add_argument("--file", type=Path, default=HERE / "results" / "native.json")
    p.add_argument("--what", default=",".join(BACKENDS))
    p.add_argument("--models", default=JOBS, help="name:batch, separated by commas")
    p.add_argument("--backends", default=",".join(dict.fromkeys(sum(BACKENDS.values(), ()))))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--count", type=int, default=1, help="cells to measure")
    p.add_argument("--seconds", type=int, default=40, help="at most, for a cell")
    p.add_argument("--python", action="append", default=[], metavar="BACKEND=PATH")
    a = p.parse_args()
    if a.do == "next":
        run(a)
    elif a.do == "table":
        print(tables(load(a.file)))
    else:
        for c in missing(a, load(a.file)):
            print(*c.values())


if __name__ == "__main__":
    main()

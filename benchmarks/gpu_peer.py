#!/usr/bin/env python
"""One framework trains one model on one GPU, in one process: a line of JSON on standard output. `gpu.py` runs it.

    gpu_peer.py --backend kcompile|torch-eager|torch-compile|jax|jax-scan|keras-jax|keras-torch --model NAME --batch N
                [--precision f32|tf32|bf16] [--steps N] [--repeats N] [--dry] [--set codegen.triton.writer.STREAMED=0]

All train with Adam on data that lie on the device where the framework allows it, shuffled each epoch, loss and accuracy
(hand-written loops: the loss alone) added up on the device and read once an epoch.

  first_step_s   from the start of the process to the end of the first step, data making left out
  ms_step        median over epochs of their time / their steps, after one that is not counted; of Keras in one call of `fit`
  peak_mb        device memory the framework held at most
  kernels        kcompile alone: each kernel's time in a captured stretch beside its least time (`runtime.roofline`)
  choices        kcompile alone: what was tuned otherwise than by rule, as rows of `runtime/tuned.json` for the device `kind`

--set: another value for an estimate of kcompile's, in the module that reads it; programs are compiled anew then.
--dry: on the CPU, for a test of this program: kcompile in Triton's interpreter, few small steps, no figure means anything.
"""

import argparse
import contextlib
import functools
import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

from meter import process_age
from models import BCE, CONV, MODELS, SCE, keras_model, torch_model

PRECISIONS = ("f32", "tf32", "bf16")
STEPS = {"mlp": 1875, "binary_mlp": 1875}  # an epoch of MNIST; of the others 200


def epochs(a, run, r):
    """Time `run(steps)`, which ends with the loss on the host."""
    found = []
    for _ in range(1 + a.repeats):
        t = time.perf_counter()
        run(a.steps)
        found.append(time.perf_counter() - t)
    put(a, found, r)


def put(a, seconds, r):
    """Fill in ms_step and every repeat, from the seconds of epochs, of which the first is not counted."""
    found = [s / a.steps * 1e3 for s in seconds[1:]]
    r["ms_step"], r["all_ms"] = statistics.median(found), [round(f, 5) for f in found]


def first(run, r):
    run(1)
    r["first_step_s"] = process_age() - r["data_s"]


# -- Keras, ours and others ------------------------------------------------------------------------


def train_keras(a, xs, y, r):
    if a.backend == "kcompile":
        import kcompile as keras

        if a.precision == "tf32":
            keras.config.set_float32_matmul_precision("tf32")
    else:
        import keras
    if a.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = keras_model(a.model, keras)
    model.compile("adam", MODELS[a.model]["loss"], metrics=["accuracy"])
    if a.backend == "kcompile":
        model.run_on(backend="triton")
    b = a.batch

    def run(steps, epochs=1, callbacks=()):
        part = [x[: steps * b] for x in xs]
        model.fit(
            part if len(part) > 1 else part[0], y[: steps * b], batch_size=b, epochs=epochs, verbose=0,
            callbacks=list(callbacks),
        )  # fmt: skip

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.found = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):  # when the loss is on the host
            self.found.append(time.perf_counter() - self.start)

    first(run, r)
    clock = Clock()
    run(a.steps, 1 + a.repeats, [clock])
    put(a, clock.found, r)
    if a.backend == "kcompile":
        from runtime.tune import choices

        step = model._step_functions.by_kind["train"][1].log[0]
        r["kind"] = step.executable.device.kind
        r["choices"] = choices(step.program, step.executable.program)
        r["kernels"] = kernels(step, a.dry)
    if a.backend == "keras-jax":
        return peak_jax
    return peak_torch


def kernels(step, dry):
    """The time of each kernel of the train step as captured, and its least time, in microseconds."""
    from runtime.roofline import H200, floor
    from runtime.tune import clocked

    inner, device = step.executable._on_device, step.executable.device
    time_of = device.seconds if dry else functools.partial(clocked, device)
    saved = {n: t.clone() for n, t in inner.tensors.items()}
    found = [
        {
            "name": k.name, "ops": k.ops, "kind": k.schedule["kind"], "us": time_of(launch[0]) * len(launch) * 1e6,
            "floor_us": floor(k, H200) * 1e6, "launches": len(launch), "tuned": k.schedule.get("tuned"),
        }
        for k, launch in zip(step.executable.program.kernels, inner.launches, strict=True)
    ]  # fmt: skip
    for n, t in inner.tensors.items():
        t.copy_(saved[n])
    device.wait()
    return found


def peak_torch():
    import torch

    return torch.cuda.max_memory_reserved() / 1e6 if torch.cuda.is_available() else 0.0


def peak_jax():
    import jax

    found = jax.devices()[0].memory_stats() or {}
    return found.get("peak_bytes_in_use", 0) / 1e6


# -- PyTorch ---------------------------------------------------------------------------------------


def train_torch(a, xs, y, r):
    import torch
    import torch.nn.functional as F

    where = "cpu" if a.dry else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.precision == "tf32"
    net = torch_model(a.model).to(where)
    if a.model in CONV:
        net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.Adam(net.parameters(), 1e-3, eps=1e-7, fused=True, capturable=not a.dry)
    loss_kind = MODELS[a.model]["loss"]
    data = [torch.from_numpy(v).to(where) for v in (*xs, y)]
    if loss_kind == SCE:
        data[-1] = data[-1].long()
    half = torch.autocast(where, torch.bfloat16) if a.precision == "bf16" else None

    def loss_of(*args):
        *inputs, target = args
        out = net(*(v.permute(0, 3, 1, 2) if a.model in CONV else v for v in inputs))
        if loss_kind == BCE:
            return F.binary_cross_entropy_with_logits(out, target)
        if target.dtype == torch.int64:
            return F.cross_entropy(out.flatten(0, -2), target.flatten())
        return F.cross_entropy(out, target)

    def step(*args):
        opt.zero_grad(set_to_none=True)
        with half or contextlib.nullcontext():
            loss = loss_of(*args)
        loss.backward()
        opt.step()
        return loss.detach()

    if a.backend == "torch-compile":  # CUDA graphs are part of this mode
        torch._dynamo.config.allow_rnn = False  # cuDNN's loop, which unrolling would replace
        step = torch.compile(step, mode="max-autotune")
    net.train()

    def run(steps):
        order = torch.randperm(steps * a.batch, device=where)
        total = torch.zeros((), device=where)
        for at in order.split(a.batch):
            if a.backend == "torch-compile":
                torch.compiler.cudagraph_mark_step_begin()
            total += step(*(v[at] for v in data))
        return float(total)

    first(run, r)
    epochs(a, run, r)
    return peak_torch


def train_jax(a, xs, y, r):
    import gpu_jax
    import jax

    name = {"f32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}[a.precision]
    jax.config.update("jax_default_matmul_precision", name)
    run = gpu_jax.trainer(a.model, a.batch, xs, y, a.precision == "bf16", a.backend == "jax-scan")
    first(run, r)
    run(
        a.steps
    )  # the state has been handed in and out now: an epoch of one call compiles once more
    epochs(a, run, r)
    return peak_jax


TRAIN = {  # the quickest to compile first
    "kcompile": train_keras, "torch-eager": train_torch, "jax": train_jax, "jax-scan": train_jax,
    "keras-jax": train_keras, "keras-torch": train_keras, "torch-compile": train_torch,
}  # fmt: skip


def prepare(a):
    """kcompile as the options want it."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    if a.dry:
        import kcompile.target as target

        target.without_cuda = lambda: ""  # the interpreter stands in for a GPU
    if a.set:
        os.environ["KCOMPILE_CACHE"] = "off"  # which knows programs by their sources
    for given in a.set:
        place, value = given.split("=", 1)
        module, _, name = place.rpartition(".")
        of = importlib.import_module(module)
        setattr(of, name, type(getattr(of, name))(float(value)))


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--backend", required=True, choices=list(TRAIN))
    p.add_argument("--model", required=True, choices=list(MODELS))
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--precision", default="f32", choices=PRECISIONS)
    p.add_argument("--steps", type=int, help="of an epoch")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--set", action="append", default=[], metavar="MODULE.NAME=NUMBER")
    p.add_argument("--dry", action="store_true")
    a = p.parse_args()
    a.steps = a.steps or STEPS.get(a.model, 200)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if a.backend.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = a.backend.removeprefix("keras-")
    if a.dry:
        os.environ |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    import numpy as np

    t = time.perf_counter()
    xs, y = MODELS[a.model]["data"](np.random.default_rng(0), a.steps * a.batch)
    r = {
        "backend": a.backend, "model": a.model, "batch": a.batch, "precision": a.precision, "dry": a.dry,
        "data_s": time.perf_counter() - t, "set": a.set,
    }  # fmt: skip
    if a.backend == "kcompile":
        prepare(a)
    peak = TRAIN[a.backend](a, xs, y, r)
    r["peak_mb"] = peak()
    print(json.dumps(r), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""peers.py - how fast do existing frameworks train / run small Keras models on this CPU?

One process = one configuration = one JSON line on stdout.

  peers.py --backend kcompile|tensorflow|jax|torch|torch-native|torch-compile|onnxruntime
           --model NAME --batch N [--steps N] [--repeats 5] [--jit auto|on|off]
           [--what train|predict] [--threads N]
  peers.py --what limits            # numpy sgemm GFLOP/s and memory-copy GB/s, 1 and 2 threads
  peers.py --what flops             # GEMM FLOPs of one training step of every model

tensorflow / jax / torch are Keras 3 with that KERAS_BACKEND, timed through `model.fit(verbose=0)`
(shuffle=True and metrics=["accuracy"], the Keras defaults / what the Keras guides compile with).
torch-native is a hand-written eager loop (logits loss, index-shuffled minibatches from RAM tensors,
running loss kept as a tensor, no accuracy metric); torch-compile is that loop under torch.compile.

What is measured (train):
  import_s       importing the framework
  build_s        building + compiling (keras .compile) the model, parameters allocated
  first_step_s   entering fit()/the loop -> one finished step (tracing, XLA/inductor, first kernel)
  wait_s         process start -> first finished step, synthetic data generation excluded
  ms_step        median over repeats of (one epoch of `steps` steps) / steps; a whole warm-up epoch is
                 dropped; epoch bookkeeping (shuffle, metric reset/readback) is inside, as a user sees it
  all_ms         every repeat, for the spread; other = per repeat, the CPU cores that processes other
                 than this one kept busy meanwhile (from /proc/stat). A repeat is "clean" when other <= 0.1;
                 repeating goes on until `--repeats` clean ones or --cap-s seconds, and ms_step is the
                 median of the clean ones when there are >= 3 (else of the least disturbed, and "noisy": true)
  rss_mb         peak RSS of the process (VmHWM), data included; rss_import_mb right after import
If --steps is 0 the epoch length is chosen so an epoch takes about --epoch-s seconds (max 6400 samples).
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from meter import Meter, hwm_mb, pick_steps, process_age
from models import BCE, CONV, MAX_SAMPLES, MODELS, SCE, keras_model, step_flops, torch_model


def import_keras(backend):
    if backend == "kcompile":  # the same programs with one import changed
        sys.path.insert(
            0, str(Path(__file__).resolve().parent.parent)
        )  # this tree's, installed or not
        import kcompile

        sys.modules.update({"keras": kcompile, "keras.layers": kcompile.layers})
    import keras

    return keras


def train_keras(a, xs, y, r):
    t = time.perf_counter()
    keras = import_keras(a.backend)
    r["import_s"], r["rss_import_mb"] = time.perf_counter() - t, hwm_mb()

    class Stamp(keras.callbacks.Callback):  # epoch hooks only, so no per-batch cost
        meter = None

        def on_epoch_end(self, epoch, logs=None):
            float(logs["loss"])  # forces async backends to finish
            if self.meter is None:
                return
            if epoch == 0:  # warm-up epoch
                self.meter.mark()
            elif self.meter.lap():
                self.model.stop_training = True

    t = time.perf_counter()
    model = keras_model(a.model)
    kw = {} if a.jit == "auto" else {"jit_compile": a.jit == "on"}
    model.compile(
        optimizer="adam",
        loss=MODELS[a.model]["loss"],
        metrics=[] if a.no_metrics else ["accuracy"],
        **kw,
    )
    r["build_s"], r["params"], r["jit_resolved"] = (
        time.perf_counter() - t,
        model.count_params(),
        bool(getattr(model, "jit_compile", False)),
    )

    stamp, b = Stamp(), a.batch
    one = lambda v: v if len(v) > 1 else v[0]

    def fit(steps, epochs):
        model.fit(
            one([x[: steps * b] for x in xs]),
            y[: steps * b],
            batch_size=b,
            epochs=epochs,
            verbose=0,
            callbacks=[stamp],
        )

    t = time.perf_counter()
    fit(1, 1)
    r["first_step_s"], r["wait_s"] = time.perf_counter() - t, process_age() - r["data_s"]
    stamp.meter = Meter(a, 1e3)  # pilot: seconds per epoch of 4 steps, to size the epoch
    fit(4, 4)
    steps = pick_steps(a, len(y) // b, min(stamp.meter.ms) / 4)
    if not a.steps:  # again with the longer epoch: per-epoch overhead weighs less
        stamp.meter = Meter(a, 1e3)
        stamp.meter.cap = 0  # three epochs
        fit(steps, 4)
        steps = max(steps, pick_steps(a, len(y) // b, min(stamp.meter.ms) / steps))
    r["steps"] = steps
    stamp.meter = meter = Meter(a, steps)
    fit(steps, 10000)
    meter.put(r, "ms_step")
    stamp.meter = None
    return lambda: fit(steps, 1)


def train_torch(a, xs, y, r):
    t = time.perf_counter()
    import torch
    import torch.nn.functional as F

    r["import_s"], r["rss_import_mb"] = time.perf_counter() - t, hwm_mb()
    if a.threads:
        torch.set_num_threads(a.threads)

    t = time.perf_counter()
    net, conv, cl = torch_model(a.model), a.model in CONV, not a.no_channels_last
    if conv and cl:
        net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-7, fused=a.adam == "fused")
    r["build_s"], r["params"] = time.perf_counter() - t, sum(p.numel() for p in net.parameters())
    X, Y = [torch.from_numpy(x) for x in xs], torch.from_numpy(y)
    loss_kind = MODELS[a.model]["loss"]
    if loss_kind == SCE:
        Y = Y.long()

    def prep(v):  # NHWC numpy -> NCHW (a channels-last view, no copy)
        if not conv:
            return v
        v = v.permute(0, 3, 1, 2)
        return v if cl else v.contiguous()

    def loss_fn(*args):
        *xb, yb = args
        out = net(*xb)
        if loss_kind == BCE:
            return F.binary_cross_entropy_with_logits(out, yb)
        return (
            F.cross_entropy(out.flatten(0, -2), yb.flatten())
            if yb.dtype == torch.int64
            else F.cross_entropy(out, yb)
        )

    def step(*args):
        opt.zero_grad(set_to_none=True)
        loss = loss_fn(*args)
        loss.backward()
        opt.step()
        return loss.detach()

    if a.backend == "torch-compile":
        if a.allow_rnn:
            torch._dynamo.config.allow_rnn = True
        opts = {"cpp_wrapper": True} if a.cpp_wrapper else None
        if a.tc == "whole":  # dynamo breaks at backward(), compiles both sides
            step = torch.compile(step, options=opts)
        else:  # "parts": fwd+loss (with its bwd) and opt.step separately
            loss_fn = torch.compile(loss_fn, options=opts)
            if a.tc == "parts":
                opt.step = torch.compile(opt.step, options=opts)
    net.train()
    b = a.batch

    def epoch(steps):
        perm, tot = torch.randperm(steps * b), torch.zeros(())
        for i in range(steps):
            idx = perm[i * b : (i + 1) * b]
            tot += step(*[prep(x[idx]) for x in X], Y[idx])
        return float(tot) / steps

    t = time.perf_counter()
    epoch(1)
    r["first_step_s"], r["wait_s"] = time.perf_counter() - t, process_age() - r["data_s"]
    epoch(4)
    pilot = []
    for _ in range(3):
        t = time.perf_counter()
        epoch(4)
        pilot.append(time.perf_counter() - t)
    r["steps"] = steps = pick_steps(a, len(y) // b, min(pilot) / 4)
    epoch(steps)  # warm-up epoch
    meter = Meter(a, steps)
    while True:
        epoch(steps)
        if meter.lap():
            break
    meter.put(r, "ms_step")
    return lambda: epoch(steps)


def predict(a, xs, r):
    import numpy as np

    x, b = xs[0], a.batch
    t = time.perf_counter()
    if a.backend == "onnxruntime":
        import onnxruntime as ort

        r["import_s"], r["rss_import_mb"] = time.perf_counter() - t, hwm_mb()
        t = time.perf_counter()
        o = ort.SessionOptions()
        if a.threads:
            o.intra_op_num_threads = a.threads
        sess = ort.InferenceSession(a.onnx, o, providers=["CPUExecutionProvider"])
        nm = sess.get_inputs()[0].name
        run = lambda: np.concatenate(
            [sess.run(None, {nm: x[i : i + b]})[0] for i in range(0, len(x), b)]
        )
    elif a.backend.startswith("torch-"):
        import torch

        r["import_s"], r["rss_import_mb"] = time.perf_counter() - t, hwm_mb()
        t = time.perf_counter()
        net = torch_model(a.model).eval()
        cl = a.model in CONV
        if cl and not a.no_channels_last:
            net = net.to(memory_format=torch.channels_last)
        f = torch.compile(net, dynamic=True) if a.backend == "torch-compile" else net
        X = torch.from_numpy(x).permute(0, 3, 1, 2) if cl else torch.from_numpy(x)

        def run():
            with torch.inference_mode():
                return torch.cat([f(X[i : i + b]).softmax(-1) for i in range(0, len(x), b)]).numpy()
    else:
        import_keras(a.backend)
        r["import_s"], r["rss_import_mb"] = time.perf_counter() - t, hwm_mb()
        t = time.perf_counter()
        model = keras_model(a.model)
        kw = {} if a.jit == "auto" else {"jit_compile": a.jit == "on"}
        model.compile(optimizer="adam", loss=MODELS[a.model]["loss"], **kw)
        run = lambda: model.predict(x, batch_size=b, verbose=0)
    out = run()
    r["first_predict_s"], r["wait_s"] = time.perf_counter() - t, process_age() - r["data_s"]
    assert out.shape[0] == len(x)
    run()
    meter = Meter(a, 1)
    while True:
        run()
        if meter.lap():
            break
    meter.put(r, "ms_10k")
    r["samples_s"] = len(x) / r["ms_10k"] * 1e3


def limits(a):
    """numpy sgemm 2048^3 GFLOP/s; copy bandwidth counted as bytes read + bytes written."""
    import concurrent.futures as cf

    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits

    rng, r = np.random.default_rng(0), {"what": "limits", "numpy": np.__version__}
    p, q, o = (rng.random((2048, 2048), dtype=np.float32) for _ in range(3))
    r["blas"] = [
        (i["internal_api"], i.get("version"), i.get("architecture")) for i in threadpool_info()
    ]
    big = [np.ones(32 << 20, np.float64) for _ in range(4)]  # 256 MiB each
    pool = cf.ThreadPoolExecutor(2)

    def best_and_median(fn, work):
        fn()
        m = Meter(a, 1)
        while True:
            fn()
            if m.lap():
                break
        c = m.clean() if len(m.clean()) >= 3 else m.ms
        rate = sorted(work / v / 1e6 for v in c)
        return {
            "median": round(statistics.median(rate), 1),
            "min": round(rate[0], 1),
            "max": round(rate[-1], 1),
            "n": len(rate),
            "clean": len(m.clean()),
        }

    for n in (1, 2):
        with threadpool_limits(n):
            r[f"sgemm_gflops_{n}t"] = best_and_median(lambda: np.matmul(p, q, out=o), 2 * 2048**3)

        def copy(n=n):
            for f in [pool.submit(np.copyto, big[2 * i], big[2 * i + 1]) for i in range(n)]:
                f.result()

        r[f"copy_gbs_{n}t"] = best_and_median(copy, n * 2 * big[0].nbytes)
    return r


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--backend",
        default="torch-native",
        choices=[
            "kcompile",
            "tensorflow",
            "jax",
            "torch",
            "torch-native",
            "torch-compile",
            "onnxruntime",
        ],
    )
    p.add_argument("--model", default="mlp", choices=list(MODELS))
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--steps", type=int, default=0, help="steps per timed epoch; 0 = fill --epoch-s")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--epoch-s", type=float, default=0.4)
    p.add_argument(
        "--cap-s", type=float, default=3.5, help="give up waiting for clean repeats after this long"
    )
    p.add_argument(
        "--samples", type=int, default=0, help="dataset size (default 6400; predict 10000)"
    )
    p.add_argument("--what", default="train", choices=["train", "predict", "limits", "flops"])
    p.add_argument("--jit", default="auto", choices=["auto", "on", "off"], help="keras jit_compile")
    p.add_argument(
        "--threads", type=int, default=0, help="torch-native/compile/onnxruntime intra-op threads"
    )
    p.add_argument(
        "--adam",
        default="fused",
        choices=["fused", "default"],
        help="torch-native optimizer kernel",
    )
    p.add_argument(
        "--tc",
        default="fwdbwd",
        choices=["whole", "parts", "fwdbwd"],
        help="what torch.compile wraps",
    )
    p.add_argument("--cpp-wrapper", action="store_true", help="inductor cpp_wrapper option")
    p.add_argument("--allow-rnn", action="store_true", help="let dynamo unroll nn.LSTM")
    p.add_argument("--no-channels-last", action="store_true")
    p.add_argument("--no-metrics", action="store_true", help="keras: do not track accuracy")
    p.add_argument("--onnx", default="", help="model file for onnxruntime")
    p.add_argument("--profile", default="", help="write a cProfile of one more epoch to this file")
    a = p.parse_args()
    if a.what == "limits":
        print(json.dumps(limits(a)))
        return
    if a.what == "flops":
        print(json.dumps({m: step_flops(m, 1) for m in MODELS}))
        return

    if a.backend in ("tensorflow", "jax", "torch"):
        os.environ["KERAS_BACKEND"] = a.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    t = time.perf_counter()
    n = a.samples or (
        10000
        if a.what == "predict"
        else min(MAX_SAMPLES, a.steps * a.batch)
        if a.steps
        else MAX_SAMPLES
    )
    xs, y = MODELS[a.model]["data"](np.random.default_rng(0), n)
    r = dict(
        what=a.what,
        backend=a.backend,
        model=a.model,
        batch=a.batch,
        jit=a.jit,
        data_s=time.perf_counter() - t,
    )
    for k in (
        "threads",
        "tc",
        "adam",
        "cpp_wrapper",
        "allow_rnn",
        "no_channels_last",
        "no_metrics",
    ):
        if getattr(a, k) != p.get_default(k):
            r[k] = getattr(a, k)
    again = None
    if a.what == "predict":
        predict(a, xs, r)
    else:
        again = (train_torch if a.backend.startswith("torch-") else train_keras)(a, xs, y, r)
        r["gflop_step"] = step_flops(a.model, a.batch) / 1e9
    r["rss_mb"] = hwm_mb()
    if a.profile and again:
        import cProfile

        pr = cProfile.Profile()
        pr.runcall(again)
        pr.dump_stats(a.profile)
    print(
        json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}),
        flush=True,
    )


if __name__ == "__main__":
    main()

"""A random model of blocks on a target beside its meaning: the changes of all weights in one step of SGD, and the losses.

Where float32 numbers differ by more than rounding should, the meaning in float64 decides, as for models beside Keras: the root mean
square error may be four times that of the meaning in float32. Refuses to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile
from tests.fuzz.blocks import draw
from tests.fuzz.compare import initial
from tests.fuzz.draw import numbered

Array = np.ndarray[Any, Any]


def step(seed: int, backend: str, dtype: str = "float32") -> dict[str, Array]:
    """The changes of the weights of model `seed`, numbered, in float64; its losses."""
    config = kcompile.config
    old = config.floatx(), config.dtype_policy()
    config.set_floatx(dtype)
    config.set_dtype_policy(dtype)
    try:
        kcompile.utils.set_random_seed(seed)
        model, inputs = draw(numbered(seed))
        weights = [
            a.astype(str(v.dtype))
            for a, v in zip(initial(model.weights, seed), model.weights, strict=True)
        ]
        model.set_weights(weights)
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(1, 6))
        real = lambda shape: rng.standard_normal((rows, *shape)).astype("f4").astype(dtype)
        x = [rng.integers(0, n, (rows, *s)).astype("i4") if n else real(s) for s, n in inputs]
        y = [real(o.shape[1:]) for o in model.outputs]
        model.compile(kcompile.optimizers.SGD(1.0), ["mse"] * len(y), backend=backend)
        found = model.train_on_batch(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])
    finally:
        config.set_floatx(old[0])
        config.set_dtype_policy(old[1])
    out = {
        f"{k} {v.name}": np.asarray(b, "f8") - a.astype("f8")
        for k, (v, a, b) in enumerate(zip(model.weights, weights, model.get_weights(), strict=True))
    }
    return out | {"loss": np.asarray(found, "f8").ravel()}


def check(seed: int, target: str) -> None:
    """Raises AssertionError where a step of model `seed` on the target is not its meaning."""
    want, got = step(seed, "reference"), step(seed, target)
    doubtful = [n for n in want if error(got[n], want[n], 1e-3) > 2e-5]
    if not doubtful:
        return
    exact = step(seed, "reference", "float64")
    most = max(float(np.abs(a).max(initial=1e-3)) for a in exact.values())
    for n in doubtful:
        if not np.isfinite(exact[n]).all():
            continue
        mine, other = error(got[n], exact[n], 1e-3), error(want[n], exact[n], 1e-3)
        assert mine <= 4 * other + 1e-5 or error(got[n], exact[n], most) < 5e-6, (
            f"model {seed} on {target}, {n}: error {mine:.3g}, that of its meaning {other:.3g}"
        )


def error(a: Array, truth: Array, least: float) -> float:
    """Root mean square difference, relative to the size of the truth, at least `least`."""
    if not np.isfinite(a[np.isfinite(truth)]).all():
        return float("inf")
    rms = lambda b: float(np.sqrt(np.mean(np.nan_to_num(b) ** 2))) if b.size else 0.0
    return rms(a - truth) / max(least, rms(truth))

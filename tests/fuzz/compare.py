"""A random model here beside real Keras: predictions, evaluation, steps of training, histories.

Where float32 numbers differ by more than rounding should, real Keras in float64 decides: the root mean
square error may be no more than twice that of Keras plus 1e-5 (of the size of the numbers). Refuses to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile
from tests.fuzz.closed_rows import replaced_scores
from tests.fuzz.models import Array, Model, inputs_of, labels_of


class Differs(AssertionError):
    """Numbers that are not those of Keras."""


class Refused(Exception):
    """Real Keras cannot run the model: there is nothing to compare with."""


def initial(weights: list[Any], seed: int) -> list[Array]:
    """Tame random values for weights, by shape; variances and the like stay positive."""
    rng = np.random.default_rng(seed)
    out = []
    for w in weights:
        a = rng.standard_normal(tuple(w.shape))
        a *= 0.5 / max(1.0, float(np.sqrt(np.prod(w.shape[:-1]) / 4)))
        if "variance" in w.path:
            a = np.abs(a) + 0.5
        if "gamma" in w.path or "scale" in w.path:
            a = a + 1
        out.append(a.astype("float32"))
    return out


def run(k: Any, m: Model, seed: int, dtype: str = "float32") -> dict[str, Any]:
    """All numbers of a model in `k`: what to compare, by name, in the order it is made."""
    rng = np.random.default_rng(seed)
    model = m.build(k)
    weights = initial(model.weights, seed)
    model.set_weights([w.astype(dtype) for w in weights])
    xs = inputs_of(m, rng, m.rows)
    shapes = [tuple(int(d) for d in t.shape[1:]) for t in model.outputs]
    ys = [labels_of(h.labels, s, rng, m.rows) for h, s in zip(m.heads, shapes, strict=True)]
    more: dict[str, Any] = {}
    if m.weighted:
        more["sample_weight"] = rng.random(m.rows).astype("float32") + 0.1
    if m.class_weight:
        classes = shapes[0][-1]
        more["class_weight"] = {i: float(v) for i, v in enumerate(rng.random(classes) + 0.2)}
    x: Any = xs if len(xs) > 1 else xs[0]
    y: Any = ys if len(ys) > 1 else ys[0]
    scored = {n: v for n, v in more.items() if n == "sample_weight"}
    out: dict[str, Any] = {}
    out["predict"] = model.predict(x, batch_size=m.batch, verbose=0)
    out["evaluate"] = model.evaluate(
        x, y, batch_size=m.batch, verbose=0, return_dict=True, **scored
    )
    for step in range(3):
        out[f"train{step}"] = model.train_on_batch(x, y, return_dict=True, **more)
    out["weights after 3 steps"] = numbers(model.get_weights())
    model.set_weights([w.astype(dtype) for w in weights])
    half = max(1, m.rows // 2)
    held: Any = (
        [a[:half] for a in xs] if len(xs) > 1 else x[:half],
        [a[:half] for a in ys] if len(ys) > 1 else y[:half],
    )
    history = model.fit(
        x, y, batch_size=m.batch, epochs=2, shuffle=False, verbose=0, validation_data=held,
        validation_batch_size=2, **more,
    ).history  # fmt: skip
    out["history"] = {n: np.asarray(v) for n, v in history.items()}
    out["weights after fit"] = numbers(model.get_weights())
    return out


def numbers(values: Any) -> list[Array]:
    return [np.array(v) for v in values]


def flat(found: dict[str, Any]) -> dict[str, Array]:
    """By name: one array each."""
    out: dict[str, Array] = {}
    for name, v in found.items():
        if isinstance(v, dict):
            out |= {f"{name}.{k}": np.asarray(a) for k, a in v.items()}
        elif isinstance(v, (list, tuple)):
            out |= {f"{name}[{i}]": np.asarray(a) for i, a in enumerate(v)}
        else:
            out[name] = np.asarray(v)
    return out


def renamed(found: dict[str, Array]) -> dict[str, Array]:
    """Automatic names count what a process made before: numbers at their ends say nothing."""
    return {f"{i}:{n.rstrip('0123456789_')}": v for i, (n, v) in enumerate(found.items())}


def check(keras: Any, m: Model, seed: int = 0) -> None:
    """Raises `Differs` where our numbers are not those of Keras."""
    try:
        with replaced_scores(keras):
            want = flat(run(keras, m, seed))
    except Exception as e:
        raise Refused(f"{type(e).__name__}: {e}") from e
    got = flat(run(kcompile, m, seed))
    if len(got) != len(want):
        raise Differs(
            f"only here {sorted(got.keys() - want.keys())}; only in Keras {sorted(want.keys() - got.keys())}"
        )
    doubtful = [
        i
        for i, (g, w) in enumerate(zip(got.values(), want.values(), strict=True))
        if not near(g, w)
    ]
    if not doubtful:
        return
    with replaced_scores(keras):
        truth = flat(in_double(keras, m, seed))
    problems = []
    names, ours = list(want), list(got.values())
    theirs, exact = list(want.values()), list(truth.values())
    for i in doubtful:
        g, w, t = ours[i], theirs[i], exact[i]
        if g.shape != w.shape:
            problems.append(f"{names[i]}: shape {g.shape}, not {w.shape}")
            continue
        mine, other = error(g, t), error(w, t)
        if not mine <= 2 * other + 1e-5:
            problems.append(
                f"{names[i]}: error {mine:.3g}, Keras's {other:.3g}\n  {head(g)}\n  {head(w)}\n  {head(t)}"
            )
    if problems:
        raise Differs("\n".join(problems[:6]))


def head(a: Array) -> str:
    return str(a.ravel()[:6])


def near(g: Array, w: Array) -> bool:
    if g.shape != w.shape:
        return False
    size = max(1e-3, float(np.nanmax(np.abs(w)))) if w.size else 1.0
    return bool(np.allclose(g, w, rtol=1e-4, atol=1e-5 * size, equal_nan=True))


def error(a: Array, truth: Array) -> float:
    """Root mean square difference, relative to the size of the truth."""
    ok = np.isfinite(truth)  # where Keras has no number there is nothing to hit
    if not ok.any():
        return 0.0
    if not np.isfinite(a[ok]).all():
        return float("inf")
    size = max(1.0, float(np.sqrt(np.mean(truth[ok].astype("f8") ** 2))))
    return float(np.sqrt(np.mean((a[ok].astype("f8") - truth[ok]) ** 2))) / size


def in_double(keras: Any, m: Model, seed: int) -> dict[str, Any]:
    """The numbers of Keras in float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # the policy in use stays when floatx changes
    try:
        for i in m.inputs:
            if i.dtype == "float32":
                i.dtype = "float64"
        return run(keras, m, seed, "float64")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        for i in m.inputs:
            if i.dtype == "float64":
                i.dtype = "float32"

"""Random numbers: seeds, generators, and draws that are the same operation traced and eager.

In a trace a draw is a counter-based IR operation keyed by (seed, stream, step): the seed and step
are states, every call site has its own stream. Outside, a NumPy generator keyed the same way.
Refuses to hold any layer or initializer.
"""

from __future__ import annotations

import math
import random as python_random
from typing import Any

import numpy as np

import kcompile.ops as ops
from ir.ops import add, full, random_bits, random_normal, random_uniform
from ir.types import NUMPY
from kcompile.dtypes import TO_IR, is_float, is_int, standardize_dtype
from kcompile.errors import KCTypeError, KCValueError
from kcompile.operation import run
from kcompile.tensor import Array, Tensor
from kcompile.variable import Variable, current_trace, unique_name


def make_default_seed() -> int:
    """A seed from Python's `random`, so that `random.seed` makes programs repeatable."""
    return python_random.randint(1, int(1e9))


class SeedGenerator:
    """A source of random numbers with a state: a seed and a step that counts draws or train steps.

    Args:
        seed: an int, or None for one from `make_default_seed`.

    Raises KCTypeError KC209 for a seed that is not an int.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any):
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise KCTypeError("KC209", f"seed={seed!r}", "a seed is an int or None", "pass an int")
        self._initial_seed = seed
        self.name = name or unique_name("seed_generator")
        self.seed = Variable(
            np.uint32((make_default_seed() if seed is None else int(seed)) & 0xFFFFFFFF),
            trainable=False, autocast=False, name=f"{self.name}_seed",
        )  # fmt: skip
        self.step = Variable(
            np.uint32(0), trainable=False, autocast=False, name=f"{self.name}_step"
        )

    @property
    def state(self) -> Array:
        """The seed and the step, as an array of two."""
        return np.array([self.seed.array, self.step.array], np.uint32).view(Array)

    def next(self, ordered: bool = True) -> np.ndarray[Any, Any]:
        """The state as Keras shows it, and one step further."""
        now = self.state.numpy().copy()
        self.step.array[...] += np.uint32(1)
        return now

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._initial_seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)


_shared: list[SeedGenerator] = []


def shared_generator() -> SeedGenerator:
    """The generator of every unseeded draw; its states are "random/seed" and "random/step"."""
    if not _shared:
        made = SeedGenerator(name="random")
        for v, path in ((made.seed, "random/seed"), (made.step, "random/step")):
            v._path = v._key = path
        _shared.append(made)
    return _shared[0]


def reseed(seed: int) -> None:
    """Start the shared generator anew (`set_random_seed`)."""
    made = shared_generator()
    made.seed.array[...] = np.uint32(seed & 0xFFFFFFFF)
    made.step.array[...] = 0


def _traced_key(seed: Any) -> tuple[Any, Any, int]:
    trace = current_trace()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return (
            full(value=int(seed) & 0xFFFFFFFF, shape=(), dtype="u32"),
            full(value=0, shape=(), dtype="u32"),
            0,
        )
    generator = _generator(seed)
    book = trace.notes.setdefault("streams", {})
    stream = book[generator] = book.get(generator, -1) + 1
    key, step = trace.initial(generator.seed), trace.initial(generator.step)
    if generator.step not in trace.updates and not trace.notes.get("abstract"):
        trace.updates[generator.step] = add(step, full(value=1, shape=(), dtype="u32"))
    return key, step, stream


def _generator(seed: Any) -> SeedGenerator:
    if seed is None:
        return shared_generator()
    if isinstance(seed, SeedGenerator):
        return seed
    raise KCTypeError(
        "KC209", f"seed={seed!r}", "a seed is an int, a SeedGenerator or None", "pass one of these"
    )


def _eager(seed: Any) -> np.random.Generator:
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.random.default_rng(np.random.SeedSequence([int(seed) & 0xFFFFFFFFFFFF]))
    a, b = _generator(seed).next()
    return np.random.default_rng(np.random.SeedSequence([int(a), int(b), 1]))


def _float(dtype: Any, what: str) -> str:
    name = standardize_dtype(dtype)
    if not is_float(name):
        raise KCValueError(
            "KC103",
            f"random.{what}(dtype={name!r})",
            "this draw gives floats",
            "use randint, or a float dtype",
        )
    return name


def _shape(shape: Any) -> tuple[Any, ...]:
    return tuple(int(d) if isinstance(d, np.integer) else d for d in shape)


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Floats in [minval, maxval)."""
    name = _float(dtype, "uniform")
    if current_trace() is None:
        draw = _eager(seed).random(_shape(shape), np.float32 if name != "float64" else np.float64)
        return (draw * (maxval - minval) + minval).astype(NUMPY[TO_IR[name]]).view(Array)
    key, step, stream = _traced_key(seed)
    x = ops.cast(Tensor(random_uniform(key, step, stream=stream, shape=_shape(shape))), name)
    return x if (minval, maxval) == (0.0, 1.0) else x * (maxval - minval) + minval


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed floats."""
    name = _float(dtype, "normal")
    if current_trace() is None:
        draw = _eager(seed).standard_normal(
            _shape(shape), np.float32 if name != "float64" else np.float64
        )
        return (draw * stddev + mean).astype(NUMPY[TO_IR[name]]).view(Array)
    key, step, stream = _traced_key(seed)
    x = ops.cast(Tensor(random_normal(key, step, stream=stream, shape=_shape(shape))), name)
    return x if (mean, stddev) == (0.0, 1.0) else x * stddev + mean


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normally distributed floats, none further than two standard deviations from the mean."""
    name = _float(dtype, "truncated_normal")
    if current_trace() is None:
        generator, shape = _eager(seed), _shape(shape)
        draw = generator.standard_normal(shape, np.float32)
        out = np.abs(draw) > 2
        while out.any():
            draw[out] = generator.standard_normal(int(out.sum()), np.float32)
            out = np.abs(draw) > 2
        return (draw * stddev + mean).astype(NUMPY[TO_IR[name]]).view(Array)
    edge = math.erf(math.sqrt(2.0))
    u = uniform(shape, -edge, edge, "float32", seed)
    x = ops.clip(ops.erfinv(u) * math.sqrt(2.0), -2.0, 2.0)
    return ops.cast(x * stddev + mean, name)


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Ints in [minval, maxval)."""
    name = standardize_dtype(dtype)
    if not is_int(name):
        raise KCValueError(
            "KC103",
            f"random.randint(dtype={name!r})",
            "randint gives ints",
            "use uniform, or an int dtype",
        )
    if current_trace() is None:
        return (
            np.asarray(_eager(seed).integers(minval, maxval, _shape(shape)))
            .astype(NUMPY[TO_IR[name]])
            .view(Array)
        )
    key, step, stream = _traced_key(seed)
    bits = Tensor(random_bits(key, step, stream=stream, shape=_shape(shape)))
    return ops.cast(ops.mod(bits, ops.cast(maxval - minval, "uint32")), name) + ops.cast(
        minval, name
    )


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Each element zero with probability `rate`, else scaled by 1 / (1 - rate).

    `noise_shape` (ints or None) is the shape of the mask, broadcast against `inputs`.
    """
    if not 0 <= rate <= 1:
        raise KCValueError(
            "KC209",
            f"dropout rate={rate!r}",
            "a rate is between 0 and 1",
            "pass a number in this range",
        )
    if current_trace() is None:
        return run(dropout, inputs, rate, noise_shape, seed)
    x = ops.convert_to_tensor(inputs)
    if rate == 0:
        return x
    if rate == 1:
        return ops.zeros_like(x)
    shape = (
        x.dims
        if noise_shape is None
        else tuple(d if n is None else n for n, d in zip(noise_shape, x.dims, strict=True))
    )
    keep = ops.greater_equal(uniform(shape, seed=seed, dtype="float32"), rate)
    return ops.where(keep, x * (1.0 / (1.0 - rate)), ops.zeros_like(x))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """`x` with its slices along `axis` in random order."""
    if current_trace() is None:
        return run(shuffle, x, axis, seed)
    x = ops.convert_to_tensor(x)
    return ops.take(x, ops.argsort(uniform((x.dims[axis],), seed=seed, dtype="float32")), axis=axis)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Samples of classes, [batch, num_samples], from unnormalised log-probabilities [batch, classes]."""
    if current_trace() is None:
        return run(categorical, logits, num_samples, dtype, seed)
    x = ops.cast(ops.convert_to_tensor(logits), "float32")
    n, c = x.dims
    u = ops.clip(uniform((n, num_samples, c), seed=seed, dtype="float32"), 1e-20, 1.0)
    return ops.cast(ops.argmax(ops.expand_dims(x, 1) - ops.log(-ops.log(u)), axis=-1), dtype)


def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Any:
    """Binomially distributed floats. Eager only."""
    return _numpy_draw(
        "binomial",
        shape,
        dtype,
        seed,
        np.asarray(counts).astype(np.int64),
        np.asarray(probabilities),
    )


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Beta distributed floats. Eager only."""
    return _numpy_draw("beta", shape, dtype, seed, np.asarray(alpha), np.asarray(beta))


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Gamma distributed floats of scale one. Eager only."""
    return _numpy_draw("standard_gamma", shape, dtype, seed, np.asarray(alpha))


def _numpy_draw(what: str, shape: Any, dtype: Any, seed: Any, *args: Any) -> Any:
    name = _float(dtype, what)
    if current_trace() is not None:
        raise KCTypeError(
            "KC106",
            f"random.{what} in a compiled step",
            "this draw runs on arrays only",
            "draw before the step, or use uniform",
        )
    return (
        np.asarray(getattr(_eager(seed), what)(*args, size=_shape(shape)))
        .astype(NUMPY[TO_IR[name]])
        .view(Array)
    )

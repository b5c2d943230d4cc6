"""Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC 2011), the numbers of Triton's `tl.rand`.

The key is (seed + stream * 0x9E3779B9, step), the counter the position: a mask is the same on every
target, after every resume, in any order of computation. Refuses to hold distributions other than
uniform and normal.
"""

from __future__ import annotations

import math

import numpy as np

from ir import dims
from ir.dims import DimLike
from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.create import full
from ir.ops.elementwise import cos, log, mul, neg, scale, sqrt, sub
from ir.ops.rules import Array, require
from ir.types import Type

Dims = tuple[DimLike, ...]

GOLDEN = 0x9E3779B9  # also what one stream adds to the seed
_WEYL = 0xBB67AE85
_A, _B = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(key: tuple[int, int], counters: Array) -> Array:
    """Four u32 words for each counter (c, 0, 0, 0): u32[n, 4]."""
    c0 = counters.astype(np.uint64)
    c1 = c2 = c3 = np.zeros_like(c0)
    k0, k1 = key
    for _ in range(10):
        a, b = _A * c0, _B * c2
        c0 = (b >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (a >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = b & _LOW, a & _LOW
        k0, k1 = (k0 + GOLDEN) & 0xFFFFFFFF, (k1 + _WEYL) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _bits(seed: Array, step: Array, stream: int, shape: tuple[int, ...]) -> Array:
    n = math.prod(shape)
    key = ((int(seed) + stream * GOLDEN) & 0xFFFFFFFF, int(step))
    return philox(key, np.arange((n + 3) // 4)).reshape(-1)[:n].reshape(shape)


def uniform_of_bits(bits: Array) -> Array:
    """f32 in [0, 1), rounded as Triton's `tl.uint_to_uniform_float` does."""
    signed = bits.view(np.int32)
    positive = np.where(signed < 0, -signed - 1, signed)
    return positive.astype(np.float32) * np.float32(4.6566127342e-10)


def _keyed(seed: Type, step: Type, stream: int, shape: Dims) -> Dims:
    scalar = Type("u32", ())
    require(
        seed is scalar and step is scalar,
        f"seed and step must be u32 scalars, not {seed} and {step}",
    )
    require(stream >= 0, f"stream {stream} must not be negative")
    return shape


_ATTRS = (Attr("stream", "int"), Attr("shape", "dims"))

random_bits: Op = op(
    "random_bits", "u32 words; element i is word i % 4 of counter i // 4.",
    arity=2, attrs=_ATTRS, type=lambda seed, step, stream, shape: Type("u32", _keyed(seed, step, stream, shape)),
    meaning=_bits, flops=lambda seed, step, stream, shape: dims.product(shape) * 25,
)  # fmt: skip

random_uniform: Op = op(
    "random_uniform", "f32 uniform in [0, 1), from the words of random_bits.",
    arity=2, attrs=_ATTRS, type=lambda seed, step, stream, shape: Type("f32", _keyed(seed, step, stream, shape)),
    meaning=lambda seed, step, stream, shape: uniform_of_bits(_bits(seed, step, stream, shape)),
    vjp=lambda ct, out, seed, step, stream, shape: (None, None),
    flops=lambda seed, step, stream, shape: dims.product(shape) * 28,
)  # fmt: skip


def _normal_body(seed: Value, step: Value, stream: int, shape: Dims) -> Value:
    # Box and Muller (1958) on two streams; 1 - u is never 0
    u = random_uniform(seed, step, stream=2 * stream, shape=shape)
    v = random_uniform(seed, step, stream=2 * stream + 1, shape=shape)
    one = full(value=1.0, shape=shape, dtype="f32")
    radius = sqrt(scale(neg(log(sub(one, u))), 2.0))
    out: Value = mul(radius, cos(scale(v, 2.0 * math.pi)))
    return out


random_normal: Op = op(
    "random_normal", "f32 of the standard normal distribution; takes streams 2 * stream and 2 * stream + 1.",
    arity=2, attrs=_ATTRS, type=lambda seed, step, stream, shape: Type("f32", _keyed(seed, step, stream, shape)),
    body=_normal_body, vjp=lambda ct, out, seed, step, stream, shape: (None, None),
)  # fmt: skip

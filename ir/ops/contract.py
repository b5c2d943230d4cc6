"""`contract`: matrix product, batched product and N-d convolution in each of its three directions.

One einsum-like op with windows, closed under its own gradient, so that a convolution, its input
gradient (the transposed convolution) and its weight gradient are one thing to every pass and target.
Refuses to hold traces and diagonals (a letter twice in one operand) and products of three.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ir import dims
from ir.dims import DimLike
from ir.graph import Value
from ir.op import Attr, Op, op
from ir.ops.movement import broadcast
from ir.ops.rules import Array, accumulator, number, require
from ir.types import Type

Dims = tuple[DimLike, ...]
PRECISIONS = ("ieee", "tf32", "bf16")


class Window(NamedTuple):
    """position[i] = stride * output[o] + dilation * tap[t] - low."""

    i: str
    o: str
    t: str
    stride: int
    dilation: int
    low: int


@lru_cache(maxsize=4096)
def letters(spec: str) -> tuple[str, str, str]:
    """The letters of the two operands and of the result. Raises IRError for an ill-formed spec."""
    sides = spec.split("->")
    operands = sides[0].split(",")
    require(len(sides) == 2 and len(operands) == 2, f"spec {spec!r} is not of the form 'ab,bc->ac'")
    x, y, r = operands[0], operands[1], sides[1]
    for part in (x, y, r):
        require(part.isalpha() or not part, f"{part!r} in spec {spec!r} must be letters")
        require(len(set(part)) == len(part), f"a letter occurs twice in {part!r} of spec {spec!r}")
    return x, y, r


def windows_of(spec: str, windows: Any) -> tuple[Window, ...]:
    """The windows as records. Raises IRError unless each has one letter in each of x, y and result."""
    found = []
    parts = letters(spec)
    for w in windows:
        require(len(w) == 6, f"a window is (i, o, t, stride, dilation, low), not {w}")
        win = Window(*w)
        homes = []
        for letter in win[:3]:
            home = [k for k, part in enumerate(parts) if letter in part]
            require(len(home) == 1, f"window letter {letter!r} must occur once in spec {spec!r}")
            homes += home
        require(
            sorted(homes) == [0, 1, 2],
            f"window {w} needs one letter in each operand and one in the result",
        )
        require(
            win.stride > 0 and win.dilation > 0, f"window {w} needs positive stride and dilation"
        )
        found.append(win)
    return tuple(found)


def extents(x: Type, y: Type, spec: str, windows: Any, out: Dims) -> dict[str, DimLike]:
    """The extent of every letter. Raises IRError where operands disagree."""
    lx, ly, lr = letters(spec)
    found: dict[str, DimLike] = {}
    for t, part in ((x, lx), (y, ly)):
        require(t.rank == len(part), f"{t} does not have the {len(part)} axes of {part!r}")
        for letter, d in zip(part, t.shape, strict=True):
            known = found.setdefault(letter, d)
            require(known == d, f"{letter!r} is both {known} and {d}")
    in_windows = {letter for w in windows_of(spec, windows) for letter in w[:3]}
    free = [letter for letter in lr if letter not in found]
    for letter in free:
        require(letter in in_windows, f"{letter!r} of the result is in no operand and no window")
    require(len(free) == len(out), f"`out` must give the extents of {free}, not {out}")
    found.update(zip(free, out, strict=True))
    return found


def _type(x: Type, y: Type, spec: str, windows: Any, out: Dims, precision: str) -> Type:
    require(
        x.dtype == y.dtype, f"operands must have one dtype, not {x.dtype} and {y.dtype}; cast first"
    )
    require(precision in PRECISIONS, f"precision must be one of {PRECISIONS}, not {precision!r}")
    found = extents(number(x), y, spec, windows, out)
    return x.with_shape(tuple(found[letter] for letter in letters(spec)[2]))


def _flops(x: Type, y: Type, spec: str, windows: Any, out: Dims, precision: str) -> DimLike:
    found = extents(x, y, spec, windows, out)
    for w in windows_of(spec, windows):
        del found[w.i]
    return 2 * dims.product(found.values())


def _without_lonely(x: Array, lx: str, others: str) -> tuple[Array, str]:
    """x summed over the letters that occur nowhere else."""
    lonely = tuple(k for k, c in enumerate(lx) if c not in others)
    if not lonely:
        return x, lx
    return x.sum(axis=lonely, dtype=x.dtype), "".join(c for c in lx if c in others)


def _product(x: Array, y: Array, lx: str, ly: str, lr: str) -> Array:
    """The contraction without windows, by one matmul (or one product, where nothing is summed)."""
    x, lx = _without_lonely(x, lx, ly + lr)
    y, ly = _without_lonely(y, ly, lx + lr)
    batch = [c for c in lr if c in lx and c in ly]
    summed = [c for c in lx if c in ly and c not in lr]
    rows = [c for c in lr if c not in ly]
    columns = [c for c in lr if c not in lx]
    size = dict(zip(lx + ly, x.shape + y.shape, strict=True))
    b, s, m, n = ([size[c] for c in group] for group in (batch, summed, rows, columns))
    left = x.transpose([lx.index(c) for c in batch + rows + summed])
    right = y.transpose([ly.index(c) for c in batch + summed + columns])
    if summed or not batch:
        left = left.reshape(*b, math.prod(m), math.prod(s))
        right = right.reshape(*b, math.prod(s), math.prod(n))
        flat = np.matmul(left, right).reshape((*b, *m, *n))
    else:
        flat = left.reshape((*b, *m, *[1] * len(n))) * right.reshape((*b, *[1] * len(m), *n))
    order = batch + rows + columns
    return np.asarray(flat.transpose([order.index(c) for c in lr]))


def reach(tap: int, window: Window, positions: int, outputs: int) -> tuple[slice, slice]:
    """For one tap: the input positions inside 0..positions-1, and the outputs that read them."""
    offset = window.dilation * tap - window.low
    first = max(0, -(offset // window.stride))
    stop = max(first, min(outputs, (positions - 1 - offset) // window.stride + 1))
    start = window.stride * first + offset
    return slice(start, start + window.stride * (stop - first), window.stride), slice(first, stop)


def _meaning(
    x: Array, y: Array, spec: str, windows: Any, out: tuple[int, ...], precision: str
) -> Array:
    lx, ly, lr = letters(spec)
    left, right = x.astype(accumulator(x), copy=False), y.astype(accumulator(y), copy=False)
    if not windows:
        return np.asarray(_product(left, right, lx, ly, lr), x.dtype)
    size = dict(zip(lx + ly, x.shape + y.shape, strict=True))
    size.update(zip([c for c in lr if c not in size], out, strict=True))
    wins = windows_of(spec, windows)
    result = np.zeros([size[c] for c in lr], left.dtype)
    # one plain contraction for each tap: there i and o are one letter, and t is fixed
    as_output = str.maketrans({w.i: w.o for w in wins} | {w.t: None for w in wins})
    plain = [part.translate(as_output) for part in (lx, ly, lr)]
    for taps in itertools.product(*(range(size[w.t]) for w in wins)):
        at: dict[str, int | slice] = {}
        for w, tap in zip(wins, taps, strict=True):
            at[w.i], at[w.o] = reach(tap, w, size[w.i], size[w.o])
            at[w.t] = tap
        a, b, place = (tuple(at.get(c, slice(None)) for c in part) for part in (lx, ly, lr))
        result[place] += _product(left[a], right[b], *plain)
    return np.asarray(result, x.dtype)


def _vjp(
    ct: Value, out: Value, x: Value, y: Value, spec: str, windows: Any, extent: Dims, precision: str
) -> tuple[Value, Value]:
    lx, ly, lr = letters(spec)
    in_windows = {letter for w in windows_of(spec, windows) for letter in w[:3]}

    def toward(v: Value, lv: str, spell: str, operands: tuple[Value, Value]) -> Value:
        kept = "".join(c for c in lv if c in spell or c in in_windows)
        free = tuple(d for c, d in zip(lv, v.shape, strict=True) if c in in_windows)
        g = contract(
            *operands, spec=f"{spell}->{kept}", windows=windows, out=free, precision=precision
        )
        if kept == lv:
            return g  # type: ignore[no-any-return]
        at = tuple(k for k, c in enumerate(lv) if c in kept)
        return broadcast(g, shape=v.shape, axes=at)  # type: ignore[no-any-return]

    return toward(x, lx, f"{lr},{ly}", (ct, y)), toward(y, ly, f"{lx},{lr}", (x, ct))


contract: Op = op(
    "contract",
    "The sum of products by `spec`; a window (i, o, t, stride, dilation, low) ties i = stride*o + dilation*t - low.",
    arity=2,
    attrs=(
        Attr("spec", "str"), Attr("windows", "nested", ()), Attr("out", "dims", ()),
        Attr("precision", "str", "ieee"),
    ),
    type=_type, meaning=_meaning, vjp=_vjp, flops=_flops,
)  # fmt: skip

"""Operands of elementwise calls in the form that NumPy's loops run fast on.

A short row that repeats (one number per channel) is laid out several times in a row, and a constant beside
`maximum` or `minimum` is an array: short inner loops and those of a constant take several times as long.
Refuses to hold what the calls compute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codegen.numpy.emit import Emitter
from codegen.numpy.views import NUMPY_NAMES, Const, Extra, Operand, Shaped, Slot

SHORT = 64  # elements: rows up to this length are laid out several times
ROW = 1024  # elements of the row that is laid out
LEAST = 4096  # elements of the result, below which nothing is gained
CONSTANT = 8192  # elements of an array in place of a constant, at most


def stretched(em: Emitter, ops: Sequence[Operand]) -> list[Operand]:
    """The operands with longer rows, where one is a short row for all. ops[0] is the result."""
    out = ops[0]
    if not isinstance(out, Shaped) or len(out.shape) < 2 or math.prod(out.shape) < LEAST:
        return list(ops)
    (m, n), lead = out.shape[-2:], out.shape[:-2]
    short = [o for o in ops[1:] if isinstance(o, Shaped) and _short(o, n)]
    times = max((k for k in range(2, ROW // n + 1) if m % k == 0), default=1)
    if not short or n > SHORT or times * n < 2 * SHORT:
        return list(ops)
    made: list[Operand] = []
    for o in ops:
        if isinstance(o, Shaped) and not _short(o, n):
            if o.shape != out.shape or o.strides[-2:] != (n, 1) or o.first or o.alternate:
                return list(ops)
            shape, strides = (*lead, m // times, times * n), (*o.strides[:-2], times * n, 1)
            made.append(o.reshaped(shape, strides))
        else:
            made.append(o)
    return [_laid(em, o, times) if isinstance(o, Shaped) and _short(o, n) else o for o in made]


def _short(o: Shaped, n: int) -> bool:
    return o.shape == (n,) and o.strides == (1,) and not o.first and not o.alternate


def _laid(em: Emitter, o: Shaped, times: int) -> Shaped:
    """The row `times` in a row, made before the loop where it does not change in it."""
    (n,) = o.shape
    dtype = o.dtype or o.slot.dtype
    slot = Slot(dtype, (times * n,))
    with em.ahead([o]):
        em.call("copyto({0}, {1})", [Shaped(slot, 0, (times, n), (n, 1)), o], [0])
    return Shaped(slot, 0, (times * n,), (1,))


def filled(ops: Sequence[Operand]) -> list[Operand]:
    """The operands with an array for each constant. ops[0] is the result."""
    out = ops[0]
    if not isinstance(out, Shaped) or not out.shape or math.prod(out.shape) < LEAST:
        return list(ops)
    if not any(isinstance(o, Const) for o in ops[1:]):
        return list(ops)
    n = out.shape[-1]
    if len(out.shape) == 1 and n > CONSTANT:
        rows = next((r for r in range(-(-n // CONSTANT), n // SHORT) if n % r == 0), 0)
        if not rows or any(isinstance(o, Shaped) and o.shape != out.shape for o in ops):
            return list(ops)
        ops = [
            o.reshaped((rows, n // rows), (n // rows * o.strides[0], o.strides[0]))
            if isinstance(o, Shaped)
            else o
            for o in ops
        ]
        n //= rows
    elif not SHORT <= n <= CONSTANT:
        return list(ops)
    return [
        Extra(f"full({n}, {o.value!r}, {NUMPY_NAMES[o.dtype]})") if isinstance(o, Const) else o
        for o in ops
    ]

"""Calls that the runtime's BLAS does better than NumPy's functions: they are bound to their arrays once.

`scaled_sums` finds y = y + a * x and y = y + a * (x - y) and makes each one call; `bind` says which calls are bound, when all is cut and
placed. Refuses to know which BLAS there is (`runtime.blas`).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from codegen.numpy.emit import Emitter
from codegen.numpy.views import Bound, Call, Const, Operand, Shaped, Slot

PACKED = 1_000_000  # multiply-adds of a product, from which BLAS first copies its operands
MIDDLE = 10_000_000  # and from which that does not matter: between them it may be cut
AXPY = "axpy({1}, {2}, {0})"
AXPBY = "axpby({1}, {2}, {3}, {0})"
LEAST = 0.05  # of a in y + a * (x - y): for less, rounding 1 - a would show in what y tends to


def scaled_sums(em: Emitter) -> None:
    """Two calls t = x * a, y = y + t become one, where t is read nowhere else and all lie flat in memory."""
    calls = em.calls
    uses: Counter[Slot] = Counter(
        s for c in calls for a in c.args if isinstance(a, Shaped) for s in a.slots
    )
    gone: set[Call] = set()
    for c, d in pairwise(calls):
        if c.loop is d.loop and c not in gone and _scaled(c, d, uses):
            gone.add(c)
    left = [c for c in calls if c not in gone]
    for c, d in pairwise(left):
        if c.loop is d.loop and _blended(c, d, uses):
            gone.add(c)
    if gone:
        _without(em, gone)


def _scaled(c: Call, d: Call, uses: Counter[Slot]) -> bool:
    """Make `d` one call for t = x * a, y = y + t, if that is what the two are."""
    if c.text != "multiply({1}, {2}, {0})" or d.text != "add({1}, {2}, {0})":
        return False
    (t, x, a), (out, y, z) = c.args, d.args
    if z != t and y == t:
        y, z = z, y
    if z != t or y != out or not _between(t, uses) or not _alike(x, out):
        return False
    assert isinstance(out, Shaped)
    if not _scalar(a, out):
        return False
    d.text, d.args, d.writes = AXPY, (out, x, a), (True, False, False)
    return True


def _blended(c: Call, d: Call, uses: Counter[Slot]) -> bool:
    """Make `d` one call for t = x - y, y = y + a * t, if that is what the two are: y = (1 - a) * y + a * x."""
    if c.text != "subtract({1}, {2}, {0})" or d.text != AXPY:
        return False
    (t, x, y), (out, z, a) = c.args, d.args
    if z != t or y != out or not _between(t, uses) or not _alike(x, out):
        return False
    if not isinstance(a, Const) or not LEAST <= a.value <= 1:
        return False
    d.text, d.args = AXPBY, (out, x, a, Const(1 - a.value, a.dtype))
    d.writes = (True, False, False, False)
    return True


def _between(t: Operand, uses: Counter[Slot]) -> bool:
    """Whether a result is for the next call alone."""
    return isinstance(t, Shaped) and t.slot.role == "temp" and uses[t.slot] == 2


def _alike(x: Operand, out: Operand) -> bool:
    """Whether two operands are runs of as many floats, in memory of their own, that move with the same loops or x with none."""
    if not (isinstance(x, Shaped) and isinstance(out, Shaped) and _flat(x) and _flat(out)):
        return False
    if x.shape != out.shape or x.slot is out.slot or x.slot.dtype != out.slot.dtype:
        return False
    return {lp for lp, _ in x.loops} in (set(), {lp for lp, _ in out.loops})


def _flat(a: Shaped) -> bool:
    """Whether an operand is one run of floats, the same run at each pass of its loops."""
    return (
        (a.dtype or a.slot.dtype) in ("f32", "f64")
        and len(a.shape) == 1
        and (a.strides == (1,) or a.shape == (1,))
        and a.first is None
        and a.alternate is None
    )


def _scalar(a: object, out: Shaped) -> bool:
    if isinstance(a, Const):
        return a.dtype == out.slot.dtype
    if not isinstance(a, Shaped) or a.loops or a.first or a.alternate or a.dtype:
        return False
    return not a.shape and a.slot.dtype == out.slot.dtype and a.slot is not out.slot


def _without(em: Emitter, gone: set[Call]) -> None:
    """Take calls away; loops know their first and last call."""
    new: list[Call] = []
    at: dict[int, int] = {}  # old places of calls: new ones
    for c in em.calls:
        at[c.at] = len(new)
        if c not in gone:
            new.append(c)
    for lp in em.all_loops:
        if lp.last >= lp.first:
            lp.first, lp.last = at[lp.first], at[lp.last]
    for k, c in enumerate(new):
        c.at = k
    em.calls = new


def bind(em: Emitter) -> None:
    """Say which calls are bound to their arrays."""
    for c in em.calls:
        c.bound = _bound(c)


def _bound(c: Call) -> Bound | None:
    if not c.args:
        return None
    out, *rest = c.args
    if c.text in (AXPY, AXPBY):
        args = [a for a in (*rest, out) if isinstance(a, Shaped | Const)]
        return Bound(c.text.split("(")[0], tuple(args))
    if not c.text.startswith("matmul("):
        return None
    left, right = rest
    whole = [a for a in (left, right, out) if isinstance(a, Shaped)]
    if len(whole) < 3 or any(len(a.shape) != 2 or a.slot.dtype != "f32" or a.dtype for a in whole):
        return None
    if any(a.loops or a.first or a.alternate for a in whole):
        return None
    size = whole[0].shape[0] * whole[0].shape[1] * whole[1].shape[1]
    return Bound("product", tuple(whole)) if PACKED < size <= MIDDLE else None

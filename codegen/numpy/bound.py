"""Calls that the runtime's BLAS does better than NumPy's functions: they are bound to their arrays once.

`scaled_sums` finds y = y + a * x in two calls and makes it one; `bind` says which calls are bound, when all is cut and
placed. Refuses to know which BLAS there is (`runtime.blas`).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from codegen.numpy.emit import Emitter
from codegen.numpy.views import Bound, Call, Const, Shaped, Slot

PACKED = 1_000_000  # multiply-adds of a product, from which BLAS first copies its operands
MIDDLE = 10_000_000  # and from which that does not matter: between them it may be cut
AXPY = "axpy({1}, {2}, {0})"


def scaled_sums(em: Emitter) -> None:
    """Two calls t = x * a, y = y + t become one, where t is read nowhere else and all lie flat in memory."""
    calls = em.calls
    uses: Counter[Slot] = Counter(
        s for c in calls for a in c.args if isinstance(a, Shaped) for s in a.slots
    )
    gone: set[Call] = set()
    for c, d in pairwise(calls):
        if c.loop is not d.loop or c.text != "multiply({1}, {2}, {0})" or c in gone:
            continue
        if d.text != "add({1}, {2}, {0})":
            continue
        (t, x, a), (out, y, z) = c.args, d.args
        if z != t and y == t:
            y, z = z, y
        if z != t or y != out or not isinstance(t, Shaped):
            continue
        if t.slot.role != "temp" or uses[t.slot] != 2:
            continue
        if not (isinstance(out, Shaped) and _flat(out) and isinstance(x, Shaped) and _flat(x)):
            continue
        if (
            x.shape != out.shape
            or x.slot is out.slot
            or x.slot.dtype != out.slot.dtype
            or not _scalar(a, out)
        ):
            continue
        if {lp for lp, _ in x.loops} not in (set(), {lp for lp, _ in out.loops}):
            continue
        gone.add(c)
        d.text, d.args, d.writes = AXPY, (out, x, a), (True, False, False)
    if gone:
        _without(em, gone)


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
    out, *rest = c.args
    if c.text == AXPY:
        x, a = rest
        assert isinstance(out, Shaped) and isinstance(x, Shaped) and isinstance(a, Shaped | Const)
        return Bound("axpy", (x, a, out))
    if not c.text.startswith("matmul("):
        return None
    left, right = rest
    args = [a for a in (left, right, out) if isinstance(a, Shaped)]
    if len(args) < 3 or any(len(a.shape) != 2 or a.slot.dtype != "f32" or a.dtype for a in args):
        return None
    if any(a.loops or a.first or a.alternate for a in args):
        return None
    size = args[0].shape[0] * args[0].shape[1] * args[1].shape[1]
    return Bound("product", tuple(args)) if PACKED < size <= MIDDLE else None

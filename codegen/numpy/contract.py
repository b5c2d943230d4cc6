"""Products of two operands by `matmul` into planned memory.

The axes fall into batch, rows, columns and summed. An operand whose strides merge is passed as a view,
transposed where that is what it is; another (a window over an image: im2col) is copied once into scratch. Where a
product has no matrix in it (depthwise), taps are taken one by one. Refuses to hold what makes the operands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from codegen.loops import Axis, E
from codegen.numpy.emit import Emitter
from codegen.numpy.views import Const, Extra, Shaped, Tile, View, contiguous, merged, spanned

RUN = 12  # elements: shorter runs in an im2col copy make the taps-first layout the better one
TAPS = 128  # at most so many taps one by one


def dot(em: Emitter, e: E, out: View, x: Tile, y: Tile, axes: Sequence[Axis]) -> None:
    """out = sum over e's axes of x * y. `axes`: those of the result, in its order."""
    over = [a for a in e.attr[1] if em.extent(a) > 1]
    x, y = (_solid(em, v, e, axes, over) for v in (x, y))
    if out.slot.dtype in ("f16",):
        _half(em, e, out, x, y, axes)
        return
    x = _reduced(em, x, [a for a in over if a not in y.strides])
    y = _reduced(em, y, [a for a in over if a not in x.strides])
    # an axis of the result that neither has repeats it; one of the sum that neither has cannot be
    over = [a for a in over if a in x.strides and a in y.strides]
    batch = [a for a in axes if a in x.strides and a in y.strides]
    rows = [a for a in axes if a in x.strides and a not in y.strides]
    cols = [a for a in axes if a in y.strides and a not in x.strides]
    if not over:
        em.map("multiply({1}, {2}, {0})", out, [x, y], axes)
        return
    size = _size(em, batch)
    if (
        size > 1
        and _size(em, rows) * _size(em, cols) * _size(em, over) <= 512 * size
        and _by_taps(em, out, x, y, axes, over, batch, rows, cols)
    ):
        return
    _matmul(em, out, x, y, axes, over, batch, rows, cols)


def _size(em: Emitter, axes: Sequence[Axis]) -> int:
    return math.prod(em.extent(a) for a in axes)


def _solid(em: Emitter, v: Tile, e: E, axes: Sequence[Axis], over: Sequence[Axis]) -> View:
    """An operand as memory: a constant becomes a filled scratch of no axes."""
    if isinstance(v, View):
        return v
    t = em.scratch([], e.dtype)
    em.copy(t, v, [])
    return t


def _reduced(em: Emitter, x: View, gone: Sequence[Axis]) -> View:
    """x summed over axes that only it has."""
    gone = [a for a in gone if a in x.strides]
    if not gone:
        return x
    kept = [a for a in x.strides if a not in gone]
    t = em.scratch(kept, x.slot.dtype)
    order = [*kept, *gone]
    dims = tuple(range(len(kept), len(order)))
    src, dst = spanned(x, order, em.extent), spanned(t, kept, em.extent)
    em.call(f"add.reduce({{1}}, {dims}, None, {{0}})", [dst, src], [0])
    return t


def _half(em: Emitter, e: E, out: View, x: View, y: View, axes: Sequence[Axis]) -> None:
    """f16 through f32: NumPy's own f16 product is a slow loop."""
    wide = []
    for v in (x, y):
        own = list(v.strides)
        t = em.scratch(own, "f32")
        em.copy(t, v, own)
        wide.append(t)
    r = em.scratch(axes, "f32")
    dot(em, e, r, wide[0], wide[1], axes)
    em.copy(out, r, axes)


def _by_taps(
    em: Emitter, out: View, x: View, y: View, axes: Sequence[Axis], over: list[Axis],
    batch: list[Axis], rows: list[Axis], cols: list[Axis],
) -> bool:  # fmt: skip
    """Products without a matrix: out += x at tap * y at tap, for a few taps. False where that does not pay."""
    taps = _size(em, over)
    vectors = _size(em, rows) == 1 or _size(em, cols) == 1
    if not vectors and _size(em, rows) * _size(em, cols) * taps > 4096:
        return False
    if taps <= TAPS and min(_size(em, rows), _size(em, cols)) <= 4:
        t = em.scratch(axes, out.slot.dtype)
        for k, (xk, yk) in enumerate(positions(em, over, [x, y])):
            em.map("multiply({1}, {2}, {0})", t if k else out, [xk, yk], axes)
            if k:
                em.map("add({0}, {1}, {0})", out, [t], axes)
        return True
    few = [*rows, *cols]
    if _size(em, few) <= TAPS:  # the weight gradient: a sum of products for each tap
        big = em.scratch([*over, *batch], out.slot.dtype)
        order = [*over, *batch]
        for xk, yk, ok in positions(em, few, [x, y, out]):
            em.map("multiply({1}, {2}, {0})", big, [xk, yk], order)
            sum_over(em, ok, big, batch, over)
        return True
    return False


def positions(em: Emitter, axes: Sequence[Axis], views: Sequence[View]) -> list[tuple[View, ...]]:
    """The views at each position of some axes."""
    found: list[tuple[View, ...]] = [tuple(views)]
    for a in axes:
        n = em.extent(a)
        found = [tuple(_fixed(v, a, k) for v in vs) for vs in found for k in range(n)]
    return found


def _fixed(v: View, a: Axis, k: int) -> View:
    if a not in v.strides:
        return v
    rest = {b: s for b, s in v.strides.items() if b is not a}
    first = _fixed(v.first, a, k) if v.first is not None else None
    return View(v.slot, v.offset + k * v.strides[a], rest, v.loops, v.alternate, first)


def sum_over(em: Emitter, out: View, x: View, kept: Sequence[Axis], over: Sequence[Axis]) -> None:
    """out = x summed over axes. `kept`: the other axes of x, in the order of out. f32 and f64 go through BLAS."""
    over = sorted((a for a in over if em.extent(a) > 1), key=lambda a: -abs(x.strides.get(a, 0)))
    kept = [a for a in kept if em.extent(a) > 1]
    if not over:
        em.copy(out, x, kept)
        return
    n = _size(em, over)
    if out.slot.dtype in ("f32", "f64") and x.slot.dtype == out.slot.dtype and kept:
        flat, dst = merged(x, [kept, over], em.extent), merged(out, [kept], em.extent)
        if flat is not None and dst is not None and dst.strides == (1,) and _blas(flat):
            ones = Extra(f"ones({n}, {_np(out.slot.dtype)})")
            em.call("matmul({1}, {2}, {0})", [dst, flat, ones], [0])
            return
    order = [*kept, *over]
    flat = merged(x, [*([a] for a in kept), over], em.extent)
    dims: tuple[int, ...] | int = len(kept)
    if flat is None:
        flat = spanned(x, order, em.extent)
        dims = tuple(range(len(kept), len(order)))
    dst = spanned(out, kept, em.extent)
    em.call(f"add.reduce({{1}}, {dims}, None, {{0}})", [dst, flat], [0])


def _np(dtype: str) -> str:
    return {"f32": "float32", "f64": "float64", "bf16": "float32"}[dtype]


def _blas(s: Shaped) -> bool:
    """Whether the last two dimensions are a matrix that BLAS takes as it is."""
    (m, n), (a, b) = s.shape[-2:], s.strides[-2:]
    a, b = (a if m > 1 else max(n * b, n), b if n > 1 else 1)
    return (b == 1 and a >= n) or (m > 1 and a == 1 and (b >= m or n == 1))


def _matmul(
    em: Emitter, out: View, x: View, y: View, axes: Sequence[Axis], over: list[Axis],
    batch: list[Axis], rows: list[Axis], cols: list[Axis],
) -> None:  # fmt: skip
    # the summed axes in the order of the operand that is memory as it stands
    plain = y if _is_plain(em, y) or not _is_plain(em, x) else x
    over = sorted(over, key=lambda a: -abs(plain.strides[a]))
    rows = sorted(rows, key=lambda a: -out.strides.get(a, 0))
    cols = sorted(cols, key=lambda a: -out.strides.get(a, 0))
    batch = sorted(batch, key=lambda a: -out.strides.get(a, 0))
    dst = _result(em, out, batch, rows, cols)
    if dst is not None:
        swap = dst[1]
        target, finish = dst[0], None
    else:
        t = em.scratch([*batch, *rows, *cols], out.slot.dtype)
        found = _result(em, t, batch, rows, cols)
        assert found is not None
        (target, swap), finish = found, t
    left = _operand(em, x, batch, rows, over)
    right = _operand(em, y, batch, over, cols)
    if swap:
        left, right = _t(right), _t(left)
    em.call("matmul({1}, {2}, {0})", [target, left, right], [0])
    if finish is not None:
        em.copy(out, finish, axes)


def _result(
    em: Emitter, out: View, batch: list[Axis], rows: list[Axis], cols: list[Axis]
) -> tuple[Shaped, bool] | None:
    """The result as [batch.., rows, cols], or as its transpose, whichever lies row-major in memory."""
    lead = [[a] for a in batch]
    straight = merged(out, [*lead, rows, cols], em.extent)
    if straight is not None and _row_major(straight):
        return straight, False
    turned = merged(out, [*lead, cols, rows], em.extent)
    if turned is not None and _row_major(turned):
        return turned, True
    return None


def _row_major(s: Shaped) -> bool:
    (m, n), (a, b) = s.shape[-2:], s.strides[-2:]
    return (n == 1 or b == 1) and (m == 1 or a >= n)


def _t(s: Shaped) -> Shaped:
    return s.reshaped(
        (*s.shape[:-2], s.shape[-1], s.shape[-2]), (*s.strides[:-2], s.strides[-1], s.strides[-2])
    )


def _is_plain(em: Emitter, v: View) -> bool:
    """Whether each element is at one place of memory: no window."""
    at = sorted(((abs(s), em.extent(a)) for a, s in v.strides.items()))
    return all(s2 >= s1 * n1 for (s1, n1), (s2, _) in pairwise(at))


def _operand(
    em: Emitter, v: View, batch: list[Axis], left: list[Axis], right: list[Axis]
) -> Shaped:
    """The operand as [batch.., left, right]: a view, or a copy in the order that copies well."""
    groups = [*([a] for a in batch), left, right]
    found = merged(v, groups, em.extent)
    if found is not None and _blas(found):
        return found
    # copies: the group whose last axis runs fastest in memory goes last, unless its runs are short
    fast = min((abs(s), a.name) for a, s in v.strides.items() if em.extent(a) > 1)[0]
    ends_right = bool(right) and any(abs(v.strides[a]) == fast for a in right)
    inner, outer = (right, left) if ends_right else (left, right)
    if _run(em, v, inner) < RUN and outer and em.extent(outer[-1]) > _run(em, v, inner):
        inner, outer = outer, inner
    t = em.scratch([*batch, *outer, *inner], v.slot.dtype)
    with em.ahead([v]):
        em.copy(t, v, [*batch, *outer, *inner])
    made = merged(t, groups, em.extent)
    assert made is not None
    return made


def _run(em: Emitter, v: View, axes: Sequence[Axis]) -> int:
    """How many elements lie side by side at the end of some axes."""
    n = 1
    for a in reversed(axes):
        if em.extent(a) == 1:
            continue
        if abs(v.strides[a]) != n:
            break
        n *= em.extent(a)
    return n


__all__ = ["dot", "sum_over", "contiguous", "Const"]

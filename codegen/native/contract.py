"""Matrix products in C: which axes are rows, columns, summed and batch, and the call for them.

Refuses windows (convolutions) and operands that are not memory; those go another way (`program`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region
from codegen.native.render import Kernel
from codegen.native.resolve import SMALL_DOT, Unprintable, flat_form

LARGE = 64_000_000  # operations from which NumPy's own call, which can use threads, is taken


def flops(region: Region) -> int:
    """Operations of the one product of a region."""
    e = region.stores[0].value
    return 2 * math.prod(a.size for a in {*e.args[0].axes, *e.args[1].axes})


def product(region: Region, places: Callable[[Buf], Any]) -> Kernel | None:
    """The function of a region that is one matrix product; None where it is not, or too small to be one.

    Raises Unprintable for a product this cannot say.
    """
    if len(region.stores) != 1 or region.stores[0].value.op != "dot":
        return None
    store = region.stores[0]
    e = store.value
    x, y = e.args
    if any(a.size == 0 for a in {*x.axes, *y.axes, *e.attr[1]}) or 0 in store.buf.shape:
        raise Unprintable("nothing to add")
    over = [a for a in e.attr[1] if a.size > 1]
    if e.dtype not in ("f32", "f64") or e.attr[0] not in ("ieee", None, ""):
        raise Unprintable(f"a product of {e.dtype}, {e.attr[0]}")
    if x.dtype != e.dtype or y.dtype != e.dtype or flops(region) > LARGE:
        raise Unprintable("a product for NumPy")
    small = math.prod(a.size for a in {*x.axes, *y.axes}) <= SMALL_DOT
    if not (_plain(x) and _plain(y)):
        return None
    fx, fy, fo = (
        flat_form(x.attr[0], x.attr[1]),
        flat_form(y.attr[0], y.attr[1]),
        flat_form(store.buf, store.idx),
    )
    sx, sy, so = dict(fx.terms), dict(fy.terms), dict(fo.terms)
    if any(len(i.terms) > 1 and not _split(i) for v in (x, y) for i in v.attr[1]):
        return None
    if any((a in sx) != (a in sy) for a in over) or any(a in so for a in over):
        return None
    if any(a not in sx and a not in sy for a in so) or any(
        a not in so and a not in over for a in {*sx, *sy}
    ):
        return None
    rows = _line([a for a in so if a in sx and a not in sy], [sx, so])
    cols = _line([a for a in so if a in sy and a not in sx], [sy, so])
    deep = _line(over, [sx, sy])
    batch = [a for a in so if a in sx and a in sy]
    if rows is None or cols is None or deep is None:
        if small:
            return None
        raise Unprintable("a product whose axes do not merge")
    (m, (xm, om)), (n, (yn, on)), (k, (xk, yk)) = rows, cols, deep
    names: list[Buf] = []
    keys: list[Any] = []

    def param(buf: Buf) -> int:
        key = (places(buf), buf.dtype)
        if key not in keys:
            keys.append(key)
            names.append(buf)
        return keys.index(key)

    px, py, po = param(x.attr[0]), param(y.attr[0]), param(store.buf)
    if po in (px, py):
        raise Unprintable("a product onto its own operand")
    body, depth = [], 1
    vars_ = {}
    for j, a in enumerate(batch):
        body.append("  " * depth + f"for (long i{j} = 0; i{j} < {a.size}; i{j}++)")
        vars_[a] = f"i{j}"
        depth += 1

    def at(p: int, const: int, steps: dict[Axis, int]) -> str:
        text = f"p{p} + {const}"
        for a in batch:
            text += f" + {steps[a]} * {vars_[a]}"
        return text

    left, right, out = at(px, fx.const, sx), at(py, fy.const, sy), at(po, fo.const, so)
    on, om = (1 if n == 1 else on), (1 if m == 1 else om)
    if (on != 1 and om == 1) or (n == 1 and m > 1 and om == 1):
        left, right, m, n, xm, xk, yk, yn, om = right, left, n, m, yn, yk, xk, xm, on
        on = 1
    if on != 1:
        if small:
            return None
        raise Unprintable("a product into columns apart")
    om = n if m == 1 else om
    body.append(
        "  " * depth
        + f"gemm_{e.dtype}(1, {m}, {n}, 1, {k}, {left}, 0, {xm}, 0, {xk}, {right}, 0, {yk}, {yn}, {out}, 0, {om});"
    )
    return Kernel(body, names, {po}, {"product": [m, n, k], "batch": [a.size for a in batch]})


def _plain(e: E) -> bool:
    return (
        e.op == "load"
        and not e.args
        and e.attr[2] is None
        and all(isinstance(i, Aff) for i in e.attr[1])
    )


def _split(i: Aff) -> bool:
    """Whether a form is the position along an axis that was split, not a window."""
    terms = sorted(i.terms, key=lambda t: t[1])
    step = terms[0][1]
    for a, c in terms:
        if c != step:
            return False
        step = c * a.size
    return True


def _line(
    axes: Sequence[Axis], forms: Sequence[dict[Axis, int]]
) -> tuple[int, tuple[int, ...]] | None:
    """The extent and the strides of axes taken as one; None where the strides forbid it."""
    real = sorted((a for a in axes if a.size > 1), key=lambda a: -abs(forms[0][a]))
    if not real:
        return 1, tuple(0 for _ in forms)
    for a, b in itertools.pairwise(real):
        if any(f[a] != f[b] * b.size for f in forms):
            return None
    return math.prod(a.size for a in real), tuple(f[real[-1]] for f in forms)

"""Regions as the Triton target wants them: products without a matrix in them are sums of products, sums of nothing constants.

A product of vectors (depthwise convolution, an outer product, a batch of one) fills no matrix unit; as a reduction
it gets the schedules of reductions. Refuses to choose schedules.
"""

from __future__ import annotations

from collections.abc import Mapping

from codegen.loops import Axis, E, Region, Store, union_axes
from codegen.triton.schedule import TAPS, reduced_over, size
from codegen.triton.unify import unified

FEW = 4  # rows or columns of one group that would leave most of a tile empty


def plain(region: Region) -> Region:
    """The region with such products and sums replaced, and its axes unified."""
    region = unified(region)
    nodes = region.nodes()
    kept = {e.args[0] for e in nodes if e.op == "fold"}
    known: dict[E, E] = {}
    for e in nodes:
        found = None
        if e.op in ("red", "dot", "scatter") and any(a.size == 0 for a in reduced_over(e)):
            unit = 1 if e.op == "red" and e.attr[0] == "prod" else 0
            found = E("const", (), (unit,), e.dtype, ())
        elif e.op == "dot" and any(a.size == 0 for x in e.args for a in x.axes):
            found = E("const", (), (0,), e.dtype, ())
        elif e.op == "dot" and e not in kept and (_thin(e) or e.dtype[0] in "iu"):
            found = _sum(e, known)
        elif e.op == "fold" and e.args[0].op == "dot" and _thin_fold(e):
            found = _narrow(_folded(e, known), e.dtype)
        if found is not None:
            known[e] = found
    return rebuilt(region, known) if known else region


def rebuilt(region: Region, known: Mapping[E, E]) -> Region:
    """The region with some expressions replaced."""
    done: dict[E, E] = dict(known)
    for e in region.nodes():
        if e not in done:
            args = tuple(done[a] for a in e.args)
            done[e] = e if args == e.args else E(e.op, args, e.attr, e.dtype, e.axes)
    stores = [Store(s.buf, s.idx, done[s.value]) for s in region.stores]
    return Region(stores, region.order)


def _thin(e: E) -> bool:
    """Whether a product has no more than vectors in it, or groups of a few rows or columns with few terms each."""
    x, y = e.args
    over: tuple[Axis, ...] = e.attr[1]
    rows = size(a for a in x.axes if a not in y.axes and a not in over)
    cols = size(a for a in y.axes if a not in x.axes and a not in over)
    groups = size(a for a in x.axes if a in y.axes and a not in over)
    few = groups > 1 and min(rows, cols) <= FEW and size(over) <= TAPS
    return size(over) == 1 or rows == 1 or cols == 1 or few


def _thin_fold(e: E) -> bool:
    """Whether the gradient of a window sums over nothing but its taps: that of a depthwise convolution."""
    x, y = e.args[0].args
    over: tuple[Axis, ...] = e.args[0].attr[1]
    moved = {a for w in e.attr for a in (w[1], w[2])}
    apart = [[a for a in p.axes if a not in q.axes and a not in moved] for p, q in ((x, y), (y, x))]
    return size(over) == 1 and min(size(side) for side in apart) == 1


def _folded(e: E, known: Mapping[E, E]) -> E:
    x = _wide(e.args[0], known)
    return E("fold", (x,), e.attr, x.dtype, e.axes)


def _sum(e: E, known: Mapping[E, E]) -> E:
    over: tuple[Axis, ...] = tuple(a for a in e.attr[1] if a.size > 1)
    out = _wide(e, known)
    if over:
        out = E("red", (out,), ("sum", over), out.dtype, union_axes((out,), over))
    return _narrow(out, e.dtype)


def _wide(e: E, known: Mapping[E, E]) -> E:
    """The products of which `e` is the sum, in the type that it is summed in."""
    args = [known.get(a, a) for a in e.args]
    wide = "f32" if e.dtype in ("f16", "bf16") else e.dtype
    if wide != e.dtype:
        args = [E("cast", (a,), (wide,), wide, a.axes) for a in args]
    return E("mul", tuple(args), (), wide, union_axes(args))


def _narrow(e: E, dtype: str) -> E:
    return e if e.dtype == dtype else E("cast", (e,), (dtype,), dtype, e.axes)

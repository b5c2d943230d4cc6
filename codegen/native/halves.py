"""Products and convolutions of halves as those of f32, rounded once: operands are widened where they are read.

Refuses to hold products (`contract`, `convolution`) and how a half is stored (`values`).
"""

from __future__ import annotations

from codegen.loops import Aff, Axis, E, Region, Store, axis_aff, load
from codegen.native.values import HALVES


def widened(region: Region) -> Region:
    """The region with no product of halves; itself where it has none."""
    if not any(e.op == "dot" and e.dtype in HALVES for e in region.nodes()):
        return region
    made: dict[E, E] = {}
    wide: dict[
        E, E
    ] = {}  # of products, and of windows over what they scatter, before they are rounded
    for e in region.nodes():
        args = tuple(made[a] for a in e.args)
        product = e.op == "dot" and e.dtype in HALVES
        if product or (e.op == "fold" and e.args[0] in wide):
            args = tuple(map(_wide, args)) if product else (wide[e.args[0]],)
            wide[e] = E(e.op, args, e.attr, "f32", e.axes)
            made[e] = E("cast", (wide[e],), (e.dtype,), e.dtype, e.axes)
        else:
            same = all(a is b for a, b in zip(args, e.args, strict=True))
            made[e] = e if same else E(e.op, args, e.attr, e.dtype, e.axes)
    stores = [Store(s.buf, s.idx, made[s.value]) for s in region.stores]
    return Region(stores, region.order)


def _wide(x: E) -> E:
    """An operand in f32, windows over it outside."""
    if x.op == "at":
        return E("at", (_wide(x.args[0]),), x.attr, "f32", x.axes)
    if x.op == "load" and not x.args and not all(map(_plain, x.attr[1])):
        buf, idx, fill = x.attr
        axes = [Axis("x", n) for n in buf.shape]
        whole = load(buf, tuple(map(axis_aff, axes)))
        env = tuple(zip(axes, idx, strict=True))
        return E("at", (_wide(whole),), (env, fill), "f32", x.axes)
    return E("cast", (x,), ("f32",), "f32", x.axes)


def _plain(f: Aff) -> bool:
    return len(f.terms) < 2 and not f.const and all(c == 1 for _, c in f.terms)

"""Rows added at computed indices (the gradient of an embedding) in C, in the order in which they come.

Refuses to hold anything else: a scatter stands alone in its region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from codegen.loops import Axis, Buf, Region
from codegen.native.apart import in_memory
from codegen.native.render import Kernel
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.values import HALVES, Aliased, counter


def scattered(region: Region, places: Callable[[Buf], Any]) -> Kernel | None:
    """The function of a region that is one scatter of memory at indices in memory; None where it is not."""
    if len(region.stores) != 1 or region.stores[0].value.op != "scatter":
        return None
    store = region.stores[0]
    e = store.value
    idx, x = e.args
    new, over, _ = e.attr
    if e.dtype in HALVES or not in_memory(idx) or not in_memory(x):
        raise Unprintable("a scatter of what is computed, or of halves")
    fi, fx = flat_form(idx.attr[0], idx.attr[1]), flat_form(x.attr[0], x.attr[1])
    fo = flat_form(store.buf, store.idx)
    step = dict(fo.terms).get(new, 0)
    kept = [a for a in e.axes if a is not new and a.size != 1]
    order = [a for a in over if a.size != 1]
    inner = dict(fx.terms)
    out = dict(fo.terms)
    last = next(
        (a for a in kept if inner.get(a) == 1 and out.get(a) == 1 and a not in idx.axes), None
    )
    loops = [*order, *(a for a in kept if a is not last)]
    names: dict[Axis, str] = {a: counter(k) for k, a in enumerate(loops)}
    bufs = [idx.attr[0], x.attr[0], store.buf]
    if places(store.buf) in (places(idx.attr[0]), places(x.attr[0])):
        raise Aliased

    def form(f: Any, skip: Axis | None) -> str:
        parts = [f"{c}L * {names[a]}" for a, c in f.terms if a in names and a is not skip]
        return " + ".join([*parts, str(f.const)])

    t = e.dtype
    body = [f"  memset(p2, 0, {math.prod(store.buf.shape)}L * sizeof(*p2));"]
    for k, a in enumerate(loops):
        body.append(
            "  " * (k + 1)
            + f"for (long {counter(k)} = 0; {counter(k)} < {a.size}; {counter(k)}++) {{"
        )
    pad = "  " * (len(loops) + 1)
    body.append(f"{pad}const {t} *from = p1 + {form(fx, None)};")
    body.append(
        f"{pad}{t} *to = p2 + {step}L * clip(p0[{form(fi, None)}], {new.size}) + {form(fo, new)};"
    )
    if last is None:
        body.append(f"{pad}*to += *from;")
    else:
        n = last.size
        body.append(f"{pad}for (long j = 0; j < {n}; j += W) {{")
        body.append(f"{pad}  int n = {n} - j < W ? {n} - j : W;")
        body.append(f"{pad}  st_{t}(to + j, ld_{t}(to + j, n) + ld_{t}(from + j, n), n);")
        body.append(f"{pad}}}")
    body += ["  " * (k + 1) + "}" for k in reversed(range(len(loops)))]
    return Kernel(body, bufs, {2}, {"loops": [a.size for a in loops]})

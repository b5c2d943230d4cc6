"""A region cut where one loop nest cannot hold it: each whole-array expression alone, over operands in memory.

For what takes its operands as memory (products, sorting, running sums, adding at indices) and for regions whose sums do not
fit one order of loops. Halves are added up in f32, as their meaning does. Refuses to print anything, and to lay out windows in memory
that are many times what they look at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from codegen.loops import Buf, E, Region, Store, axis_aff, load
from codegen.native.values import HALVES

WHOLE = frozenset({"dot", "scatter", "cum", "sort", "argsort"})
CUT = WHOLE | {"red", "argred", "first", "fold"}
ADDED = frozenset({"dot", "scatter"})  # whose partial sums must not be halves
WINDOWS = 1 << 20  # elements of a product's operand that are laid out for it


def in_memory(e: E) -> bool:
    """Whether an expression is memory as it is, at affine positions."""
    return e.op == "load" and not e.args and e.attr[2] is None


def apart(region: Region, fresh: Callable[[Sequence[int], str], Buf]) -> list[Region]:
    """The regions, in order; none where nothing can be cut. `fresh`: new memory of a shape and dtype."""
    nodes = region.nodes()
    if not any(_apart(e) for e in nodes) or any(_too_wide(e) for e in nodes):
        return []
    out: list[Region] = []
    done: dict[E, E] = {}
    uses = Counter(a for e in nodes for a in e.args) + Counter(s.value for s in region.stores)
    results = {s.value: s for s in region.stores}
    stores = list(region.stores)

    def kept(e: E) -> E:
        """The value of `e`, computed into memory."""
        axes = tuple(a for a in e.axes if a.size != 1)
        place = tuple(axis_aff(a) for a in axes)
        buf = fresh([a.size for a in axes], e.dtype)
        out.append(Region([Store(buf, place, e)], axes))
        return load(buf, place)

    def operand(e: E, dtype: str) -> E:
        if e.dtype != dtype:
            e = E("cast", (e,), (dtype,), dtype, e.axes)
        return e if in_memory(e) else kept(e)

    def result(e: E, old: E) -> E:
        """`e` in memory: in that of the store it is for, where it is only stored."""
        s = results.get(old)
        if s is None or uses[old] > 1 or s.buf.dtype != e.dtype:
            return kept(e)
        stores.remove(s)
        out.append(Region([Store(s.buf, s.idx, e)], region.order))
        return e

    def made(e: E) -> E:
        args = tuple(done[a] for a in e.args)
        if e.op in WHOLE:
            half = e.dtype in HALVES and e.op in ADDED
            wide = "f32" if half else e.dtype
            args = tuple(operand(a, wide if half and a.dtype == e.dtype else a.dtype) for a in args)
            value = result(E(e.op, args, e.attr, wide, e.axes), e)
            return E("cast", (value,), (e.dtype,), e.dtype, e.axes) if half else value
        if e.op == "random":
            args = tuple(operand(a, a.dtype) for a in args)
        new = e if args == e.args else E(e.op, args, e.attr, e.dtype, e.axes)
        return result(new, e) if e.op in CUT else new

    for e in nodes:
        done[e] = made(e)
    if stores:
        late = [Store(s.buf, s.idx, done[s.value]) for s in stores]
        out.append(Region(late, region.order))
    return out if len(region.stores) > 1 or len(out) > 1 else []


def _apart(e: E) -> bool:
    return e.op in CUT or e.op == "random"


def _too_wide(e: E) -> bool:
    """Whether an operand of a product is windows that take too much room."""
    return e.op == "dot" and any(
        not in_memory(x) and math.prod(a.size for a in x.axes) > WINDOWS and e.dtype not in HALVES
        for x in e.args
    )

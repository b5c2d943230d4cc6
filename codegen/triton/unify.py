"""One axis for what is walked twice: `x - max(x)` reads x along two axes, which are made one.

An input has axes of its own for each use; where a use is reduced away and the other is not, a kernel would take the reduction
anew for each position. Renaming a bound axis is safe wherever no expression sees both. Refuses all else.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from codegen.loops import Aff, Axis, E, Region, Store


def unified(region: Region) -> Region:
    """The region with axes merged that index one buffer alike."""
    while True:
        pair = _pair(region)
        if pair is None:
            return region
        region = _renamed(region, *pair)


def _pair(region: Region) -> tuple[Axis, Axis] | None:
    """Two axes of which one may take the other's place: (old, new)."""
    nodes = region.nodes()
    by_buf: dict[Any, list[tuple[Aff, ...]]] = {}
    for e in nodes:
        if e.op == "load" and not e.args and all(isinstance(i, Aff) for i in e.attr[1]):
            known = by_buf.setdefault(e.attr[0], [])
            if not any(same_place(k, e.attr[1]) for k in known):
                known.append(e.attr[1])
    tried: set[tuple[Axis, Axis]] = set()
    for uses in by_buf.values():
        for p, q in combinations(uses, 2):
            for i, j in zip(p, q, strict=True):
                if len(i.terms) != len(j.terms) or i.const != j.const:
                    continue
                for (a, c), (b, d) in zip(i.terms, j.terms, strict=True):
                    if a is b or c != d or a.size != b.size or (a, b) in tried:
                        continue
                    tried.add((a, b))
                    if not any(_sees(e, a) and _sees(e, b) for e in nodes) and not any(
                        _sees_store(s, a) and _sees_store(s, b) for s in region.stores
                    ):
                        return a, b
    return None


def same_place(p: tuple[Aff, ...], q: tuple[Aff, ...]) -> bool:
    """Whether two indices are the same forms of the same axes."""
    return [(i.terms, i.const) for i in p] == [(i.terms, i.const) for i in q]


def _sees(e: E, a: Axis) -> bool:
    return a in e.axes or any(a in x.axes for x in e.args) or _mentions(e.attr, a)


def _sees_store(s: Store, a: Axis) -> bool:
    return _mentions(s.idx, a) or a in s.value.axes


def _mentions(x: Any, a: Axis) -> bool:
    if isinstance(x, Aff):
        return any(b is a for b, _ in x.terms)
    return any(_mentions(y, a) for y in x) if isinstance(x, tuple) else x is a


def _swap(x: Any, a: Axis, b: Axis) -> Any:
    if isinstance(x, Aff):
        return Aff(((b if t is a else t, c) for t, c in x.terms), x.const)
    if isinstance(x, tuple):
        return tuple(_swap(y, a, b) for y in x)
    return b if x is a else x


def _renamed(region: Region, a: Axis, b: Axis) -> Region:
    done: dict[E, E] = {}
    for e in region.nodes():
        args = tuple(done[x] for x in e.args)
        if args != e.args or _sees(e, a):
            done[e] = E(e.op, args, _swap(e.attr, a, b), e.dtype, _swap(e.axes, a, b))
        else:
            done[e] = e
    stores = [Store(s.buf, _swap(s.idx, a, b), done[s.value]) for s in region.stores]
    return Region(stores, tuple(dict.fromkeys(_swap(region.order, a, b))))

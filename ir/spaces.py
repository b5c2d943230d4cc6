"""Iteration spaces: which axes of which values are one and the same.

`labels` says for each op which of its operands' and results' axes correspond; `Spaces` ties them
together, splitting extents where a reshape does, and can take a step back. Fusion asks it whether
nodes share an iteration space; code generation reads the axes off it. Refuses to hold what an op computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ir.graph import Node, Value
from ir.ops.contract import letters

Labels: TypeAlias = "list[list[Any]]"


class Extent:
    """One axis of one value, or a factor of it. `link`: what it was tied to. `parts`: its factors."""

    __slots__ = ("size", "link", "parts", "solid")

    def __init__(self, size: Any):
        self.size = size
        self.link: Extent | None = None
        self.parts: list[Extent] | None = None
        self.solid = False  # must not be split: something indexes it

    def __repr__(self) -> str:
        return f"<{self.size}>"


def free_of_axes(v: Value) -> bool:
    """Whether `v` is one constant, the same all over: each reader may see it along axes of its own."""
    return v.node is not None and v.node.op.name in ("full", "size")


class Mismatch(Exception):
    """Two axes that cannot be one."""


class Spaces:
    """The extents of values, tied to one another. `undo(mark)` takes back what was tied since `mark()`."""

    __slots__ = ("of", "log")

    def __init__(self) -> None:
        self.of: dict[Value, list[Extent]] = {}
        self.log: list[tuple[Extent, str, Any]] = []

    def dims(self, v: Value) -> list[Extent]:
        """The extents of `v`, one per axis."""
        found = self.of.get(v)
        if found is None:
            found = self.of[v] = [Extent(d) for d in v.shape]
        return found

    def mark(self) -> int:
        return len(self.log)

    def undo(self, mark: int) -> None:
        while len(self.log) > mark:
            e, name, old = self.log.pop()
            setattr(e, name, old)

    def _set(self, e: Extent, name: str, value: Any) -> None:
        self.log.append((e, name, getattr(e, name)))
        setattr(e, name, value)

    def find(self, e: Extent) -> Extent:
        while e.link is not None:
            e = e.link
        return e

    def leaves(self, e: Extent) -> list[Extent]:
        """The factors of an extent, the most significant first; those of size 1 are left out."""
        e = self.find(e)
        if e.parts is not None:
            return [leaf for p in e.parts for leaf in self.leaves(p)]
        return [] if e.size == 1 else [e]

    def unify(self, a: Extent, b: Extent) -> None:
        """Make two extents one. Raises Mismatch."""
        a, b = self.find(a), self.find(b)
        if a is b:
            return
        if a.size != b.size:
            raise Mismatch(f"{a.size} and {b.size}")
        if a.parts is not None and b.parts is not None:
            self.match(self.leaves(a), self.leaves(b))
            return
        if a.parts is not None:
            a, b = b, a
        if a.solid:
            if b.parts is not None:
                raise Mismatch("an indexed axis cannot be split")
            self._set(b, "solid", True)
        self._set(a, "link", b)

    def match(self, left: Sequence[Extent], right: Sequence[Extent]) -> None:
        """Make two lists of leaves, in row-major order, one sequence. Raises Mismatch."""
        xs, ys = list(reversed(left)), list(reversed(right))
        while xs and ys:
            x, y = self.find(xs.pop()), self.find(ys.pop())
            if x.parts is not None:
                xs.extend(reversed(self.leaves(x)))
                ys.append(y)
                continue
            if y.parts is not None:
                ys.extend(reversed(self.leaves(y)))
                xs.append(x)
                continue
            if x is y:
                continue
            if x.size == y.size:
                self.unify(x, y)
                continue
            if not (isinstance(x.size, int) and isinstance(y.size, int)):
                raise Mismatch(f"{x.size} and {y.size}")
            if x.size < y.size:
                x, y, xs, ys = y, x, ys, xs
            if x.size % y.size or x.solid:
                raise Mismatch(f"{x.size} does not split by {y.size}")
            rest = Extent(x.size // y.size)
            self._set(x, "parts", [y, rest])
            xs.append(rest)
        if xs or ys:
            raise Mismatch("sizes differ")

    def solid(self, e: Extent) -> None:
        """Forbid that `e` is split. Raises Mismatch when it is already."""
        e = self.find(e)
        if e.parts is not None:
            raise Mismatch("an indexed axis is split")
        if not e.solid:
            self._set(e, "solid", True)

    def tie(self, node: Node, inputs: Sequence[list[Extent]]) -> None:
        """Tie the extents of a node's operands (given) and results as its op says. Raises Mismatch."""
        outs = [self.dims(v) for v in node.outs]
        if node.op.name == "reshape":
            left = [leaf for e in inputs[0] for leaf in self.leaves(e)]
            self.match(left, [leaf for e in outs[0] for leaf in self.leaves(e)])
            return
        ins, results, solid = labels(node)
        first: dict[Any, Extent] = {}
        for names, extents in zip([*ins, *results], [*inputs, *outs], strict=True):
            for name, e in zip(names, extents, strict=True):
                if name in first:
                    self.unify(first[name], e)
                else:
                    first[name] = e
        for name in solid:
            self.solid(first[name])

    def distinct(self, v: Value) -> bool:
        """Whether no two axes of `v` have become one (a diagonal)."""
        seen = [leaf for e in self.dims(v) for leaf in self.leaves(e)]
        return len(seen) == len(set(seen))

    def apart(self, node: Node, inputs: Sequence[Sequence[Extent]]) -> bool:
        """Whether the axes that a node tells apart are several still: those of each operand (given),
        and of a contraction or an indexing all; there a window's input and output may be one."""
        for extents in inputs:
            if len(extents) > 1:
                seen = [leaf for e in extents for leaf in self.leaves(e)]
                if len(seen) != len(set(seen)):
                    return False
        if node.op.name not in _APART:
            return True
        ins, results, _ = labels(node)
        outs = [self.dims(v) for v in node.outs]
        first: dict[Any, Extent] = {}
        for names, extents in zip([*ins, *results], [*inputs, *outs], strict=True):
            for name, e in zip(names, extents, strict=True):
                first.setdefault(name, e)
        one = {w[1]: w[0] for w in node.attrs[1]} if node.op.name == "contract" else {}
        owner: dict[Extent, Any] = {}
        for name, e in first.items():
            for leaf in self.leaves(e):
                if owner.setdefault(leaf, one.get(name, name)) != one.get(name, name):
                    return False
        return True


_APART = frozenset({"contract", "gather", "take_along", "scatter_add", "scatter_along"})


def labels(node: Node) -> tuple[Labels, Labels, list[Any]]:
    """Names of the axes of operands and results, equal where they are one axis; and those that are
    indexed or walked along, which must not be split. For every primitive but reshape and scan."""
    op = node.op.name
    ranks = [v.type.rank for v in node.inputs]
    n = len(node.outs[0].shape)
    out: list[Any] = list(range(n))
    if op in ("full", "random_bits", "random_uniform", "size"):
        return [[] for _ in ranks], [out], []
    if op == "iota":
        return [], [out], []
    if op == "broadcast":
        return [list(node.attrs[1])], [out], []
    if op == "transpose":
        perm = node.attrs[0]
        return [[perm.index(i) for i in range(n)]], [out], []
    if op in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"):
        single = op in ("argmax", "argmin")
        axes = (node.attrs[0],) if single else node.attrs[0]
        src = list(range(ranks[0]))
        kept: list[Any] = [i for i in src if i not in axes]
        return [src], [kept], []
    if op in ("cumsum", "cumprod", "sort", "argsort"):
        return [out], [out], [node.attrs[0]]
    if op == "flip":
        return [[("x", i) if i in node.attrs[0] else i for i in out]], [out], _both(node.attrs[0])
    if op == "slice":
        start, stop, step = node.attrs
        shape = node.inputs[0].shape
        cut = [i for i in out if start[i] != 0 or stop[i] != shape[i] or step[i] != 1]
        return [[("x", i) if i in cut else i for i in out]], [out], _both(cut)
    if op == "pad":
        low, high, interior = node.attrs[:3]
        cut = [i for i in out if low[i] != 0 or high[i] != 0 or interior[i] != 0]
        return [[("x", i) if i in cut else i for i in out]], [out], _both(cut)
    if op == "concat":
        a = node.attrs[0]
        ins: Labels = [[("x", k) if i == a else i for i in out] for k in range(len(ranks))]
        return ins, [out], [a, *(("x", k) for k in range(len(ranks)))]
    if op == "contract":
        lx, ly, lr = letters(node.attrs[0])
        return [list(lx), list(ly)], [list(lr)], [c for w in node.attrs[1] for c in w[:3]]
    if op in ("unfold", "fold"):
        cut = [w[0] for w in node.attrs[0]]
        m = len(cut)
        wide: list[Any] = [*range(min(n, ranks[0])), *(("t", k) for k in range(m))]
        narrow: list[Any] = [("x", i) if i in cut else i for i in range(min(n, ranks[0]))]
        solid = [*_both(cut), *(("t", k) for k in range(m))]
        return ([narrow], [wide], solid) if op == "unfold" else ([wide], [narrow], solid)
    if op in ("gather", "scatter_add"):
        a = node.attrs[0]
        idx: list[Any] = [("i", k) for k in range(ranks[1] if op == "gather" else ranks[0])]
        whole = ranks[0] if op == "gather" else n
        table: list[Any] = list(range(whole))
        rows = [*table[:a], *idx, *table[a + 1 :]]
        return ([table, idx], [rows], [a]) if op == "gather" else ([idx, rows], [table], [a])
    if op in ("take_along", "scatter_along"):
        a = node.attrs[0]
        table = [("x", i) if i == a else i for i in out]
        return (
            ([table, out], [out], _both([a]))
            if op == "take_along"
            else ([table, table], [out], _both([a]))
        )
    return [out for _ in ranks], [out], []


def _both(axes: Sequence[int]) -> list[Any]:
    return [x for i in axes for x in (i, ("x", i))]

"""What a region is made of besides loops: atoms, which are products and convolutions, and how their results lie in it.

An atom says how it is cut into blocks and prints the lines of one; `blocks` makes functions of them. Refuses to hold any atom
(`contract`, `convolution`) and what a function does around one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codegen.loops import Aff, Axis, Buf, E, Region, Store
from codegen.native.resolve import flat_form
from codegen.native.values import Frame, Span


@dataclass(frozen=True)
class Cut:
    """An axis in parts of `size` positions, the last one maybe smaller."""

    axis: Axis
    size: int

    @property
    def parts(self) -> int:
        return -(-self.axis.size // self.size)


class Atom(Protocol):
    """A product (or convolution): the expression it computes, and the expressions that it reads from memory."""

    e: E
    operands: tuple[E, ...]
    kind: str  # of `ways`

    @property
    def flops(self) -> int: ...

    def over(self, operands: Sequence[E]) -> E:
        """The expression over loads in place of `self.operands`."""

    def order(self, stored: Sequence[Axis]) -> list[Axis]:
        """The axes of the result as they shall lie in memory, outermost first; `stored`: as the region would like them."""

    def cuts(self, order: Sequence[Axis], legal: Callable[[Axis], bool]) -> list[Cut]:
        """The blocks: axes of the result that are `legal` to cut, outermost first; none where all of it is one block."""

    def lines(
        self,
        frame: Frame,
        operands: Sequence[E],
        out: str,
        steps: Mapping[Axis, int],
        spans: Mapping[Axis, Span],
    ) -> list[str]:
        """The C lines that set one block: `spans` says which part of the cut axes. operands: loads in place of `self.operands`;
        out: the pointer to the element at position 0 of every axis; steps: the elements from one position of an axis to the next.
        Raises Unprintable."""


class Host(Protocol):
    """What the writer of a program offers: memory for values between kernels, and what memory a buffer is."""

    def place_key(self, buf: Buf) -> Any: ...

    def fresh(self, shape: Sequence[int], dtype: str) -> Buf: ...

    def scratch(self, n: int) -> Buf: ...


Maker = Callable[[E], "Atom | None"]


def is_memory(e: E) -> bool:
    """Whether a value is an array as it stands."""
    return (
        e.op == "load"
        and not e.args
        and e.attr[2] is None
        and all(isinstance(i, Aff) for i in e.attr[1])
    )


def fits(region: Region, host: Host, s: Store, e: E, own: Sequence[Axis]) -> bool:
    """Whether a store is of the value `e` and lies as that shall, in memory that the region does not read."""
    form = flat_form(s.buf, s.idx)
    if s.value is not e or s.buf.dtype != e.dtype or by_step(form) != list(own):
        return False
    if own and dict(form.terms)[own[-1]] != 1:
        return False
    read = (x.attr[0] for x in region.nodes() if x.op == "load")
    return host.place_key(s.buf) not in map(host.place_key, read)


def atoms_of(region: Region, maker: Maker) -> dict[E, Atom]:
    """The products of a region, those that others read first."""
    found: dict[E, Atom] = {}
    seen: set[E] = set()

    def visit(e: E) -> None:
        if e in seen:
            return
        seen.add(e)
        atom = maker(e)
        for x in e.args if atom is None else atom.operands:
            visit(x)
        if atom is not None:
            found[e] = atom

    for s in region.stores:
        visit(s.value)
    return found


def by_step(form: Aff) -> list[Axis]:
    return [a for a, _ in sorted(form.terms, key=lambda t: -abs(t[1]))]


def stored_order(region: Region, e: E) -> list[Axis]:
    """The axes of a value in the order of the store that has most of them, or of an array read beside it."""
    own = set(e.axes)
    forms = [(s.value is e, flat_form(s.buf, s.idx), True, math.prod(s.buf.shape)) for s in region.stores]  # fmt: skip
    forms += [(False, flat_form(x.attr[0], x.attr[1]), False, 0) for x in region.nodes() if is_memory(x)]  # fmt: skip
    best = max(forms, key=lambda f: (f[0], len(own & {a for a, _ in f[1].terms}), *f[2:]))[1]
    return [a for a in by_step(best) if a in own]


def given(region: Region, old: E, new: E) -> Region:
    """The region with another expression in the place of one of its own."""
    memo: dict[E, E] = {old: new}
    for e in region.nodes():
        if e not in memo:
            args = tuple(memo[a] for a in e.args)
            same = all(a is b for a, b in zip(args, e.args, strict=True))
            memo[e] = e if same else E(e.op, args, e.attr, e.dtype, e.axes)
    return Region([Store(s.buf, s.idx, memo[s.value]) for s in region.stores], region.order)


def moved_axes(region: Region, atoms: Mapping[E, Atom]) -> set[Axis]:
    """The axes along which a value is read at another position than its own, outside of atoms."""
    found: set[Axis] = set()
    seen: set[E] = set()
    todo = [s.value for s in region.stores]
    while todo:
        e = todo.pop()
        if e in seen:
            continue
        seen.add(e)
        atom = atoms.get(e)
        todo += e.args if atom is None else atom.operands
        if atom is None:
            found |= set(_walked(e))
    return found


def _walked(e: E) -> list[Axis]:
    op, attr = e.op, e.attr
    if op == "at":
        return [a for a, _ in attr[0]] + [a for _, f in attr[0] for a, _ in f.terms]
    if op == "spread":
        return [a for w in attr[0] for a in w[:2]]
    if op == "concat":
        return [attr[0], *(a for a, _ in attr[1])]
    if op == "fold":
        return [a for w in attr for a in w[:3]]
    if op == "cum":
        return [attr[1]]
    if op in ("sort", "argsort"):
        return [attr[0]]
    if op in ("first", "argred"):
        return list(attr[1])
    return [attr[0], *attr[1]] if op == "scatter" else []

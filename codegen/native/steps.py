"""Which stores around products share their loops: steps of a block, one after another.

Loops have lanes along one axis and one order, so stores that walk other axes, or sums that each keep what the other
sums over, have loops of their own; what an operand is made of and a result needs too is computed once, where the operand is. Refuses to hold how a
region is cut (`blocks`) and the loops (`render`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from codegen.loops import Axis, Buf, E, Region, Store
from codegen.native.atoms import Atom

Places = Callable[[Buf], Any]  # equal for buffers in the same memory
GIVEN = frozenset({"load", "const", "iota"})


@dataclass
class Step:
    """Loops over stores, or an atom with its operands in memory, whose result goes to the one store."""

    stores: list[Store]
    atom: Atom | None = None
    operands: tuple[E, ...] = ()

    def reads(self) -> list[E]:
        """The loads, operands of the atom included."""
        own = self.operands if self.atom is not None else Region(self.stores).nodes()
        return [e for e in own if e.op == "load"]


def crossed(reds: Iterable[E], others: Iterable[E]) -> bool:
    """Whether a sum of the one and a sum of the other each keep an axis that the other sums over."""
    mine = list(reds)
    return any(
        set(x.attr[1]) & set(y.axes) and set(y.attr[1]) & set(x.axes) for y in others for x in mine
    )


def sums(stores: Sequence[Store]) -> list[E]:
    """The sums in what is stored."""
    return [e for e in Region(stores).nodes() if e.op == "red"]


def sums_below(e: E) -> list[E]:
    """The sums that a value depends on."""
    return sums([Store(Buf("", (), e.dtype), (), e)])


def together(stores: Sequence[Store], cut: Collection[Axis], places: Places) -> list[list[Store]]:
    """Stores that want the same loops: those that walk the same axes or some of them, and need something in common if they differ in
    others than those in `cut`; and those of which one writes what another reads."""
    out: list[tuple[set[Axis], set[Any], list[Store]]] = []
    for s in stores:
        nodes = Region([s]).nodes()
        own = {e for e in nodes if e.op not in GIVEN and e.axes}
        axes = {a for i in s.idx for a, _ in i.terms}.union(*(e.axes for e in nodes))
        axes = {a for a in axes if a.size > 1 and a not in cut}
        read = {places(e.attr[0]) for e in nodes if e.op == "load"}
        mine = (axes, read, [s])
        for other in [*out]:
            inside = axes <= other[0] or other[0] <= axes
            near = (inside or own & set(Region(other[2]).nodes())) and not crossed(sums([s]), sums(other[2]))  # fmt: skip
            if near or {places(t.buf) for t in other[2]} & read or places(s.buf) in other[1]:
                out.remove(other)
                mine = (other[0] | mine[0], other[1] | mine[1], other[2] + mine[2])
        out.append(mine)
    return [stores for _, _, stores in out]


def home(s: Store, stores: Sequence[Store], steps: Sequence[Step], places: Places) -> Step | None:
    """The step that computes most of what one of the `stores` needs, at a time when all else that it needs is there.

    None where there is none, or where another store needs what this one overwrites.
    """
    kept = {places(e.attr[0]) for t in stores if t is not s for e in Step([t]).reads()}
    if places(s.buf) in kept:
        return None
    nodes = Region([s]).nodes()
    read = {places(e.attr[0]) for e in nodes if e.op == "load"}
    own = {e for e in nodes if e.op not in GIVEN and e.axes}
    first = max((k for k, t in enumerate(steps) if any(places(x.buf) in read for x in t.stores)), default=-1)  # fmt: skip
    best: tuple[int, Step] | None = None
    for k in range(len(steps) - 1, first, -1):
        step = steps[k]
        if any(places(e.attr[0]) == places(s.buf) for e in step.reads()):
            return None  # what it overwrites is read
        shared = own & set(Region(step.stores).nodes()) if step.atom is None else ()
        if shared and not crossed(sums([s]), sums(step.stores)):
            best = max(best or (0, step), (len(shared), step), key=lambda b: b[0])
    return None if best is None else best[1]

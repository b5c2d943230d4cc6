"""Region + schedule -> a small tree of statements, for any target: For, Let, Init, Acc, Fin, Put.

A value lands in the outermost scope that has its axes; reductions with the same phase share a loop; what a
later phase of a loop needs is computed again there. Refuses to hold how a statement is printed, and to
choose a schedule (`codegen.schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codegen.loops import Axis, E, Group, Region, Schedule, Store

WHOLE = Schedule()  # no loop: every axis a tile


@dataclass(eq=False)
class Let:
    """The value of `e`, from values of its operands, at the tile axes of this scope."""

    e: E


@dataclass(eq=False)
class Init:
    """The accumulator of the reduction `e` before a loop over some of its axes."""

    e: E


@dataclass(eq=False)
class Acc:
    """The reduction `e` of this pass of the loop, taken into its accumulator."""

    e: E


@dataclass(eq=False)
class Fin:
    """The accumulator of `e` is complete: it is the value of `e` from here on."""

    e: E


@dataclass(eq=False)
class Put:
    """A store of a value at the tile axes of this scope."""

    store: Store


@dataclass(eq=False)
class For:
    """A loop over the positions of a group, `group.tile` at a time."""

    group: Group
    body: list[Stmt] = field(default_factory=list)


Stmt: TypeAlias = Let | Init | Acc | Fin | Put | For
Item: TypeAlias = Let | Acc | Put


def reduced(e: E) -> tuple[Axis, ...]:
    """The axes a reducing expression sums away."""
    if e.op in ("red", "dot", "argred", "scatter"):
        over: tuple[Axis, ...] = e.attr[1]
        return over
    return ()


def lower(region: Region, schedule: Schedule = WHOLE) -> list[Stmt]:
    """The statements of `region` under `schedule`.

    Raises ValueError when a loop axis is walked along by an expression that needs all of it at once.
    """
    groups = list(schedule.outer())
    looped = {a for g in groups for a in g.axes}
    items: list[Item] = []
    for e in region.nodes():
        over = [a for a in reduced(e) if a in looped]
        if over and e.op == "argred":
            raise ValueError("the position of an extreme cannot be taken in parts")
        _check(e, looped)
        if over:
            depth = min(k for k, g in enumerate(groups) if set(g.axes) & set(over))
            if any(set(g.axes) & set(e.axes) for g in groups[depth + 1 :]):
                raise ValueError(
                    "a sum cannot be taken in parts by a loop outside one over its result"
                )
        items.append(Acc(e) if over else Let(e))
    items.extend(Put(s) for s in region.stores)
    return _emit(items, groups, set())


def _check(e: E, looped: set[Axis]) -> None:
    whole: list[Axis] = []
    if e.op == "cum":
        whole = [e.attr[1]]
    elif e.op in ("sort", "argsort"):
        whole = [e.attr[0]]
    elif e.op == "at":
        whole = [a for a, _ in e.attr[0]] + [a for _, f in e.attr[0] for a, _ in f.terms]
    elif e.op == "spread":
        whole = [a for w in e.attr[0] for a in w[:2]]
    elif e.op == "concat":
        whole = [e.attr[0], *(a for a, _ in e.attr[1])]
    elif e.op == "fold":
        whole = [a for w in e.attr for a in w[:3]]
    elif e.op == "first":
        whole = list(e.attr[1])
    elif e.op == "scatter":
        whole = [e.attr[0], *e.attr[1]]
    bad = [a for a in whole if a in looped]
    if bad:
        raise ValueError(f"{e.op} needs all of axis {bad[0]!r} at once")


def _axes(item: Item) -> set[Axis]:
    if isinstance(item, Put):
        return {a for i in item.store.idx for a, _ in i.terms} | set(item.store.value.axes)
    e = item.e
    return {a for x in (e, *e.args) for a in x.axes}


def _reads(item: Item) -> tuple[E, ...]:
    return (item.store.value,) if isinstance(item, Put) else item.e.args


def _split(items: Sequence[Item], own: set[Axis], inner: set[Axis]) -> tuple[set[E], set[E]]:
    """Values without the loop's axes that must be computed inside it all the same, since they have axes
    of a loop further in and are read there; and those of them that are read outside too."""
    forced: set[E] = set()
    kept: set[E] = set()
    for item in reversed(items):
        natural = bool(own & _axes(item))
        e = None if isinstance(item, Put) else item.e
        if natural or e in forced:
            forced.update(a for a in _reads(item) if inner & set(a.axes) and not own & set(a.axes))
        if not natural and (e is None or e not in forced or e in kept):
            kept.update(_reads(item))
    return forced, kept


def _emit(items: Sequence[Item], groups: Sequence[Group], open_: set[E]) -> list[Stmt]:
    if not items:
        return []
    if not groups:
        return list(items)
    g, rest = groups[0], groups[1:]
    own = set(g.axes)
    inside: dict[E, int] = {}  # phase of the loop that computes it
    outside: dict[E, int] = {}  # number of loops that must have run before
    made: dict[E, Item] = {}
    loops: dict[int, list[Item]] = {}
    between: dict[int, list[Item]] = {}
    done: dict[int, set[E]] = {}
    accumulated: set[E] = set()

    def after(e: E) -> int:
        """How many loops must have run before `e` can be read from outside, or by a later phase."""
        return inside[e] + 1 if e in accumulated else outside.get(e, 0)

    def repeat(e: E, phase: int) -> None:
        """Make sure that `e`, computed inside an earlier phase, is computed in `phase` too."""
        todo = [e]
        while todo:
            x = todo.pop()
            if x in done.setdefault(phase, set()) or x not in inside or x in accumulated:
                continue
            done[phase].add(x)
            extra.append(x)
            todo.extend(x.args)

    forced, kept = _split(items, own, {a for r in rest for a in r.axes})
    for item in items:
        args = _reads(item)
        enters = bool(own & _axes(item))
        if not isinstance(item, Put) and item.e in forced:
            enters = True
            if item.e in kept:
                between.setdefault(0, []).append(item)
        if enters:
            phase = 0
            for a in args:
                if a in accumulated or a in outside:
                    phase = max(phase, after(a))
                elif a in inside:
                    phase = max(phase, inside[a])
            extra: list[E] = []
            for a in args:
                if a in inside and a not in accumulated and inside[a] != phase:
                    repeat(a, phase)
            order = {e: k for k, e in enumerate(made)} if extra else {}
            for e in sorted(extra, key=order.__getitem__):
                loops.setdefault(phase, []).append(made[e])
            loops.setdefault(phase, []).append(item)
            if not isinstance(item, Put):
                inside[item.e] = phase
                made[item.e] = item
                done.setdefault(phase, set()).add(item.e)
                if isinstance(item, Acc) and own & set(reduced(item.e)):
                    accumulated.add(item.e)
        else:
            wait = max((after(a) for a in args if a in accumulated or a in outside), default=0)
            between.setdefault(wait, []).append(item)
            if not isinstance(item, Put):
                outside[item.e] = wait
    out: list[Stmt] = []
    for phase in range(max([*loops, *between], default=-1) + 1):
        out += _emit(between.get(phase, []), rest, open_)
        body = loops.get(phase, [])
        if not body:
            continue
        fresh = [
            i.e for i in body if isinstance(i, Acc) and i.e in accumulated and i.e not in open_
        ]
        out += [Init(e) for e in fresh]
        out.append(For(g, _emit(body, rest, open_ | set(fresh))))
        out += [Fin(e) for e in fresh]
    return out

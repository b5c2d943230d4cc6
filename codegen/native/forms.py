"""Affine forms that may divide, and guards over them: where a value of a resolved region is in memory at all.

Refuses to hold expressions (`resolve`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codegen.loops import Aff, Axis, axis_aff


class Quotient(Axis):
    """`form / div` as an axis of an affine form; only meant where its guard holds."""

    __slots__ = ("form", "div")

    def __init__(self, form: Aff, div: int, size: int):
        super().__init__("q", size)
        self.form, self.div = form, div


@dataclass(frozen=True)
class Guard:
    """form >= 0, divisible by `div`, and form / div < size."""

    form: Aff
    div: int
    size: int


def form_key(f: Aff) -> tuple[Any, ...]:
    """Equal for equal forms."""
    return (f.const, frozenset((_axis_key(a), c) for a, c in f.terms))


def _axis_key(a: Axis) -> Any:
    return (form_key(a.form), a.div, a.size) if isinstance(a, Quotient) else a


def real_axes(f: Aff) -> list[Axis]:
    """The axes a form moves with."""
    out: list[Axis] = []
    for a, _ in f.terms:
        out += real_axes(a.form) if isinstance(a, Quotient) else [a]
    return list(dict.fromkeys(out))


def substituted(f: Aff, env: Mapping[Axis, Aff]) -> Aff:
    """A form with axes replaced, inside quotients too."""
    out = Aff((), f.const)
    for a, c in f.terms:
        if a in env:
            out = out + env[a] * c
        elif isinstance(a, Quotient):
            form = substituted(a.form, env)
            out = out + (quotient(form, a.div, a.size) * c)
        else:
            out = out + Aff(((a, c),))
    return out


def quotient(f: Aff, div: int, size: int) -> Aff:
    """f / div as a form, affine where it divides."""
    if all(c % div == 0 for _, c in f.terms) and f.const % div == 0:
        return Aff(((a, c // div) for a, c in f.terms), f.const // div)
    return axis_aff(Quotient(f, div, size))


def simpler(g: Guard) -> Guard:
    """A guard without its divisor where that always divides."""
    if g.div > 1 and all(c % g.div == 0 for _, c in g.form.terms) and g.form.const % g.div == 0:
        return Guard(quotient(g.form, g.div, g.size), 1, g.size)
    return g


def _known(f: Aff) -> bool:
    return not any(isinstance(a, Quotient) for a, _ in f.terms)


def inside(g: Guard) -> bool:
    """Whether an undivided guard always holds."""
    return _known(g.form) and g.form.inside(g.size)


def never(g: Guard) -> bool:
    """Whether a guard cannot hold."""
    if not _known(g.form):
        return False
    if all(c % g.div == 0 for _, c in g.form.terms) and g.form.const % g.div:
        return True
    low, high = g.form.interval()
    return high < 0 or low >= g.div * g.size

"""An expression seen at other positions: axes replaced by affine forms, taken into loads where they fit.

Refuses to know the ops that ask for it (`regions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codegen.loops import Aff, Axis, E, axis_aff, load


def renamed(x: E, names: Mapping[Axis, Axis]) -> E:
    """`x` over other axes of the same extents."""
    forms = {a: axis_aff(b) for a, b in names.items()}
    if x.op == "load" and not x.args:
        buf, idx, fill = x.attr
        return load(buf, tuple(i.subst(forms) for i in idx), fill=fill)
    return at(x, list(forms.items()), None)


def within(x: E, a: Axis, f: Aff) -> bool:
    """Whether a load tells by its buffer's bounds where `f` leaves the axis `a`, if it ever does.

    It does not for an axis of size 1, which is in no index, nor for a stretch of a longer axis.
    """
    if f.inside(a.size):
        return True
    buf, idx, _ = x.attr
    at_it = [(i, n) for i, n in zip(idx, buf.shape, strict=True) if a in dict(i.terms)]
    return bool(at_it) and all(
        i.terms == ((a, 1),) and i.const == 0 and n == a.size for i, n in at_it
    )


def at(x: E, env: Sequence[tuple[Axis, Aff]], fill: Any, axes: tuple[Axis, ...] | None = None) -> E:
    """`x` with axes replaced by affine forms; a load takes the forms into its index."""
    where = dict(env)
    if x.op == "load" and x.attr[2] is None and not x.args and all(within(x, *e) for e in env):
        buf, idx, _ = x.attr
        moved = tuple(i.subst(where) for i in idx)
        outside = any(not i.inside(n) for i, n in zip(moved, buf.shape, strict=True))
        return load(buf, moved, fill=(fill if fill is not None else 0) if outside else None)
    free = [a for _, f in env for a, _ in f.terms]
    kept = [a for a in x.axes if a not in where]
    return E("at", (x,), (tuple(env), fill), x.dtype, tuple(dict.fromkeys([*kept, *free])))

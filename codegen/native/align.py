"""Products that read the same array walk it along the same axes, so that one cut serves them all.

Axes of a region are those of its nodes' results; what only reads a common array has axes of its own. Refuses to change what is computed: axes
get other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.loops import Aff, Axis, E, Region, Store, axis_aff
from codegen.native.forms import form_key
from codegen.native.table import spelled


def aligned(region: Region) -> Region:
    """The region with stores that have no axis in common renamed to those of a store before them, where both read an array."""
    done: list[Store] = []
    for part in _parts(region.stores):
        names = _names(part, done) if _plain(part) else {}
        done += _renamed(part, names) if names else part
    order = {id(s): k for k, s in enumerate(region.stores)}
    return region if all(id(s) in order for s in done) else Region(done, region.order)


def _parts(stores: Sequence[Store]) -> list[list[Store]]:
    """Stores in parts that have no axis in common, the first store's first."""
    out: list[tuple[set[Axis], list[Store]]] = []
    for s in stores:
        axes = {a for e in Region([s]).nodes() for a in e.axes if a.size > 1}
        mine = (axes, [s])
        for other in [o for o in out if o[0] & axes]:
            out.remove(other)
            mine = (other[0] | mine[0], other[1] + mine[1])
        out.append(mine)
    return [found for _, found in out]


def _names(part: Sequence[Store], done: Sequence[Store]) -> dict[Axis, Axis]:
    """The axes of an array that both read, by those with which the first reads it: those of a product's operands come first."""
    for mine in _operands(part):
        for other in _operands(done):
            pairs = list(zip(mine.attr[1], other.attr[1], strict=False))
            names = {a: b for i, j in pairs for a, b in zip(_axes(i), _axes(j), strict=False)}
            forms = {a: axis_aff(b) for a, b in names.items()}
            same = all(form_key(i.subst(forms)) == form_key(j) for i, j in pairs)
            sizes = all(a.size == b.size for a, b in names.items())
            if mine.attr[0] is other.attr[0] and same and sizes:
                return names if len(set(names.values())) == len(names) else {}
    return {}


def _operands(stores: Sequence[Store]) -> list[E]:
    """The arrays that products read at affine positions."""
    dots = (e for e in Region(stores).nodes() if e.op == "dot")
    loads = (x for e in dots for x in e.args if x.op == "load")
    return [x for x in loads if not x.args and all(isinstance(i, Aff) for i in x.attr[1])]


def _axes(i: Aff) -> list[Axis]:
    return [a for a, _ in i.terms]


def _plain(part: Sequence[Store]) -> bool:
    """Whether axes stand only where `_renamed` looks for them."""
    return all(
        e.op in ("const", "dot", "red") or spelled(e.op) or (e.op == "load" and not e.args)
        for e in Region(part).nodes()
    )


def _renamed(part: Sequence[Store], names: Mapping[Axis, Axis]) -> list[Store]:
    forms = {a: axis_aff(b) for a, b in names.items()}

    def new(axes: Sequence[Axis]) -> tuple[Axis, ...]:
        return tuple(names.get(a, a) for a in axes)

    made: dict[E, E] = {}
    for e in Region(part).nodes():
        attr = e.attr
        if e.op == "load":
            attr = (attr[0], tuple(i.subst(forms) for i in attr[1]), attr[2])
        elif e.op in ("dot", "red"):
            attr = (attr[0], new(attr[1]), *attr[2:])
        made[e] = E(e.op, tuple(made[a] for a in e.args), attr, e.dtype, new(e.axes))
    return [Store(s.buf, tuple(i.subst(forms) for i in s.idx), made[s.value]) for s in part]

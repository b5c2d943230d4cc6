"""A convolution in any of its directions as problems of one form, over named axes.

    out[fo] = sum over `deep` of a[at ..] * b[fb],  a being 0 where one of its positions is outside

A forward convolution and a weight gradient are one problem; an input gradient is one for each residue of the
result's positions by the stride: there every position along the gradient that is read is affine. Refuses to hold schedules and text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.loops import Aff, Axis, E, axis_aff, load
from codegen.native.forms import real_axes
from codegen.native.resolve import Unprintable, flat_form

Fold = tuple[Axis, Axis, Axis, int, int, int]  # new, o, t, stride, dilation, low


@dataclass(frozen=True)
class Dim:
    """A dimension of `a`: how long it is, elements from one position to the next, the position that is read."""

    extent: int
    stride: int
    at: Aff

    @property
    def inside(self) -> bool:
        return self.at.inside(self.extent)


@dataclass(frozen=True)
class Problem:
    """See the module's text. `dims`, `origin`: of `a`, whose element 0 of every dimension is `origin`.

    The axes by where they are: batch in all three, rows in a and out, cols in b and out, deep in no result.
    `empty`: nothing is added at all.
    """

    dtype: str
    dims: tuple[Dim, ...]
    origin: int
    fb: Aff
    fo: Aff
    empty: bool = False

    @property
    def batch(self) -> list[Axis]:
        return [a for a in real_axes(self.fo) if a in self._in_a and a in self._in_b]

    @property
    def rows(self) -> list[Axis]:
        return [a for a in real_axes(self.fo) if a in self._in_a and a not in self._in_b]

    @property
    def cols(self) -> list[Axis]:
        return [a for a in real_axes(self.fo) if a not in self._in_a and a in self._in_b]

    @property
    def deep(self) -> list[Axis]:
        made = real_axes(self.fo)
        both = [*(a for d in self.dims for a in real_axes(d.at)), *real_axes(self.fb)]
        return [a for a in dict.fromkeys(both) if a not in made]

    @property
    def _in_a(self) -> set[Axis]:
        return {a for d in self.dims for a in real_axes(d.at)}

    @property
    def _in_b(self) -> set[Axis]:
        return set(real_axes(self.fb))

    @property
    def flops(self) -> int:
        return 2 * math.prod(a.size for a in (*self.batch, *self.rows, *self.cols, *self.deep))


class Windows:
    """What a convolution `e` reads: `operands`, each over axes of its own, and where.

    at: for each axis of the first operand (or extent 1 that none has) its extent and the position that is read.
    lanes: the axis of the result for vectors: one that only the second operand has, or that both have.
    """

    def __init__(self, e: E):
        self.e = e
        self.folds: tuple[Fold, ...] = e.attr if e.op == "fold" else ()
        dot = e.args[0] if self.folds else e
        if dot.dtype not in ("f32", "f64"):
            raise Unprintable(f"a convolution of {dot.dtype}")
        if any(a.size == 0 for x in (*dot.args, e) for a in x.axes):
            raise Unprintable("nothing to add")
        x, y = dot.args
        if _second(x, y, self.folds):
            x, y = y, x
        if _second(x, y, self.folds):
            raise Unprintable("windows over both operands")
        if self.folds and _windowed(x):  # zeros begin where its axes end, not where the array does
            x = E("stop_gradient", (x,), (), x.dtype, x.axes)
        self.dot, self.x = dot, x
        first, self.at = _opened(x)
        own = {a for _, _, f in self.at for a, _ in f.terms}
        if self.folds:
            own = (own - {w[1] for w in self.folds}) | {w[0] for w in self.folds if w[0].size > 1}
        made = [a for a in e.axes if a.size > 1]
        cols = [a for a in made if a not in own]
        both = [a for a in made if a in own and a in y.axes]
        lanes = self.lanes = (cols or both)[-1] if cols or both else None
        self.second, contiguous = y, False
        if y.op == "load" and not y.args and all(isinstance(i, Aff) for i in y.attr[1]):
            step = dict(flat_form(y.attr[0], y.attr[1]).terms)
            contiguous = lanes is not None and y.attr[2] is None and step.get(lanes) == 1
            others = sorted(y.axes, key=lambda a: -abs(step.get(a, 0)))
        else:
            others = list(y.axes)
        if lanes is not None and not contiguous:  # a copy, which has the lanes next to each other
            axes = (*(a for a in others if a is not lanes), lanes)
            y = E("stop_gradient", (y,), (), y.dtype, axes)
        self.operands: tuple[E, ...] = (first, y)

    def over(self, operands: Sequence[E]) -> E:
        """The convolution of other operands, over the same axes."""
        first, second = operands
        x = self.x
        if x.op == "at":
            x = E("at", (first,), x.attr, x.dtype, x.axes)
        elif x is self.operands[0]:
            x = first
        y = second if second.axes else self.second
        args = (x, y) if self.dot.args[1] is self.second else (y, x)
        dot = E("dot", args, self.dot.attr, self.dot.dtype, self.dot.axes)
        return E("fold", (dot,), self.folds, dot.dtype, self.e.axes) if self.folds else dot

    def problems(self, operands: Sequence[E], fo: Aff) -> list[Problem]:
        """The problems on operands in memory, into elements `fo` of the result."""
        flat = [flat_form(x.attr[0], x.attr[1]) for x in operands]
        steps = dict(flat[0].terms)
        dims = [Dim(n, steps.get(a, 0) if a is not None else 0, f) for a, n, f in self.at]
        if not self.folds:
            return [Problem(self.e.dtype, _ordered(dims), flat[0].const, flat[1], fo)]
        out = []
        for rest in itertools.product(*(range(min(w[3], w[0].size)) for w in self.folds)):
            taps: dict[Axis, Aff] = {}
            place: dict[Axis, Aff] = {}
            read: dict[Axis, Aff] = {}
            empty = False
            for r, (new, o, t, stride, dilation, low) in zip(rest, self.folds, strict=True):
                step = math.gcd(stride, dilation)
                hits = [k for k in range(t.size) if (r + low - dilation * k) % stride == 0]
                q = new if stride == 1 else Axis("q", -(-(new.size - r) // stride))
                place[new] = Aff(((q, stride),), r)
                empty = empty or not hits
                read[o] = axis_aff(q)
                if hits:
                    tap = Axis("t", len(hits))  # backwards, so that what is read is walked forwards
                    first = (r + low - dilation * hits[-1]) // stride
                    read[o] = Aff(((q, 1), (tap, dilation // step)), first)
                    taps[t] = Aff(((tap, -(stride // step)),), hits[-1])
            known = [a for a, *_ in self.at]
            mine = [
                d if a is None or a not in read else _moved(d, read[a], empty)
                for d, a in zip(dims, known, strict=True)
            ]
            mine += [_moved(Dim(1, 0, Aff()), f, empty) for o, f in read.items() if o not in known]
            p = Problem(
                self.e.dtype, _ordered(mine), flat[0].const, flat[1], fo.subst(place), empty
            )
            out.append(p if empty else replace(p, fb=flat[1].subst(taps)))
        return out


def windows(e: E) -> Windows | None:
    """The convolution that an expression is; None for another. Raises Unprintable for one that cannot be said."""
    dot = e.args[0] if e.op == "fold" else e
    if dot.op != "dot" or not (e.op == "fold" or any(map(_windowed, dot.args))):
        return None
    return Windows(e)


def _second(x: E, y: E, folds: Sequence[Fold]) -> bool:
    """Whether windows go over the second operand: of an input gradient the one along the result of the convolution."""
    if folds:
        return any(o in y.axes or t in x.axes for _, o, t, *_ in folds)
    return _windowed(y)


def _windowed(e: E) -> bool:
    """Whether an operand is read at windows: somewhere not one position after another."""
    if e.op == "at":
        return True
    if e.op != "load" or e.args:
        return False
    return e.attr[2] is not None or not all(map(_dense, e.attr[1]))


def _dense(f: Aff) -> bool:
    """Whether a form walks an axis, or the factors of one, from its first position to its last."""
    step = 1
    for a, c in sorted(f.terms, key=lambda t: t[1]):
        if c != step:
            return False
        step *= a.size
    return f.const == 0


def _opened(x: E) -> tuple[E, list[tuple[Axis | None, int, Aff]]]:
    """An operand without its windows, and for each of its axes the extent and the position that is read."""
    if x.op == "at":
        if x.attr[1] not in (None, 0):
            raise Unprintable("a convolution of what is not zero outside")
        inner, env = x.args[0], dict(x.attr[0])
        if _windowed(inner):
            raise Unprintable("windows over windows")
        at: list[tuple[Axis | None, int, Aff]] = [
            (a, a.size, env.get(a, axis_aff(a))) for a in inner.axes
        ]
        if any(a.size > 1 for a in env if a not in inner.axes):
            raise Unprintable("windows over what is the same everywhere")
        at += [(None, 1, f) for a, f in env.items() if a not in inner.axes]
        return inner, at
    if not _windowed(x):
        return x, [(a, a.size, axis_aff(a)) for a in x.axes]
    buf, idx, fill = x.attr
    if fill not in (None, 0):
        raise Unprintable("a convolution of what is not zero outside")
    axes = [Axis("x", n) for n in buf.shape]
    whole = load(buf, tuple(map(axis_aff, axes)))
    return whole, [(a, a.size, f) for a, f in zip(axes, idx, strict=True)]


def _moved(dim: Dim, at: Aff, empty: bool) -> Dim:
    """A dimension read at another position; where nothing is read, only the axis counts."""
    return Dim(at.interval()[1] + 1, 0, at) if empty else Dim(dim.extent, dim.stride, at)


def _ordered(dims: Sequence[Dim]) -> tuple[Dim, ...]:
    """Dimensions as they lie in memory, those of extent 1 after the first, but for one of neighbours (lanes): that is last."""
    real = sorted((d for d in dims if d.extent > 1), key=lambda d: -d.stride)
    first = 0 if len(real) == 1 and real[0].stride == 1 else 1
    return (*real[:first], *(d for d in dims if d.extent == 1), *real[first:])


def steps_form(steps: Mapping[Axis, int]) -> Aff:
    """The element of a result, from the elements between positions of its axes."""
    return Aff(steps.items())

"""A convolution in any of its directions as problems of one form, over named axes.

    out[fo] = sum over `deep` of a[ia] * b[ib],  a being 0 where one of its positions is outside

A forward convolution and a weight gradient are one problem; an input gradient is one for each residue of the
result's positions by the stride: there every position along the gradient that is read is affine. Refuses to hold schedules and text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen.loops import Aff, Axis, Buf, E, Region
from codegen.native.forms import real_axes
from codegen.native.resolve import Unprintable, flat_form


@dataclass(frozen=True)
class Problem:
    """See the module's text. `ia`, `ib`: a position per dimension of `a` and `b`; `fo`: elements of `out`.

    The axes by where they are: batch in all three, rows in a and out, cols in b and out, deep in no result.
    `empty`: nothing is added at all.
    """

    a: Buf
    ia: tuple[Aff, ...]
    b: Buf
    ib: tuple[Aff, ...]
    out: Buf
    fo: Aff
    empty: bool = False

    @property
    def fa(self) -> Aff:
        return flat_form(self.a, self.ia)

    @property
    def fb(self) -> Aff:
        return flat_form(self.b, self.ib)

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
        both = [*(a for f in self.ia for a in real_axes(f)), *real_axes(self.fb)]
        return [a for a in dict.fromkeys(both) if a not in made]

    @property
    def lanes(self) -> Axis | None:
        """The axis for vectors: the result is contiguous along it, and `a` is too or does not have it."""
        last = next((a for a, c in self.fo.terms if c == 1), None)
        if last is None or last in self.rows or (last in self.batch and _step(self.fa, last) != 1):
            return None
        return last

    @property
    def _in_a(self) -> set[Axis]:
        return {a for f in self.ia for a in real_axes(f)}

    @property
    def _in_b(self) -> set[Axis]:
        return set(real_axes(self.fb))

    @property
    def guarded(self) -> list[int]:
        """The dimensions of `a` along which positions may be outside."""
        return [
            d for d, (f, n) in enumerate(zip(self.ia, self.a.shape, strict=True)) if not f.inside(n)
        ]

    @property
    def flops(self) -> int:
        return 2 * math.prod(a.size for a in (*self.batch, *self.rows, *self.cols, *self.deep))


def problems(region: Region) -> list[Problem] | None:
    """The problems of a region that is one convolution; None where it is none, Unprintable where it cannot be said."""
    if len(region.stores) != 1:
        return None
    store = region.stores[0]
    e = store.value
    folds = e.attr if e.op == "fold" else ()
    dot = e.args[0] if folds else e
    if dot.op != "dot" or not (folds or any(_windowed(x) for x in dot.args)):
        return None
    if dot.dtype not in ("f32", "f64") or dot.attr[0] not in ("ieee", None, ""):
        raise Unprintable(f"a convolution of {dot.dtype}, {dot.attr[0]}")
    if any(a.size == 0 for x in dot.args for a in x.axes) or 0 in store.buf.shape:
        raise Unprintable("nothing to add")
    x, y = dot.args
    if folds:
        if not any(w[1] in x.axes for w in folds if w[1].size > 1) and any(
            w[1] in y.axes for w in folds
        ):
            x, y = y, x
    elif _windowed(y):
        x, y = y, x
    if _windowed(y):
        raise Unprintable("windows over both operands")
    (a, ia), (b, ib) = _positions(x), _positions(y)
    whole = Problem(a, ia, b, ib, store.buf, flat_form(store.buf, store.idx))
    return _residues(whole, store.idx, folds) if folds else [whole]


def _step(f: Aff, a: Axis) -> int:
    return dict(f.terms).get(a, 0)


def _windowed(e: E) -> bool:
    """Whether an operand is read at windows: somewhere not one position after another."""
    if e.op == "at":
        return True
    return (
        e.op == "load" and not e.args and (e.attr[2] is not None or not all(map(_dense, e.attr[1])))
    )


def _dense(f: Aff) -> bool:
    """Whether a form walks an axis, or the factors of one, from its first position to its last."""
    step = 1
    for a, c in sorted(f.terms, key=lambda t: t[1]):
        if c != step:
            return False
        step *= a.size
    return f.const == 0


def _positions(e: E) -> tuple[Buf, tuple[Aff, ...]]:
    """Where an operand is read."""
    env: Sequence[tuple[Axis, Aff]] = ()
    if e.op == "at" and not e.attr[1]:
        env, e = e.attr[0], e.args[0]
    if e.op != "load" or e.args or e.attr[2] not in (None, 0):
        raise Unprintable("an operand of a convolution that is computed")
    buf, idx, _ = e.attr
    for axis, form in env:
        idx = _placed(buf, idx, axis, form)
    return buf, tuple(idx)


def _placed(buf: Buf, idx: Sequence[Aff], axis: Axis, form: Aff) -> tuple[Aff, ...]:
    """Positions with an axis replaced by a form; one of extent 1 is in a dimension that nothing moves along."""
    if axis.size > 1:
        return tuple(i.subst({axis: form}) for i in idx)
    free = [d for d, n in enumerate(buf.shape) if n == 1 and not idx[d].terms and not idx[d].const]
    at = next((d for d in [*free[free[:1] == [0] :], *free]), None)
    if at is None:
        raise Unprintable("an axis of a convolution that is nowhere")
    return (*idx[:at], form, *idx[at + 1 :])


def _residues(
    whole: Problem, io: Sequence[Aff], folds: Sequence[tuple[Axis, Axis, Axis, int, int, int]]
) -> list[Problem]:  # fmt: skip
    """new = stride*o + dilation*t - low by the residues of `new`: o is affine in new / stride and the taps that fit."""
    out = []
    for rest in itertools.product(*(range(min(w[3], w[0].size)) for w in folds)):
        ia, taps, place, empty = whole.ia, {}, {}, False
        for r, (new, o, t, stride, dilation, low) in zip(rest, folds, strict=True):
            step = math.gcd(stride, dilation)
            hits = [k for k in range(t.size) if (r + low - dilation * k) % stride == 0]
            empty = empty or not hits
            if not hits:
                continue
            q = Axis("q", -(-(new.size - r) // stride))
            tap = Axis("t", len(hits))  # backwards, so that what is read is walked forwards
            first = (r + low - dilation * hits[-1]) // stride
            ia = _placed(whole.a, ia, o, Aff(((q, 1), (tap, dilation // step)), first))
            taps[t] = Aff(((tap, -(stride // step)),), hits[-1])
            place[new] = Aff(((q, stride),), r)
        if empty:
            for r, (new, _, _, stride, *_) in zip(rest, folds, strict=True):
                place[new] = Aff(((Axis("q", -(-(new.size - r) // stride)), stride),), r)
        fo = flat_form(whole.out, [i.subst(place) for i in io])
        ib = tuple(i.subst(taps) for i in whole.ib)
        out.append(replace(whole, ia=ia, ib=ib, fo=fo, empty=empty))
    return out

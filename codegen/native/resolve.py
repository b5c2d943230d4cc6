"""A region with everything that C spells as loops: loads at flat positions with guards, and sums.

`at`, `spread`, `concat`, `fold`, `first`, `argred` and small `dot`s are opened, equal expressions become one, and axes that
are always walked together become one. What comes out holds only

    const, iota, pointwise ops      as in `codegen.loops`
    load     idx                    (Buf, flat, fill, guards, (stride, extent) of the computed index or None)
    inside                          (guards,)  bool
    red      x                      (fn, over)

Refuses to hold text, and what a loop nest cannot say: `Unprintable`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, Region, Store, axis_aff, union_axes
from codegen.native.forms import (
    Guard,
    form_key,
    inside,
    never,
    quotient,
    real_axes,
    simpler,
    substituted,
)
from codegen.native.merge import merge_axes
from ir.types import FLOATS

TAPS = 36  # of a window added up one by one, not in a loop
SMALL_DOT = 1 << 20  # multiplications up to which a product is a plain sum in a loop


class Unprintable(Exception):
    """The region has something that C loops of this renderer cannot say."""


class Resolver:
    """Opens one region. `scratch(n)`: a new buffer of n u32; `streams`: what must be filled before the loops."""

    def __init__(self, scratch: Any):
        self.scratch = scratch
        self.made: dict[Any, E] = {}
        self.known: dict[E, E] = {}
        self.streams: list[tuple[Buf, int, E, E, int]] = []

    def run(self, region: Region, apart: Container[Axis] = ()) -> Region:
        """The opened region; each axis in `apart` stays one of its own."""
        for e in region.nodes():
            self.known[e] = self.open(e, [self.known[a] for a in e.args])
        stores = []
        for s in region.stores:
            if 0 not in s.buf.shape:
                stores.append(Store(s.buf, (flat_form(s.buf, s.idx),), self.known[s.value]))
        for e in region.nodes():
            if e.op == "concat":
                stores = self.parted(stores, *e.attr)
            elif e.op == "fold":
                for new, _, _, stride, *_ in e.attr:
                    stores = self.by_residue(stores, new, stride)
        return merge_axes(Region(stores), apart)

    def parted(
        self, stores: list[Store], axis: Axis, parts: Sequence[tuple[Axis, int]]
    ) -> list[Store]:
        """Stores along an axis of parts, part by part, so that no lane has to ask which part it is in."""
        nodes = Region(stores).nodes()
        if axis.size < 2 or any(e.op == "red" and axis in e.attr[1] for e in nodes):
            return stores
        fresh: dict[int, Axis] = {}
        out: list[Store] = []
        for s in stores:
            if axis not in real_axes(s.idx[0]):
                out.append(s)
                continue
            for own, start in parts:
                if not own.size:
                    continue
                here = fresh.setdefault(own.size, Axis("c", own.size))
                env = {axis: Aff(((here, 1),), start)}
                out.append(
                    Store(s.buf, (substituted(s.idx[0], env),), self.moved(s.value, env, {}))
                )
        return out

    def by_residue(self, stores: list[Store], axis: Axis, stride: int) -> list[Store]:
        """Stores along `axis` for each residue by a stride: what was divided by the stride is then affine."""
        nodes = Region(stores).nodes()
        if stride < 2 or axis.size < 2 or any(e.op == "red" and axis in e.attr[1] for e in nodes):
            return stores
        whole, rest = divmod(axis.size, stride)
        q = Axis("q", whole)
        forms = [Aff(((q, stride),), r) for r in range(stride if whole else 0)]
        forms += [Aff((), whole * stride + r) for r in range(rest)]
        out: list[Store] = []
        for s in stores:
            if axis not in real_axes(s.idx[0]):
                out.append(s)
                continue
            for f in forms:
                form = substituted(s.idx[0], {axis: f})
                out.append(Store(s.buf, (form,), self.moved(s.value, {axis: f}, {})))
        return out

    # -- making -----------------------------------------------------------------------------------

    def make(
        self, op: str, args: Sequence[E], attr: tuple[Any, ...], dtype: str, axes: Sequence[Axis]
    ) -> E:
        """An expression, the same for the same content."""
        key = (op, tuple(map(id, args)), _content(op, attr), dtype)
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = E(op, tuple(args), attr, dtype, tuple(dict.fromkeys(axes)))
        return found

    def const(self, value: Any, dtype: str) -> E:
        return self.make("const", (), (value,), dtype, ())

    def iota(self, form: Aff, dtype: str) -> E:
        return self.make("iota", (), (form,), dtype, real_axes(form))

    def load(
        self, buf: Buf, flat: Aff, fill: Any, guards: Sequence[Guard], idx: E | None = None,
        clip: tuple[int, int] | None = None,
    ) -> E:  # fmt: skip
        guards = tuple(
            {(form_key(g.form), g.div, g.size): g for g in map(simpler, guards)}.values()
        )
        axes = [*real_axes(flat), *(a for g in guards for a in real_axes(g.form))]
        args = () if idx is None else (idx,)
        fill = 0 if fill is None and guards else fill
        if any(never(g) for g in guards):
            return self.const(fill, buf.dtype)
        guards = tuple(g for g in guards if g.div != 1 or not inside(g))
        return self.make(
            "load", args, (buf, flat, fill, guards, clip), buf.dtype, [*axes, *union_axes(args)]
        )

    def pointwise(self, op: str, args: Sequence[E], attr: tuple[Any, ...], dtype: str) -> E:
        if op == "select" and args[0].op == "const":
            return args[1] if args[0].attr[0] else args[2]
        if op == "add" and args[0].op == "const" and args[0].attr[0] == 0:
            return args[1]
        if op == "add" and args[1].op == "const" and args[1].attr[0] == 0:
            return args[0]
        return self.make(op, args, attr, dtype, union_axes(args))

    def cast(self, x: E, dtype: str) -> E:
        return x if x.dtype == dtype else self.pointwise("cast", (x,), (dtype,), dtype)

    def red(self, fn: str, x: E, over: Sequence[Axis]) -> E:
        if any(a.size == 0 for a in over):
            return self.const(int(fn == "prod"), x.dtype)
        own = tuple(a for a in over if a in x.axes)
        if len(own) != len(over) and fn == "sum":
            n = math.prod(a.size for a in over if a not in x.axes)
            whole = float(n) if x.dtype in FLOATS else n
            x = self.pointwise("mul", (x, self.const(whole, x.dtype)), (), x.dtype)
        return self.make("red", (x,), (fn, own), x.dtype, union_axes((x,), own)) if own else x

    def inside(self, guards: Sequence[Guard]) -> E | None:
        """Whether guards hold; None where they always do."""
        real = tuple(g for g in map(simpler, guards) if g.div != 1 or not inside(g))
        if not real:
            return None
        if any(never(g) for g in real):
            return self.const(False, "bool")
        return self.make(
            "inside", (), (real,), "bool", [a for g in real for a in real_axes(g.form)]
        )

    def guarded(self, x: E, guards: Sequence[Guard], fill: Any) -> E:
        test = self.inside(guards)
        return (
            x
            if test is None
            else self.pointwise("select", (test, x, self.const(fill, x.dtype)), (), x.dtype)
        )

    # -- opening ----------------------------------------------------------------------------------

    def open(self, e: E, args: list[E]) -> E:
        """`e` over its opened operands."""
        op = e.op
        if op == "const":
            return self.const(e.attr[0], e.dtype)
        if op == "iota":
            return self.iota(e.attr[0], e.dtype)
        if op == "load":
            return self.opened_load(e, args)
        if op == "red":
            return self.red(e.attr[0], args[0], e.attr[1])
        if op == "argred":
            return self.position(args[0], *e.attr)
        if op == "first":
            fn, over = e.attr
            fresh = {a: Axis("f", a.size) for a in over}
            moved = self.moved(args[0], {a: axis_aff(b) for a, b in fresh.items()}, {})
            return self.pointwise(
                "eq",
                (self.iota(_line(over), "i32"), self.position(moved, fn, tuple(fresh.values()))),
                (),
                "bool",
            )
        if op == "at":
            env, fill = e.attr
            guards = {a: Guard(f, 1, a.size) for a, f in env if not f.inside(a.size)}
            x = self.moved(args[0], dict(env), guards)
            return self.guarded(x, list(guards.values()), 0 if fill is None else fill)
        if op == "spread":
            cut, fill = e.attr
            return self.spread(
                args[0], [(old, Aff(((new, 1),), -low), step) for new, old, low, step in cut], fill
            )
        if op == "concat":
            axis, parts = e.attr
            out = None
            for x, (own, start) in reversed(list(zip(args, parts, strict=True))):
                guard = Guard(Aff(((axis, 1),), -start), 1, own.size)
                part = self.moved(x, {own: guard.form}, {own: guard})
                test = (
                    self.inside([Guard(axis_aff(axis), 1, start + own.size)])
                    if axis.size > 1
                    else None
                )
                out = (
                    part
                    if out is None or test is None
                    else self.pointwise("select", (test, part, out), (), e.dtype)
                )
            assert out is not None
            return out
        if op == "fold":
            wins = [
                (o, Aff(((new, 1), (t, -dilation)), low), stride)
                for new, o, t, stride, dilation, low in e.attr
            ]
            if args[0].op in ("red", "dot"):
                raise Unprintable("the input gradient of a convolution")
            taps = [t for _, _, t, *_ in e.attr]
            if math.prod(t.size for t in taps) > TAPS:
                return self.red("sum", self.spread(args[0], wins, 0), taps)
            total = self.const(0, e.dtype)
            for at in itertools.product(*(range(t.size) for t in taps)):
                here = {t: Aff((), k) for t, k in zip(taps, at, strict=True)}
                shifted = [(o, substituted(f, here), step) for o, f, step in wins]
                tap = self.spread(self.moved(args[0], here, {}), shifted, 0)
                total = self.pointwise("add", (total, tap), (), e.dtype)
            return total
        if op == "dot":
            _, over = e.attr
            n = math.prod(a.size for a in union_axes(args))
            if not n:
                return self.const(0, e.dtype)
            if n > SMALL_DOT and e.dtype in ("f16", "bf16", "f32", "f64"):
                raise Unprintable("a product")
            wide = "f32" if e.dtype in ("f16", "bf16") else e.dtype
            args = [self.cast(x, wide) for x in args]
            return self.cast(self.red("sum", self.pointwise("mul", args, (), wide), over), e.dtype)
        if op == "random":
            stream, form = e.attr
            n = math.prod(a.size for a in real_axes(form))
            if any(a.axes for a in args):
                raise Unprintable("a key along axes")
            buf = self.scratch(n)
            self.streams.append((buf, stream, args[0], args[1], n))
            return self.load(buf, form, None, ())
        if op in ("scatter", "cum", "sort", "argsort"):
            raise Unprintable(op)
        return self.pointwise(op, args, e.attr, e.dtype)

    def opened_load(self, e: E, args: list[E]) -> E:
        buf, idx, fill = e.attr
        guards = [
            Guard(i, 1, n)
            for i, n in zip(idx, buf.shape, strict=False)
            if fill is not None and isinstance(i, Aff) and not i.inside(n)
        ]
        where = [k for k, i in enumerate(idx) if not isinstance(i, Aff)]
        if len(where) > 1:
            raise Unprintable("two computed indices")
        flat = flat_form(buf, idx)
        clip = (buf.strides[where[0]], buf.shape[where[0]]) if where else None
        return self.load(buf, flat, fill, guards, args[0] if where else None, clip)

    def position(self, x: E, fn: str, over: tuple[Axis, ...]) -> E:
        """The first position of the extreme, NaN counting as one."""
        best = self.red(fn, x, over)
        line = self.iota(_line(over), "i32")
        hit = self.pointwise("eq", (x, best), (), "bool")
        if x.dtype in FLOATS:
            nan = self.pointwise("ne", (x, x), (), "bool")
            hit = self.pointwise("logical_or", (hit, nan), (), "bool")
        none = self.const(2**31 - 1, "i32")
        return self.red("min", self.pointwise("select", (hit, line, none), (), "i32"), over)

    def spread(self, x: E, cut: Sequence[tuple[Axis, Aff, int]], fill: Any) -> E:
        """x with an axis at form / step, `fill` where that is no position."""
        env: dict[Axis, Aff] = {}
        guards: dict[Axis, Guard] = {}
        for old, form, step in cut:
            guards[old] = Guard(form, step, old.size)
            env[old] = quotient(form, step, old.size)
        return self.guarded(self.moved(x, env, guards), list(guards.values()), fill)

    def moved(self, x: E, env: Mapping[Axis, Aff], guards: Mapping[Axis, Guard]) -> E:
        """x with axes replaced by forms; loads along a guarded axis read only where the guard holds."""
        free = {a for f in env.values() for a in real_axes(f)}
        memo: dict[E, E] = {}

        def go(e: E) -> E:
            if not any(a in env for a in e.axes):  # what a sum is over is its own
                return e
            found = memo.get(e)
            if found is None:
                found = memo[e] = change(e)
            return found

        def change(e: E) -> E:
            if e.op == "red":
                fn, over = e.attr
                if set(over) & {*free, *env}:
                    fresh = {a: Axis("f", a.size) for a in over}
                    inner = self.moved(e.args[0], {a: axis_aff(b) for a, b in fresh.items()}, {})
                    return self.red(fn, go(inner), tuple(fresh.values()))
                return self.red(fn, go(e.args[0]), over)
            if e.op == "iota":
                return self.iota(substituted(e.attr[0], env), e.dtype)
            if e.op == "inside":
                test = self.inside(
                    [Guard(substituted(g.form, env), g.div, g.size) for g in e.attr[0]]
                )
                return self.const(True, "bool") if test is None else test
            if e.op == "load":
                buf, flat, fill, own, clip = e.attr
                more = [Guard(substituted(g.form, env), g.div, g.size) for g in own]
                more += [guards[a] for a in real_axes(flat) if a in guards]
                idx = go(e.args[0]) if e.args else None
                return self.load(buf, substituted(flat, env), fill, more, idx, clip)
            return self.pointwise(e.op, [go(a) for a in e.args], e.attr, e.dtype)

        return go(x)


def _content(op: str, attr: tuple[Any, ...]) -> Any:
    if op in ("iota",):
        return form_key(attr[0])
    if op == "inside":
        return tuple((form_key(g.form), g.div, g.size) for g in attr[0])
    if op == "load":
        buf, flat, fill, guards, clip = attr
        return (
            buf,
            form_key(flat),
            repr(fill),
            tuple((form_key(g.form), g.div, g.size) for g in guards),
            clip,
        )
    if op == "red":
        return attr
    return repr(attr)


def _line(over: Sequence[Axis]) -> Aff:
    """The row-major position over axes."""
    out, step = Aff(), 1
    for a in reversed(over):
        out = out + Aff(((a, step),))
        step *= a.size
    return out


def flat_form(buf: Buf, idx: Sequence[Any]) -> Aff:
    """The element of a row-major buffer; computed indices count nothing."""
    out = Aff()
    for i, step in zip(idx, buf.strides, strict=True):
        if isinstance(i, Aff):
            out = out + i * step
    return out
